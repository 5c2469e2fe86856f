"""`ips-submit` on the real controller: a task as a step of another Workflow."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from ips_flows.kube.client import core, jobs, workflows
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import Cluster
from tests.cluster.test_warming import tagged
from tests.support.paths import EXAMPLES

_SECONDS = 180


def outer(cluster: Cluster, name: str, request: Any) -> None:
    """Create another Workflow, with one step that warms nodes."""
    arguments = [{"name": "request", "value": json.dumps(request)}, {"name": "key", "value": "warm"}]
    step = {
        "name": "warm",
        "templateRef": {"name": "ips-submit", "template": "submit"},
        "arguments": {"parameters": arguments},
    }
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "steps": [[step]]}]},
    }
    cluster.kube.create(workflows(cluster.namespace), workflow)


def task_of(cluster: Cluster, image: str) -> str:
    """Wait for the task with this image, which must be the only one; return its name."""

    def names() -> list[str]:
        return [
            one["taskId"]
            for one in cluster.flow("list", "-o", "json").json()["tasks"]
            if one["images"] == [image]
        ]

    cluster.await_that(lambda: bool(names()), _SECONDS, lambda: "no task was created")
    (name,) = names()
    return str(name)


def example(cluster: Cluster, file: str, image: str, name: str) -> Any:
    """Return an example with names of this cluster in place of its own."""
    content = (EXAMPLES / file).read_text(encoding="utf-8")
    template = cluster.kube.get(workflows(cluster.namespace, "ips-submit", "workflowtemplates"))
    ours = template["spec"]["templates"][0]["container"]["image"]
    content = content.replace("registry.example.com/team/app:1.2", image).replace(
        "image: ips-flow:0.1.0", f"image: {ours}"
    )
    document = yaml.safe_load(content)
    document["metadata"].pop("generateName", None)
    document["metadata"] |= {"name": name, "namespace": cluster.namespace}
    return document


def ended(cluster: Cluster, name: str) -> str:
    """Wait until the outer Workflow ends; return its phase."""
    return str(cluster.ended_workflow(name)["status"]["phase"])


@pytest.mark.parametrize("there", [True, False])
def test_a_step_ends_as_its_task_does(cluster: Cluster, name: str, *, there: bool) -> None:
    """The step succeeds with a completed task and fails with a failed one."""
    image = f"{cluster.registry}/tests/{name}:1"
    if there:
        assert tagged(cluster.push(f"tests/{name}:1")) == image
    outer(cluster, name, {"images": [image]})
    task = task_of(cluster, image)
    assert ended(cluster, name) == ("Succeeded" if there else "Failed")
    await_marks(cluster, task)
    assert audit(cluster, task)["status"] == ("completed" if there else "failed")


def test_the_example_of_an_outer_workflow(cluster: Cluster, name: str) -> None:
    """The example warms the image and then runs its next step."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.kube.create(workflows(cluster.namespace), example(cluster, "outer-workflow.yaml", image, name))
    assert ended(cluster, name) == "Succeeded"
    assert all(image in cluster.on_node(node) for node in cluster.nodes)
    audit(cluster, task_of(cluster, image))


def test_the_example_of_a_presync_hook(cluster: Cluster, name: str) -> None:
    """The Job completes when the images are on the nodes."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.kube.create(jobs(cluster.namespace), example(cluster, "argocd-presync.yaml", image, name))
    path = jobs(cluster.namespace, name)
    cluster.await_that(
        lambda: bool(cluster.kube.get(path).get("status", {}).get("completionTime")),
        _SECONDS,
        lambda: f"{cluster.kube.get(path).get('status')}",
    )
    assert all(image in cluster.on_node(node) for node in cluster.nodes)
    task = task_of(cluster, image)
    await_marks(cluster, task)
    assert audit(cluster, task)["status"] == "completed"
    cluster.kube.delete(path)


def test_a_stop_of_the_outer_workflow_cancels_the_task(cluster: Cluster, name: str, tarpit: str) -> None:
    """A stop of the outer Workflow, and so of the step, cancels the step's task."""
    image = f"{tarpit}/{name}:1"
    outer(cluster, name, {"images": [image]})
    task = task_of(cluster, image)
    cluster.await_pulling(task)
    cluster.kube.patch(workflows(cluster.namespace, name), {"spec": {"shutdown": "Stop"}})
    cluster.await_no_pods(task, 60)
    await_marks(cluster, task)
    assert audit(cluster, task)["status"] == "cancelled"
    assert ended(cluster, name) == "Failed"


@pytest.mark.long
def test_a_submit_pod_that_is_lost_finds_its_task_again(cluster: Cluster, name: str, tarpit: str) -> None:
    """The next submit pod follows the existing task and submits no second one."""
    image = f"{tarpit}/{name}:1"
    outer(cluster, name, {"images": [image], "nodeTimeout": "45s"})
    task = task_of(cluster, image)
    cluster.await_pulling(task)

    def pods() -> dict[str, str]:
        labels = f"workflows.argoproj.io/workflow={name}"
        listed = cluster.kube.list(core(cluster.namespace, "pods"), labels=labels, metadata_only=True)
        return {one["metadata"]["uid"]: one["metadata"]["name"] for one in listed}

    ((lost, pod),) = pods().items()
    cluster.kube.delete(core(cluster.namespace, "pods", pod), grace_seconds=0)
    cluster.await_that(lambda: bool(pods().keys() - {lost}), 60, lambda: "no new pod was created")
    assert ended(cluster, name) == "Failed"
    assert task_of(cluster, image) == task
    await_marks(cluster, task)
    assert audit(cluster, task)["status"] == "failed"
