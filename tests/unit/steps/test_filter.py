"""filter against the fake API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ips_flows.argo.prewarm import prewarm_template
from ips_flows.core.constants import (
    ANNOTATION_CLEANED,
    ANNOTATION_ERROR,
    ANNOTATION_PLAN,
    ANNOTATION_VERDICT,
    LABEL_VERDICT,
)
from ips_flows.core.plan.plan import GroupPlan
from ips_flows.core.request.model import PrewarmRequest, from_form
from ips_flows.core.results.reasons import Result, SkipReason
from ips_flows.core.results.records import PlanSummary, Verdict
from ips_flows.kube.client import Kube
from steps import filter as step
from steps.context import ReplacePodError, read_request
from tests.fakes.apiserver import running
from tests.support.kube_objects import GOOD, OTHER, WORKER, held, node
from tests.support.rbac import EXECUTOR, granted, needed
from tests.support.step_harness import TASK, Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with running() as server:
        server.change("configmaps", "ips-config", {"data": {"worker-image": WORKER}})
        for name in ("n1", "n2", "n3"):
            server.put("nodes", node(name, cordoned=name == "n3"), namespace="")
        yield Stage(server, tmp_path, monkeypatch)
        assert needed(server.calls) <= granted("ips-flow-filter")


def ask(stage: Stage, **arguments: str) -> None:
    """Set the Workflow's arguments."""
    parameters = [{"name": name.replace("_", "-"), "value": value} for name, value in arguments.items()]
    stage.workflow({"spec": {"arguments": {"parameters": parameters}}})


def request(**fields: Any) -> str:
    return json.dumps({"images": [GOOD], **fields})


def outputs(stage: Stage) -> dict[str, str]:
    return {file.name: file.read_text() for file in stage.outputs.iterdir()}


def plans(stage: Stage) -> list[Any]:
    return [
        item
        for (kind, _, _), item in sorted(stage.server.store.objects.items())
        if kind == "configmaps" and item["metadata"].get("labels", {}).get("ips-flow.io/kind") == "plan"
    ]


def test_the_plan_is_written(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan has one immutable ConfigMap per group, owned by the Workflow, a summary annotation and known results."""
    ask(stage, request=request(waves=[1], timeout="1h"))
    assert step.run(stage.context, ()) == 0
    first, second = plans(stage)
    assert first["immutable"] is True
    assert first["metadata"]["ownerReferences"] == [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "warm-x", "uid": stage.uid}
    ]
    decoded = [GroupPlan.decode(one["binaryData"]) for one in (first, second)]
    assert [[planned.name for planned in plan.nodes] for plan in decoded] == [["n1"], ["n2"]]
    assert {plan.worker_image for plan in decoded} == {WORKER}
    summary = PlanSummary.from_json(stage.annotations()[ANNOTATION_PLAN])
    assert (summary.eligible, summary.to_do, summary.skipped) == (2, 2, {"Cordoned": 1})
    assert [wave.name for wave in summary.waves] == ["wave-1", "wave-2"]
    (skipped,) = stage.results()["n3"].images
    assert (skipped.result, skipped.reason) == (Result.SKIPPED, SkipReason.CORDONED)
    assert outputs(stage) == {
        "waves": '["wave-1","wave-2"]'.replace(",", ", "),
        "retries": "0",
        "delay": "30s",
        "factor": "1",
        "timeout": "3600s",
        "ended": "no",
    }
    assert (
        "2 eligible nodes: 0 warm, 2 to do\n1 node skipped: Cordoned\nmode volume" in capsys.readouterr().out
    )


def test_the_workflow_is_not_tracked_from_there_on(stage: Stage) -> None:
    """The Workflow has no managedFields from then on, since they would be a quarter of its size."""
    stage.workflow({"metadata": {"managedFields": [{"manager": "ips-flow"}, {"manager": "argo"}]}})
    ask(stage, request=request())
    assert step.run(stage.context, ()) == 0
    assert "managedFields" not in stage.server.get("workflows", TASK)["metadata"]


def test_the_outputs_are_those_that_the_template_declares(stage: Stage) -> None:
    """`filter` writes exactly the output parameters that its template declares."""
    ask(stage, request=request())
    assert step.run(stage.context, ()) == 0
    template = prewarm_template().to_dict()
    (container,) = [one for one in template["spec"]["templates"] if one["name"] == "filter"]
    declared = [one["valueFrom"]["path"] for one in container["outputs"]["parameters"]]
    assert sorted(declared) == sorted(f"/tmp/outputs/{name}" for name in outputs(stage))  # noqa: S108


@pytest.mark.parametrize(("strategy", "factor"), [("linear", "1"), ("exponential", "2")])
def test_the_users_retries(stage: Stage, monkeypatch: pytest.MonkeyPatch, strategy: Any, factor: str) -> None:
    """Retries, delay and factor are passed to Argo as texts."""
    asked = PrewarmRequest(images=(GOOD,), max_retries=2, retry_delay=7, retry_strategy=strategy)
    monkeypatch.setattr(step, "read_request", lambda _workflow: asked)
    assert step.run(stage.context, ()) == 0
    got = outputs(stage)
    assert (got["retries"], got["delay"], got["factor"]) == ("2", "7s", factor)


def all_warm(stage: Stage, **fields: Any) -> None:
    for name in ("n1", "n2"):
        stage.server.put("nodes", node(name, images=[held(GOOD)]), namespace="")
    ask(stage, request=request(**fields))


def test_all_warm_ends_the_task(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """If every eligible node holds the images, there are no waves, and filter ends the task."""
    all_warm(stage)
    assert step.run(stage.context, ()) == 0
    assert (outputs(stage)["waves"], outputs(stage)["ended"]) == ("[]", "yes")
    assert plans(stage) == []
    assert {name for name, result in stage.results().items() if result.ok} == {"n1", "n2"}
    verdict = Verdict.from_json(stage.annotations()[ANNOTATION_VERDICT])
    assert (verdict.status, verdict.summary.warm if verdict.summary else None) == ("completed", 2)
    assert stage.workflow()["metadata"]["labels"][LABEL_VERDICT] == "completed"
    assert ANNOTATION_CLEANED in stage.annotations()
    assert capsys.readouterr().out.endswith(f"completed: {verdict.message}\n")
    # finish would write the same verdict.
    before = stage.annotations()
    assert stage.finish() == 0
    assert stage.annotations() == before
    metadata = {"annotations": {ANNOTATION_VERDICT: None, ANNOTATION_CLEANED: None}}
    stage.workflow({"metadata": metadata})
    calls = len(stage.server.calls)
    assert stage.finish() == 0
    del stage.server.calls[calls:]  # calls of finish, which has other rights
    again = Verdict.from_json(stage.annotations()[ANNOTATION_VERDICT])
    assert again.model_copy(update={"at": verdict.at, "summary": verdict.summary}) == verdict


def test_all_warm_with_a_webhook(stage: Stage) -> None:
    """With a webhook, finish ends the task, since only finish may read the Secrets of webhooks."""
    all_warm(stage, webhookUrl="https://hooks.example.com")
    assert step.run(stage.context, ()) == 0
    assert outputs(stage)["ended"] == "no"
    assert ANNOTATION_VERDICT not in stage.annotations()


def test_all_warm_in_a_second_filter_pod(stage: Stage) -> None:
    """If filter failed after it had ended the task, the next filter pod keeps that verdict; finish does the rest."""
    all_warm(stage)
    assert step.run(stage.context, ()) == 0
    said, before = outputs(stage), stage.annotations()
    assert step.run(stage.context, ()) == 0
    assert (outputs(stage), stage.annotations()) == (said, before)
    for lost in (ANNOTATION_CLEANED, ANNOTATION_VERDICT):
        stage.workflow({"metadata": {"annotations": {lost: None}}})
        assert step.run(stage.context, ()) == 0
        assert outputs(stage) == {**said, "ended": "no"}


def test_a_second_filter_pod_reuses_the_plan(stage: Stage) -> None:
    """A filter pod that replaces a failed one uses its plan: the outputs are the same."""
    ask(stage, request=request())
    assert step.run(stage.context, ()) == 0
    before, said = plans(stage), outputs(stage)
    for file in stage.outputs.iterdir():
        file.unlink()
    stage.server.put("nodes", node("n4"), namespace="")
    calls = len(stage.server.calls)
    assert step.run(stage.context, ()) == 0
    assert plans(stage) == before
    assert outputs(stage) == said
    assert [call.split()[0] for call in stage.server.calls[calls:]] == ["GET"]


def test_a_plan_that_was_not_announced_is_replaced(stage: Stage) -> None:
    """A plan and results that were not announced are deleted and written again."""
    ask(stage, request=request(waves=[1]))
    assert step.run(stage.context, ()) == 0
    stage.workflow({"metadata": {"annotations": {ANNOTATION_PLAN: None}}})
    ask(stage, request=request())
    assert step.run(stage.context, ()) == 0
    (plan,) = plans(stage)
    assert len(GroupPlan.decode(plan["binaryData"]).nodes) == 2
    assert set(stage.results()) == {"n3"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (request(batchSize=0), "request:1:58: batchSize: got 0; allowed: a number from 1 to 1000"),
        (request(nodes=["n3"]), "no eligible node among 3: 1 Cordoned, 2 NotSelected"),
    ],
)
def test_no_plan_can_be_made(stage: Stage, document: str, message: str) -> None:
    """If the request is invalid or no node is eligible, filter exits 1 and annotates the Workflow with the reason."""
    ask(stage, request=document)
    assert step.run(stage.context, ()) == 1
    assert stage.annotations()[ANNOTATION_ERROR].startswith(message)
    assert ANNOTATION_PLAN not in stage.annotations()
    assert not stage.outputs.exists()


def test_without_a_worker_image(stage: Stage) -> None:
    """Settings without a worker image are an error with that message."""
    stage.server.change("configmaps", "ips-config", {"data": {"worker-image": None}})
    ask(stage, request=request())
    assert step.run(stage.context, ()) == 1
    assert (
        stage.annotations()[ANNOTATION_ERROR]
        == "worker-image is missing in ConfigMap ips-config of namespace warm"
    )


def test_the_forms_arguments_count_where_request_is_empty(stage: Stage) -> None:
    """The argument `request` takes precedence over the fields of the Argo UI's form."""
    ask(stage, request="", images=f"{GOOD}\n{OTHER}", batch_size="3", node_selector="")
    assert [spec.image for spec in read_request(stage.workflow()).images] == [GOOD, OTHER]
    assert read_request(stage.workflow()).batch_size == 3
    ask(stage, request=request(batchSize=7), images=OTHER, batch_size="3")
    assert [spec.image for spec in read_request(stage.workflow()).images] == [GOOD]
    assert read_request(stage.workflow()).batch_size == 7


def test_the_forms_defaults_are_those_of_a_request() -> None:
    """A form with default values is the same request as one with only images."""
    parameters = prewarm_template().to_dict()["spec"]["arguments"]["parameters"]
    form = {one["name"]: one["value"] for one in parameters} | {"images": GOOD}
    assert from_form(form) == from_form({"images": GOOD})


def test_an_api_server_that_drops_image_volumes(stage: Stage) -> None:
    """The plan checks with a dry run, creates nothing, and uses mode container."""

    def strip(kind: str, item: Any) -> Any:
        if kind == "jobs":
            item["spec"]["template"]["spec"]["volumes"] = [{"name": "probe"}]
        return item

    stage.server.admit = strip
    ask(stage, request=request())
    assert step.run(stage.context, ()) == 0
    summary = PlanSummary.from_json(stage.annotations()[ANNOTATION_PLAN])
    assert (summary.mode, summary.mode_reason) == (
        "container",
        "the API server does not store image volumes",
    )
    assert not [key for key in stage.server.store.objects if key[0] == "jobs"]


@pytest.mark.parametrize("document", [request(), request(nodes=["n3"])])
def test_a_workflow_replaced_while_it_was_planned(stage: Stage, document: str) -> None:
    """A new Workflow of the same name gets neither plan nor error."""
    ask(stage, request=document)
    listed = Kube.list

    def replaced_then(self: Kube, path: str, **chosen: Any) -> Any:
        if path == "/api/v1/nodes":
            stage.server.remove("workflows", TASK)
            stage.server.put("workflows", {"metadata": {"name": TASK}, "spec": {}})
        return listed(self, path, **chosen)

    stage.monkeypatch.setattr(Kube, "list", replaced_then)
    with pytest.raises(ReplacePodError, match="was replaced"):
        step.run(stage.context, ())
    assert not stage.annotations()


def test_a_stopped_task_is_not_planned(stage: Stage) -> None:
    """A task that was stopped or has its verdict gets no plan."""
    ask(stage, request=request())
    stage.workflow({"spec": {"shutdown": "Stop"}})
    assert step.run(stage.context, ()) == 1
    stage.workflow({"spec": {"shutdown": None}, "metadata": {"annotations": {ANNOTATION_VERDICT: "{}"}}})
    assert step.run(stage.context, ()) == 1
    assert [call.split()[0] for call in stage.server.calls] == ["GET", "GET"]


def test_nodes_come_in_pages(stage: Stage) -> None:
    """The nodes of every page are planned."""
    for number in range(7):
        stage.server.put("nodes", node(f"m{number}"), namespace="")
    stage.server.page_limit = 3
    ask(stage, request=request())
    assert step.run(stage.context, ()) == 0
    assert PlanSummary.from_json(stage.annotations()[ANNOTATION_PLAN]).eligible == 9


def test_the_role_grants_what_filter_does_and_no_more(stage: Stage) -> None:
    """`filter` uses every right of its Role."""
    ask(stage, request=request())
    assert step.run(stage.context, ()) == 0
    unused = granted("ips-flow-filter") - needed(stage.server.calls) - EXECUTOR
    assert unused == {("", "nodes", "get")}  # the steps share one ClusterRole; the other steps get nodes
