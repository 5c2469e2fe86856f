"""finish against the fake API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ips_flows.core.constants import (
    ANNOTATION_CLEANED,
    ANNOTATION_ERROR,
    ANNOTATION_PLAN,
    ANNOTATION_VERDICT,
    LABEL_VERDICT,
    attempt_name,
)
from ips_flows.core.errors import ForbiddenError, UnavailableError
from ips_flows.core.k8s.objects import owner_reference
from ips_flows.core.plan.plan import GroupPlan
from ips_flows.core.pods.pull_job import config_map, index_data, pull_job, task_labels
from ips_flows.core.results.reasons import FailureReason, Result, SkipReason
from ips_flows.core.results.records import Verdict
from ips_flows.core.results.results import Chunk, ImageResult, NodeResult
from ips_flows.kube.client import Kube
from tests.fakes.apiserver import running
from tests.fakes.kubelets import Cluster, Play
from tests.support import kube_objects
from tests.support.kube_objects import GOOD
from tests.support.rbac import EXECUTOR, granted, needed
from tests.support.step_harness import TASK, Stage, set_timings

AT = "2026-01-01T00:00:00Z"
PULLED = NodeResult((ImageResult(Result.PULLED, seconds=1.0, bytes=5),), AT)
MISSING = NodeResult((ImageResult(Result.FAILED, FailureReason.NOT_FOUND, "not found"),), AT)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with running() as server:
        yield Stage(server, tmp_path, monkeypatch)
        assert needed(server.calls) <= granted("ips-flow-finish")


def announced(stage: Stage, *nodes: str) -> GroupPlan:
    """Store and announce a plan of one group."""
    plan = stage.planned(GOOD, nodes=nodes)
    summary = kube_objects.summary(eligible=len(nodes)).model_copy(update={"images": (GOOD,)})
    stage.workflow({"metadata": {"annotations": {ANNOTATION_PLAN: summary.to_json()}}})
    return plan


def put_job(stage: Stage, plan: GroupPlan, *, attempt: int = 0) -> None:
    """Store the Job of an attempt with its index ConfigMap; the simulated cluster creates the pods."""
    name = attempt_name(TASK, stage.uid, plan.group, attempt)
    plan_map = name.rpartition("-")[0]
    uid = stage.server.get("configmaps", plan_map)["metadata"]["uid"]
    reference = owner_reference("v1", "ConfigMap", plan_map, uid)
    nodes = [node.name for node in plan.nodes]

    def labels(kind: str) -> dict[str, Any]:
        return task_labels(TASK, stage.uid, kind, plan.group, attempt)

    stage.server.put(
        "configmaps",
        config_map(name, labels=labels("index"), owner=reference, binary=index_data(nodes)),
    )
    body = pull_job(
        plan,
        name,
        labels=labels("pull"),
        owner=reference,
        nodes=len(nodes),
        seconds_left=60,
        holder="driver-1",
        window=plan.window,
    )
    stage.server.put("jobs", body)


def ungate(cluster: Cluster, *nodes: str) -> None:
    """Ungate the pods of the first nodes, as a driver does."""

    def gated() -> list[Any]:
        return [pod for pod in cluster.objects("pods") if pod["spec"].get("schedulingGates")]

    cluster.wait_for(lambda: len(gated()) >= len(nodes))
    for pod, node in zip(gated(), nodes, strict=False):
        match = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [match]}}
        spec = {"schedulingGates": [], "affinity": {"nodeAffinity": required}}
        cluster.server.change("pods", pod["metadata"]["name"], {"spec": spec})


def verdict_of(stage: Stage) -> Verdict:
    return Verdict.from_json(stage.annotations()[ANNOTATION_VERDICT])


def kinds(stage: Stage) -> list[str]:
    """Return the kinds of the ConfigMaps that are left."""
    return sorted(
        item["metadata"]["labels"]["ips-flow.io/kind"]
        for (kind, _, name), item in stage.server.store.objects.items()
        if kind == "configmaps" and name != "ips-config"
    )


def test_a_completed_task(stage: Stage) -> None:
    """The verdict is an annotation and a label of the Workflow; its event id has the run and the status."""
    announced(stage, "n1", "n2")
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED, "n2": PULLED}))
    assert stage.finish() == 0
    verdict = verdict_of(stage)
    assert (verdict.status, verdict.message) == ("completed", "every image is on 2 of 2 nodes")
    assert verdict.summary
    assert verdict.summary.bytes == 10
    assert verdict.event_id == f"{stage.uid}-{verdict.started_at}-completed"
    assert stage.workflow()["metadata"]["labels"][LABEL_VERDICT] == "completed"
    assert ANNOTATION_CLEANED in stage.annotations()


def test_the_second_run_changes_nothing(stage: Stage) -> None:
    """A second run skips every marked stage."""
    announced(stage, "n1")
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))
    assert stage.finish() == 0
    before, calls = stage.workflow(), len(stage.server.calls)
    stage.workflow()
    assert stage.finish() == 0
    assert stage.workflow() == before
    assert [call.split()[0] for call in stage.server.calls[calls:]] == ["GET"]


def test_a_finish_that_failed_after_the_verdict(stage: Stage) -> None:
    """A second finish writes no second verdict, and cleans up the objects that the first left."""
    announced(stage, "n1")
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))
    assert stage.finish() == 0
    written = stage.annotations()[ANNOTATION_VERDICT]
    stage.workflow({"metadata": {"annotations": {ANNOTATION_CLEANED: None}}})
    stage.planned(GOOD, nodes=["n1"])
    assert stage.finish() == 0
    assert stage.annotations()[ANNOTATION_VERDICT] == written
    assert kinds(stage) == ["results"]


@pytest.mark.parametrize(
    ("second_wave", "status"), [(MISSING, "failed"), (PULLED, "completed")], ids=["barren", "with images"]
)
def test_the_verdict_agrees_with_the_drivers(stage: Stage, second_wave: NodeResult, status: str) -> None:
    """Failures are allowed only if each wave has a node with its images; the verdict keeps the attempts."""
    changes = {"losses_allowed": 2, "max_retries": 1, "retry_delay": 4, "images": (GOOD,)}
    summary = kube_objects.summary(eligible=3).model_copy(update=changes)
    stage.workflow({"metadata": {"annotations": {ANNOTATION_PLAN: summary.to_json()}}})
    stage.planned(GOOD, nodes=["n1", "n2"])
    stage.planned(GOOD, nodes=["n3"], group=1, wave="wave-2")
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED, "n2": MISSING}, AT))
    stage.recorded("r1", Chunk(0, 1, {"n2": MISSING}, AT))
    stage.recorded("r2", Chunk(1, 0, {"n3": second_wave}, AT))
    assert stage.finish() == 0
    verdict = verdict_of(stage)
    assert verdict.status == status
    told = [(one.wave, one.attempt, one.failed, one.next_delay) for one in verdict.retries]
    never_tried_again = [] if second_wave.ok else [("wave-2", 0, 1, None)]
    assert told == [("wave-1", 0, 1, 4), ("wave-1", 1, 1, None), *never_tried_again]


def test_nodes_never_reached_count_as_failed(stage: Stage) -> None:
    """Nodes that no driver tried are recorded as not reached, and the task has failed."""
    announced(stage, "n1", "n2", "n3")
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED, "n2": MISSING}))
    assert stage.finish() == 0
    verdict = verdict_of(stage)
    assert verdict.status == "failed"
    assert verdict.message == "2 of 3 nodes lack images; NotFound ×1; 1 never started"
    (image,) = stage.results()["n3"].images
    assert (image.result, image.reason) == (Result.SKIPPED, SkipReason.NOT_REACHED)


def test_a_later_attempt_counts(stage: Stage) -> None:
    """Of two results of one node, that of the later attempt counts."""
    announced(stage, "n1")
    stage.recorded("r1", Chunk(0, 1, {"n1": PULLED}))
    stage.recorded("r0", Chunk(0, 0, {"n1": MISSING}))
    assert stage.finish() == 0
    assert verdict_of(stage).status == "completed"


def test_pods_that_no_driver_recorded(stage: Stage) -> None:
    """`finish` reads the evidence of pods that no driver recorded; nodes of gated pods were never reached."""
    plan = announced(stage, "n1", "n2", "n3").model_copy(update={"window": 2})
    put_job(stage, plan)
    stage.workflow({"spec": {"shutdown": "Stop"}})
    with Cluster(stage.server, ["n1", "n2", "n3"], on={("n2", GOOD): Play.NEVER}) as cluster:
        ungate(cluster, "n1", "n2")
        cluster.wait_for(lambda: "n1" in cluster.ended and cluster.pulling() == ["n2"])
        assert stage.finish() == 0
        cluster.wait_for(lambda: not cluster.objects("pods"))
    results = {name: node.images[0] for name, node in stage.results().items()}
    assert results["n1"] == ImageResult(Result.PULLED, seconds=0.07, bytes=4196390)
    assert results["n2"].reason == FailureReason.CANCELLED
    assert results["n3"].reason == SkipReason.NOT_REACHED
    assert verdict_of(stage).status == "cancelled"
    assert verdict_of(stage).message == "1 of 3 nodes have every image"


def test_results_of_a_failed_finish_are_kept(stage: Stage) -> None:
    """A second finish keeps the results that the first one stored, and adds the missing ones."""
    plan = announced(stage, "n1", "n2")
    name = f"{attempt_name(TASK, stage.uid, plan.group, 0).rpartition('-g')[0]}-finish-r0"
    stage.recorded(name, Chunk(0, 0, {"n1": PULLED}))
    assert stage.finish() == 0
    assert stage.results()["n1"] == PULLED
    assert stage.results()["n2"].images[0].reason == SkipReason.NOT_REACHED


def test_no_plan_was_made(stage: Stage) -> None:
    """Without a plan the verdict has filter's error as its message."""
    stage.workflow({"metadata": {"annotations": {ANNOTATION_ERROR: "no eligible node: none"}}})
    assert stage.finish() == 0
    assert (verdict_of(stage).status, verdict_of(stage).message) == ("failed", "no eligible node: none")
    assert verdict_of(stage).summary is None


def test_a_task_stopped_before_its_plan(stage: Stage) -> None:
    """A task that was stopped before it had a plan is cancelled, not failed."""
    stage.workflow({"spec": {"shutdown": "Terminate"}})
    assert stage.finish() == 0
    assert verdict_of(stage).status == "cancelled"


def test_a_conflict_is_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Argo's controller changes the Workflow meanwhile, the verdict is decided again from the new version."""
    announced(stage, "n1")
    stage.recorded("r0", Chunk(0, 0, {"n1": MISSING}))
    patch = Kube.patch
    late: list[Any] = []

    def after_a_write(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if not late:
            late.append(stage.workflow({"spec": {"shutdown": "Stop"}}))
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", after_a_write)
    assert stage.finish() == 0
    assert verdict_of(stage).status == "cancelled"


def test_a_verdict_of_another_finish_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """If two decide at the same time, the verdict that is written first stays."""
    announced(stage, "n1")
    patch = Kube.patch
    late: list[Any] = []
    other = Verdict(status="failed", event_id="other", at=AT, started_at=AT, message="", summary=None)

    def after_another(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if not late:
            written = {"metadata": {"annotations": {ANNOTATION_VERDICT: other.to_json()}}}
            late.append(stage.workflow(written))
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", after_another)
    assert stage.finish() == 0
    assert verdict_of(stage) == other


def test_jobs_are_deleted_before_plans_and_results_stay(stage: Stage) -> None:
    """Jobs are deleted first: a late Job then has no owner and is garbage-collected. Results stay with the Workflow."""
    plan = announced(stage, "n1")
    put_job(stage, plan)
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))
    assert stage.finish() == 0
    deletions = [call.partition("?")[0] for call in stage.server.calls if call.startswith("DELETE")]
    name = attempt_name(TASK, stage.uid, 0, 0)
    assert deletions == [
        f"DELETE /apis/batch/v1/namespaces/warm/jobs/{name}",
        "DELETE /api/v1/namespaces/warm/configmaps",
    ]
    assert kinds(stage) == ["results"]
    assert not [key for key in stage.server.store.objects if key[0] == "jobs"]


def test_the_jobs_of_other_tasks_stay(stage: Stage) -> None:
    """The clean-up deletes only objects with the uid of this Workflow."""
    announced(stage, "n1")
    labels = {"ips-flow.io/workflow-uid": "other", "ips-flow.io/kind": "plan"}
    stage.server.put("jobs", {"metadata": {"name": "other", "labels": labels}})
    stage.server.put("configmaps", {"metadata": {"name": "other", "labels": labels}})
    assert stage.finish() == 0
    assert stage.server.get("jobs", "other")
    assert stage.server.get("configmaps", "other")


@pytest.mark.parametrize("again", [False, True])
def test_a_deleted_workflow_leaves_nothing(stage: Stage, again: bool) -> None:
    """The Jobs and records of a deleted Workflow are deleted; those of a new task with the same name stay."""
    plan = announced(stage, "n1")
    put_job(stage, plan)
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))
    stage.server.remove("workflows", TASK)
    if again:
        stage.server.put("workflows", {"metadata": {"name": TASK}, "spec": {}})
        mine = {"metadata": {"name": "mine", "labels": {"ips-flow.io/workflow-uid": "new"}}}
        stage.server.put("jobs", mine)
    assert stage.finish() == 0
    assert kinds(stage) == []
    assert [key[2] for key in stage.server.store.objects if key[0] == "jobs"] == (["mine"] if again else [])
    if again:
        assert not stage.workflow()["metadata"].get("annotations")


def test_a_workflow_deleted_in_the_middle(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the Workflow is deleted before its verdict is written, finish cleans up without an error."""
    announced(stage, "n1")
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))
    patch = Kube.patch

    def after_a_deletion(self: Kube, path: str, body: Any, **options: Any) -> Any:
        stage.server.remove("workflows", TASK)
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", after_a_deletion)
    assert stage.finish() == 0
    assert kinds(stage) == []


def test_a_workflow_replaced_while_its_jobs_go(stage: Stage) -> None:
    """A new Workflow of the same name gets no mark: its own finish would skip the marked stages."""
    plan = announced(stage, "n1")
    put_job(stage, plan)
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))

    delete_all = Kube.delete_all

    def replaced_then(self: Kube, path: str, *, labels: str) -> None:
        delete_all(self, path, labels=labels)
        if stage.workflow()["metadata"]["uid"] == stage.uid:
            stage.server.remove("workflows", TASK)
            stage.server.put("workflows", {"metadata": {"name": TASK}, "spec": {}})

    stage.monkeypatch.setattr(Kube, "delete_all", replaced_then)
    assert stage.finish() == 0
    assert not stage.annotations()


def test_a_mark_is_written_although_argo_writes_too(stage: Stage) -> None:
    """A mark is patched at the version that was read; after a conflict, the Workflow is read again."""
    announced(stage, "n1")
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))
    patch = Kube.patch
    late: list[Any] = []

    def after_a_write(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if ANNOTATION_CLEANED in body["metadata"]["annotations"] and not late:
            late.append(stage.workflow({"spec": {"shutdown": "Stop"}}))
        return patch(self, path, body, **options)

    stage.monkeypatch.setattr(Kube, "patch", after_a_write)
    assert stage.finish() == 0
    assert late
    assert ANNOTATION_CLEANED in stage.annotations()


def driver_pod(stage: Stage, phase: str) -> None:
    labels = {"workflows.argoproj.io/workflow": TASK, "ips-flow.io/step": "drive"}
    stage.server.put(
        "pods", {"metadata": {"name": "driver", "labels": labels}, "spec": {}, "status": {"phase": phase}}
    )


def end_driver(stage: Stage, recorded: dict[str, NodeResult] | None = None) -> None:
    """Wait until finish watches the driver; then store the driver's results and end its pod."""
    while not any("watch=true" in call for call in list(stage.server.calls)):
        with stage.server.store.changed:
            stage.server.store.changed.wait(0.01)
    if recorded:
        stage.recorded("r0", Chunk(0, 0, recorded))
    driver_pod(stage, "Failed")


def test_a_driver_that_still_records_is_awaited(stage: Stage) -> None:
    """Argo starts the exit handler while a stopped driver still runs: the verdict has the driver's results."""
    announced(stage, "n1")
    driver_pod(stage, "Running")

    with stage.meanwhile(lambda: end_driver(stage, recorded={"n1": PULLED})):
        assert stage.finish() == 0
    assert verdict_of(stage).status == "completed"


def test_a_driver_that_hangs_is_not_awaited_forever(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """After a while finish continues without the driver, and logs that."""
    set_timings(stage.finish_timings, drivers=0.3)
    announced(stage, "n1")
    driver_pod(stage, "Running")
    assert stage.finish() == 0
    assert "a driver still runs" in capsys.readouterr().out
    assert verdict_of(stage).status == "failed"


@pytest.mark.parametrize("status", [503, 0, 403])
def test_an_api_server_that_fails_for_a_while(stage: Stage, status: int) -> None:
    """Argo does not retry an exit handler, so finish does. A just started API server may refuse all requests."""
    plan = announced(stage, "n1")
    put_job(stage, plan)
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))
    stage.server.fail("DELETE .*/jobs|GET .*/configmaps", status, times=3)
    assert stage.finish() == 0
    assert verdict_of(stage).status == "completed"
    assert kinds(stage) == ["results"]


def test_an_api_server_that_never_comes_back(stage: Stage) -> None:
    """`finish` fails if the API server does not recover in time."""
    set_timings(stage.finish_timings, patience=0.0, refused=0.0)
    for status, error in ((503, UnavailableError), (403, ForbiddenError)):
        stage.server.faults.clear()
        stage.server.fail(".", status)
        with pytest.raises(error):
            stage.finish()


def test_the_role_grants_what_finish_does_and_no_more(stage: Stage) -> None:
    """`finish` uses every right of its Role."""
    plan = announced(stage, "n1", "n2")
    put_job(stage, plan)
    driver_pod(stage, "Running")
    parameters = [{"name": "images", "value": GOOD}, {"name": "webhook-secret-name", "value": "none"}]
    stage.workflow({"spec": {"arguments": {"parameters": parameters}}})
    stage.server.put("secrets", kube_objects.webhook_secret("none", url="http://127.0.0.1:1/"))
    with Cluster(stage.server, ["n1", "n2"]) as cluster:
        ungate(cluster, "n1")
        cluster.wait_for(lambda: "n1" in cluster.ended)
        with stage.meanwhile(lambda: end_driver(stage)):
            assert stage.finish() == 0
    unused = granted("ips-flow-finish") - needed(stage.server.calls) - EXECUTOR
    assert unused == {("", "nodes", "list")}  # the steps share one ClusterRole; only filter lists nodes
