"""A user's text is only data in its own fields of an object, never part of a command or an expression."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import given

from ips_flows.argo.task_workflow import task_workflow
from ips_flows.core.constants import ANNOTATION_TITLE, ANNOTATION_WEBHOOK
from ips_flows.core.plan.eligibility import pod_tolerations
from ips_flows.core.plan.plan import PlannedImage
from ips_flows.core.pods.pull_job import pull_pod
from ips_flows.core.request.model import PrewarmRequest, canonical_json, parse_request
from ips_flows.core.results.records import Mode
from tests.support.kube_objects import WORKER, group_plan
from tests.unit.core.request.test_properties import documents

BARE = parse_request("[a]")


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a document, keys included, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(key, path)
            yield from texts(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item, path)


def pod(request: PrewarmRequest, mode: Mode) -> dict[str, Any]:
    images = tuple(
        PlannedImage(image=spec.image, pull_policy=request.pull_policy_of(index))
        for index, spec in enumerate(request.images)
    )
    fields = {
        "images": images,
        "pull_secrets": request.pull_secrets,
        "tolerations": tuple(pod_tolerations(request)),
    }
    return pull_pod(group_plan(mode=mode).model_copy(update=fields))


@given(documents)
def test_workflows(document: dict[str, Any]) -> None:
    """A Workflow has the request in one argument, and elsewhere only labels, a title and numbers; no expression."""
    request = parse_request(json.dumps(document))
    made = task_workflow(request, name="a", namespace="warm")
    usual = task_workflow(BARE, name="a", namespace="warm")
    assert not [path for path, text in texts(made) if "{{" in text]
    assert made["spec"].pop("arguments") == {
        "parameters": [{"name": "request", "value": canonical_json(request)}]
    }
    del usual["spec"]["arguments"]
    for figure in ("priority", "activeDeadlineSeconds"):
        assert isinstance(made["spec"].pop(figure), int)
        usual["spec"].pop(figure)
    assert made["spec"] == usual["spec"]
    assert {key: made["metadata"]["labels"][key] for key in request.labels} == request.labels
    assert set(made["metadata"]["labels"]) - set(request.labels) == set(usual["metadata"]["labels"])
    assert set(made["metadata"]["annotations"]) - {ANNOTATION_WEBHOOK} == set(
        usual["metadata"]["annotations"]
    )
    webhook = json.loads(made["metadata"]["annotations"].get(ANNOTATION_WEBHOOK, "{}"))
    assert webhook.get("url", "") == request.webhook_url
    assert webhook.get("secretName", "") == request.webhook_secret_name
    assert made["metadata"]["annotations"][ANNOTATION_TITLE].isprintable()


@given(documents)
def test_pull_pods(document: dict[str, Any]) -> None:
    """A pull pod's commands contain no user text; images, policies, Secrets and tolerations of the request are data."""
    request = parse_request(json.dumps(document))
    references = {spec.image for spec in request.images}
    for mode in ("volume", "container"):
        made = pod(request, mode)
        containers = [*made["spec"].get("initContainers", ()), *made["spec"]["containers"]]
        for container in containers:
            assert container["command"][0] in ("/bin/busybox", "/ips/busybox")
            assert not {"args", "env", "envFrom"} & set(container)
            assert container["image"] in references | {WORKER}
        assert [one["name"] for one in made["spec"].get("imagePullSecrets", ())] == list(request.pull_secrets)
        same = pod(
            BARE.model_copy(update={"images": request.images, "pull_policy": request.pull_policy}), mode
        )
        for own in ("imagePullSecrets", "tolerations"):
            made["spec"].pop(own, None)
            same["spec"].pop(own, None)
        assert made == same
