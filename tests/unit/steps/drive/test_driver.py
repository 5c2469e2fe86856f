"""drive against the fake API server, with a simulated Job controller, scheduler and kubelets."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_ENDED,
    ANNOTATION_EPOCH,
    ANNOTATION_HOLDER,
    ANNOTATION_PROGRESS,
    ANNOTATION_VERDICT,
    attempt_name,
    group_name,
)
from ips_flows.core.errors import UnavailableError
from ips_flows.core.pods.pull_job import read_index
from ips_flows.core.results.reasons import FailureReason, Result, SkipReason
from ips_flows.core.results.records import GroupProgress
from ips_flows.core.results.results import Chunk, ImageResult, NodeResult
from ips_flows.kube.client import Kube
from steps.context import ReplacePodError
from steps.drive.attempt import Attempt
from steps.drive.evidence_reader import EvidenceReader
from tests.fakes.kubelets import Cluster, Play
from tests.support.kube_objects import GOOD, OTHER, WORKER
from tests.support.rbac import EXECUTOR, granted, needed
from tests.support.step_harness import TASK, Stage, terminate

pytestmark = pytest.mark.waits

PULLED = ImageResult(Result.PULLED, seconds=0.07, bytes=4196390)


def job_name(stage: Stage, attempt: int = 0) -> str:
    return attempt_name(TASK, stage.uid, 0, attempt)


def job_of(stage: Stage) -> Any:
    return stage.server.get("jobs", job_name(stage))


def progress_of(stage: Stage) -> GroupProgress:
    """Return the progress in the Job's annotation; zero progress if there is none."""
    jobs = [job for (kind, _, _), job in stage.server.store.objects.items() if kind == "jobs"]
    texts = [job["metadata"]["annotations"].get(ANNOTATION_PROGRESS) for job in jobs]
    empty = GroupProgress(group=0, attempt=0, wave="wave-1", total=0)
    return next((GroupProgress.from_json(text) for text in texts if text), empty)


def results_of(stage: Stage, node: str) -> list[tuple[str, str]]:
    return [(image.result, image.reason) for image in stage.results()[node].images]


def test_all_good(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """If every image is on every node, the driver exits 0, and each result has the kubelet's values."""
    stage.planned(GOOD, OTHER, nodes=["n1", "n2", "n3"])
    with Cluster(stage.server, ["n1", "n2", "n3"], {OTHER: Play.PRESENT}):
        assert stage.drive() == 0
    assert set(stage.results()) == {"n1", "n2", "n3"}
    assert {node.images for node in stage.results().values()} == {(PULLED, ImageResult(Result.PRESENT))}
    said = capsys.readouterr().out
    assert f"Job {job_name(stage)}: 3 nodes, at most 10 at the same time" in said
    assert said.endswith("wave-1: 3 nodes done, 0 failed\n")


def test_mode_container(stage: Stage) -> None:
    """In mode container the digest is read from the container status."""
    stage.planned(GOOD, nodes=["n1"], mode="container")
    with Cluster(stage.server, ["n1"], {WORKER: Play.PRESENT}):
        assert stage.drive() == 0
    (image,) = stage.results()["n1"].images
    assert (image.result, image.digest) == (Result.PULLED, "sha256:" + "d" * 64)


def test_a_missing_worker_image_is_named_as_such(stage: Stage) -> None:
    """If the worker image can't be pulled, no image of the request is reported as the cause."""
    stage.planned(GOOD, nodes=["n1"], mode="container")
    with Cluster(stage.server, ["n1"], {WORKER: Play.MISSING}):
        assert stage.drive() == 1
    assert results_of(stage, "n1") == [(Result.FAILED, FailureReason.WORKER_IMAGE)]


def test_a_missing_image(stage: Stage) -> None:
    """The registry's message is on the pod before the pod is ended, and in the results; the other image is pulled."""
    stage.planned(GOOD, OTHER, nodes=["n1"])
    with Cluster(stage.server, ["n1"], {OTHER: Play.MISSING}) as cluster:
        assert stage.drive() == 1
    noted = json.loads(cluster.ended["n1"]["metadata"]["annotations"][ANNOTATION_ENDED])
    assert noted["why"] == "settled"
    assert f"{OTHER}: not found" in noted["containers"]["image-1"]["message"]
    good, missing = stage.results()["n1"].images
    assert good == PULLED
    assert (missing.result, missing.reason) == (Result.FAILED, FailureReason.NOT_FOUND)
    assert missing.message.startswith("rpc error: code = NotFound desc = failed to pull and unpack image")
    assert missing.tries >= 2


@pytest.mark.parametrize("window", [1, 2, 5])
def test_the_window_is_never_exceeded(stage: Stage, window: int) -> None:
    """Never more nodes pull than the window allows, and every freed place is used."""
    nodes = [f"n{number:02}" for number in range(2 * window + 2)]
    stage.planned(GOOD, nodes=nodes, window=window)
    first = {(node, GOOD): Play.PULLED for node in nodes[:window]}

    def look() -> None:
        cluster.wait_for(lambda: cluster.pulling()[:window] == nodes[window : 2 * window])
        cluster.wait_for(lambda: any(pod["spec"].get("schedulingGates") for pod in cluster.objects("pods")))
        for _ in range(2):  # further passes of the driver, while a gated pod exists
            seen = stage.passes()
            stage.server.change("pods", cluster.objects("pods")[-1]["metadata"]["name"], {})
            cluster.wait_for(lambda seen=seen: stage.passes() > seen)  # type: ignore[misc]
        cluster.release()

    with Cluster(stage.server, nodes, {GOOD: Play.SLOW}, on=first) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    assert cluster.most_pulling == window
    assert set(cluster.ended) == set(nodes)


def test_a_reserve_of_gated_pods_waits_behind_the_window(stage: Stage) -> None:
    """The Job has a few more pods than may pull; all are created with the gate and with epoch 0."""
    nodes = [f"n{number}" for number in range(9)]
    stage.planned(GOOD, nodes=nodes, window=4)

    def look() -> None:
        cluster.wait_for(lambda: len(cluster.pulling()) == 4)
        cluster.wait_for(lambda: len(cluster.objects("pods")) == 5)
        (gated,) = [pod for pod in cluster.objects("pods") if pod["spec"].get("schedulingGates")]
        assert gated["metadata"]["annotations"][ANNOTATION_EPOCH] == "0"
        cluster.release()

    with Cluster(stage.server, nodes, {GOOD: Play.SLOW}) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0


def test_the_breaker(stage: Stage) -> None:
    """A typo costs one window: the remaining nodes are skipped, with the reason."""
    nodes = [f"n{number}" for number in range(6)]
    stage.planned(GOOD, nodes=nodes, window=2)
    with Cluster(stage.server, nodes, {GOOD: Play.MISSING}) as cluster:
        assert stage.drive() == 1
    assert set(cluster.ended) == {"n0", "n1"}
    assert results_of(stage, "n0") == [(Result.FAILED, FailureReason.NOT_FOUND)]
    for node in nodes[2:]:
        assert results_of(stage, node) == [(Result.SKIPPED, SkipReason.BREAKER_OPEN)]


def test_one_bad_image_among_good_ones_never_opens_the_breaker(stage: Stage) -> None:
    """The breaker stays closed while nodes get another image."""
    nodes = ["n1", "n2", "n3"]
    stage.planned(GOOD, OTHER, nodes=nodes, window=1)
    with Cluster(stage.server, nodes, {OTHER: Play.MISSING}) as cluster:
        assert stage.drive() == 1
    assert set(cluster.ended) == set(nodes)


def test_a_dropped_image_volume_is_no_success(stage: Stage) -> None:
    """If the API server drops image volumes, empty pods succeed, but their images count as failed."""

    def strip(kind: str, item: Any) -> Any:
        if kind == "jobs":
            for volume in item["spec"]["template"]["spec"]["volumes"]:
                volume.pop("image")
        return item

    stage.server.admit = strip
    stage.set_timings(pull_event=0.0)  # no event will arrive
    stage.planned(GOOD, nodes=["n1"])
    with Cluster(stage.server, ["n1"]) as cluster:
        assert stage.drive() == 1
    assert cluster.ended["n1"]["status"]["phase"] == "Succeeded"
    assert results_of(stage, "n1") == [(Result.FAILED, FailureReason.UNKNOWN)]


def test_a_pod_that_is_bound_just_before_it_is_failed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver fails a pod only in the version that it has read: if the pod pulls by now, its node has not failed."""
    stage.set_timings(unbound=0.0)
    stage.planned(GOOD, nodes=["n1"])
    patch = Kube.patch

    def placed_first(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if path.endswith("/status") and "n1" in cluster.unplaceable:
            cluster.unplaceable.clear()
            (pod,) = cluster.objects("pods")
            stage.server.change("pods", pod["metadata"]["name"], {"spec": {"nodeName": "n1"}})
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", placed_first)
    with Cluster(stage.server, ["n1"]) as cluster:
        cluster.unplaceable.add("n1")
        assert stage.drive() == 0
    assert results_of(stage, "n1") == [(Result.PULLED, "")]


def test_events_are_read_once_for_all_pods(stage: Stage) -> None:
    """Events are read by one list and one watch, since a list per pod reads all events of the namespace."""
    nodes = [f"n{number}" for number in range(8)]
    stage.planned(GOOD, nodes=nodes)
    with Cluster(stage.server, nodes):
        assert stage.drive() == 0
    assert {stage.results()[node].images for node in nodes} == {(PULLED,)}
    asked = [call for call in stage.server.calls if "/events?" in call]
    assert len([call for call in asked if "watch=true" not in call]) == 1


def test_events_that_can_not_be_watched(stage: Stage) -> None:
    """If events can't be watched, they are listed per pod, and no value is missing."""
    stage.planned(GOOD, nodes=["n1", "n2"])
    stage.server.fail("GET .*/events.*watch=true", 403, "Forbidden", "no watch")
    stage.set_timings(pull_event=0.5)
    with Cluster(stage.server, ["n1", "n2"]):
        assert stage.drive() == 0
    assert {stage.results()[node].images for node in ("n1", "n2")} == {(PULLED,)}


def test_a_silent_kubelet(stage: Stage) -> None:
    """The driver ends a pod on a node with a silent kubelet, and records the node as NodeLost."""
    stage.set_timings(node_check=0.0)
    stage.planned(GOOD, nodes=["n1", "n2"])
    with Cluster(stage.server, ["n1", "n2"]) as cluster:
        cluster.node_lost("n1")
        assert stage.drive() == 1
    (image,) = stage.results()["n1"].images
    assert (image.reason, image.message) == (
        FailureReason.NODE_LOST,
        "node n1 is not ready: its kubelet stopped reporting",
    )
    assert stage.results()["n2"].ok


def test_a_node_that_has_just_become_unready_is_given_time(stage: Stage) -> None:
    """A kubelet counts as silent after 30 s, since Ready may flap; a deleted node counts immediately."""
    plan = stage.planned(GOOD, nodes=["n1"])
    reader = EvidenceReader(stage.context, plan)
    cluster = Cluster(stage.server, ["n1"])
    cluster.node_lost("n1", since=clock.stamp(clock.now()))
    assert reader.silence_reason("n1") is None
    cluster.node_lost("n1")
    assert reader.silence_reason("n1") == "node n1 is not ready: its kubelet stopped reporting"
    assert reader.silence_reason("n9") == "node n9 was deleted"


def test_a_node_takes_too_long(stage: Stage) -> None:
    """After nodeTimeout the pod is ended, and its images time out."""
    stage.planned(GOOD, OTHER, nodes=["n1"], node_timeout=0)
    with Cluster(stage.server, ["n1"], {GOOD: Play.PRESENT, OTHER: Play.NEVER}) as cluster:
        assert stage.drive() == 1
    assert json.loads(cluster.ended["n1"]["metadata"]["annotations"][ANNOTATION_ENDED])["why"] == "timeout"
    assert results_of(stage, "n1") == [(Result.PRESENT, ""), (Result.FAILED, FailureReason.TIMEOUT)]


def test_a_kubelet_that_hangs_in_a_pull(stage: Stage) -> None:
    """A kubelet never aborts a pull, so the driver ends a pod that runs past its deadline, with Timeout."""
    stage.set_timings(pod_end=0.0)
    stage.planned(GOOD, nodes=["n1"], node_timeout=0)
    with Cluster(stage.server, ["n1"], {GOOD: Play.NEVER}) as cluster:
        cluster.hanging.add("n1")
        assert stage.drive() == 1
    assert results_of(stage, "n1") == [(Result.FAILED, FailureReason.TIMEOUT)]


def test_the_deadline_passes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the task's deadline, pulled images count, and all others are recorded as Timeout."""
    nodes = ["n1", "n2", "n3", "n4"]
    stage.planned(GOOD, nodes=nodes, window=2)
    plays = {("n1", GOOD): Play.PRESENT, ("n2", GOOD): Play.NEVER, ("n3", GOOD): Play.NEVER}

    def left(_attempt: Attempt) -> float:
        return 0.0 if cluster.pulling() == ["n2", "n3"] else 100.0

    monkeypatch.setattr(Attempt, "seconds_left", left)
    with Cluster(stage.server, nodes, on=plays) as cluster:
        assert stage.drive() == 1
    assert results_of(stage, "n1") == [(Result.PRESENT, "")]
    for node in ("n2", "n3", "n4"):
        assert results_of(stage, node) == [(Result.FAILED, FailureReason.TIMEOUT)]


def test_the_jobs_deadline_is_after_the_tasks(stage: Stage) -> None:
    """The Job's deadline, for the case that the driver fails, is a little later than the task's."""
    stage.planned(GOOD, nodes=["n1"], seconds=600)
    with Cluster(stage.server, ["n1"]):
        assert stage.drive() == 0
    assert 600 < job_of(stage)["spec"]["activeDeadlineSeconds"] <= 620


@pytest.mark.parametrize("with_job", [False, True])
def test_a_driver_that_starts_past_the_deadline(stage: Stage, *, with_job: bool) -> None:
    """The driver records Timeout immediately and creates no Job; it first adopts the Job of an earlier driver."""
    stage.planned(GOOD, nodes=["n1"], seconds=-5)
    if with_job:
        metadata = {
            "name": job_name(stage),
            "labels": {"ips-flow.io/workflow-uid": stage.uid},
            "annotations": {ANNOTATION_HOLDER: "driver-0", ANNOTATION_EPOCH: "1"},
        }
        stage.server.put("jobs", {"metadata": metadata})
    assert stage.drive() == 1
    assert results_of(stage, "n1") == [(Result.FAILED, FailureReason.TIMEOUT)]
    assert [key for key in stage.server.store.objects if key[0] == "jobs"] == (
        [("jobs", "warm", job_name(stage))] if with_job else []
    )


def test_nodes_with_stored_results_get_no_pod(stage: Stage) -> None:
    """Results that an earlier driver of the attempt stored are kept, and their nodes get no pod."""
    stage.planned(GOOD, nodes=["n1", "n2"])
    before = NodeResult((ImageResult(Result.PULLED, seconds=9.0),), "2026-01-01T00:00:00Z")
    stage.recorded(f"{job_name(stage)}-r0", Chunk(0, 0, {"n1": before}))
    with Cluster(stage.server, ["n1", "n2"]) as cluster:
        assert stage.drive() == 0
    assert set(cluster.ended) == {"n2"}
    assert stage.results()["n1"] == before


def test_a_new_attempt_takes_the_nodes_that_still_fail(stage: Stage) -> None:
    """The next attempt skips the nodes that an earlier attempt completed."""
    stage.planned(GOOD, nodes=["n1", "n2"])
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}) as cluster:
        assert stage.drive(attempt=0) == 1
        cluster.on.clear()
        assert stage.drive(attempt=1) == 0
    index = stage.server.get("configmaps", job_name(stage, 1))
    assert read_index(index) == ["n2"]
    assert all(node.ok for node in stage.results().values())


def test_a_stopped_task_starts_nothing(stage: Stage) -> None:
    """A driver that starts after the task was stopped or has its verdict creates no Job."""
    stage.planned(GOOD, nodes=["n1"])
    stage.workflow({"spec": {"shutdown": "Stop"}})
    assert stage.drive() == 1
    stage.workflow({"spec": {"shutdown": None}, "metadata": {"annotations": {ANNOTATION_VERDICT: "{}"}}})
    assert stage.drive() == 1
    assert not [call for call in stage.server.calls if call.startswith("POST")]


def test_another_workflow_of_the_same_name(stage: Stage) -> None:
    """A driver whose Workflow was replaced exits with the code that makes Argo replace the pod."""
    stage.planned(GOOD, nodes=["n1"])
    stage.server.remove("workflows", TASK)
    stage.server.put("workflows", {"metadata": {"name": TASK}, "spec": {}})
    with pytest.raises(ReplacePodError, match="was replaced"):
        stage.drive()


def test_sigterm_of_a_stopped_task(stage: Stage) -> None:
    """If spec.shutdown is set, the driver records pulling nodes as cancelled, deletes its Job and exits 1."""
    nodes = ["n1", "n2", "n3"]
    stage.planned(GOOD, nodes=nodes, window=2)

    def stop() -> None:
        cluster.wait_for(lambda: "n1" in cluster.ended and "n3" in cluster.pulling())
        stage.workflow({"spec": {"shutdown": "Stop"}})
        terminate()

    plays = {("n1", GOOD): Play.PRESENT, ("n2", GOOD): Play.NEVER, ("n3", GOOD): Play.NEVER}
    with Cluster(stage.server, nodes, on=plays) as cluster, stage.meanwhile(stop):
        assert stage.drive() == 1
        cluster.wait_for(lambda: not cluster.objects("jobs") and not cluster.objects("pods"))
    assert results_of(stage, "n1") == [(Result.PRESENT, "")]
    assert results_of(stage, "n2") == [(Result.FAILED, FailureReason.CANCELLED)]
    assert results_of(stage, "n3") == [(Result.FAILED, FailureReason.CANCELLED)]


def test_an_evicted_driver_and_the_next_one(stage: Stage) -> None:
    """On SIGTERM without spec.shutdown, the driver keeps its Job and exits 4; the next driver completes the Job."""
    nodes = ["n1", "n2", "n3"]
    stage.planned(GOOD, nodes=nodes, window=2)
    plays = {("n1", GOOD): Play.PULLED, ("n2", GOOD): Play.SLOW, ("n3", GOOD): Play.SLOW}
    with Cluster(stage.server, nodes, on=plays) as cluster:
        with stage.driver("driver-1") as process:
            cluster.wait_for(lambda: "n1" in cluster.ended and "n3" in cluster.pulling())
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
        assert process.returncode == 4, said
        assert "another driver takes over" in said
        uid = job_of(stage)["metadata"]["uid"]
        cluster.release()
        assert stage.drive(me="driver-2") == 0
    assert job_of(stage)["metadata"]["uid"] == uid
    assert job_of(stage)["metadata"]["annotations"][ANNOTATION_EPOCH] == "2"
    assert cluster.most_pulling == 2


def test_a_driver_frozen_just_before_it_ungates(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new driver first writes its epoch on the gated pods, so that a late ungate is refused."""
    stage.planned(GOOD, nodes=["n1"])
    patch = Kube.patch

    def late(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if options.get("kind") == "json":
            pod = path.rpartition("/")[2]
            stage.server.change("pods", pod, {"metadata": {"annotations": {ANNOTATION_EPOCH: "2"}}})
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", late)
    with Cluster(stage.server, ["n1"]) as cluster, pytest.raises(ReplacePodError, match="was taken over"):
        stage.drive()
    assert cluster.pulling() == []
    assert cluster.ended == {}


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [({"x": "y"}, "adopted in epoch 2"), ({ANNOTATION_EPOCH: "2"}, "was taken over")],
)
def test_a_job_changes_while_it_is_adopted(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    meanwhile: dict[str, str],
    expected: str,
) -> None:
    """A driver adopts a Job although the Job controller writes it, but not if another driver does."""
    stage.planned(GOOD, nodes=["n1"])
    patch = Kube.patch
    late = [meanwhile]

    def overtaken(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if late and ANNOTATION_HOLDER in body["metadata"]["annotations"]:
            stage.server.change("jobs", job_name(stage), {"metadata": {"annotations": late.pop()}})
        return patch(self, path, body, **options)

    with Cluster(stage.server, ["n1"], {GOOD: Play.SLOW}) as cluster:
        with stage.driver("driver-1") as lost:
            cluster.wait_for(cluster.pulling)
            lost.kill()
            lost.wait()
        cluster.release()
        monkeypatch.setattr(Kube, "patch", overtaken)
        said = ""
        try:
            assert stage.drive(me="driver-2") == 0
        except ReplacePodError as error:
            said = error.message
    assert expected in said + capsys.readouterr().out


def test_a_job_of_another_task_is_not_adopted(stage: Stage) -> None:
    """A Job of the same name with another Workflow's uid is not adopted."""
    stage.planned(GOOD, nodes=["n1"])
    labels = {"ips-flow.io/workflow-uid": "other"}
    stage.server.put("jobs", {"metadata": {"name": job_name(stage), "labels": labels, "annotations": {}}})
    with pytest.raises(ReplacePodError, match="belongs to another task"):
        stage.drive()


def test_a_job_that_another_client_deletes(stage: Stage) -> None:
    """If the Job is deleted, the driver stores its results and exits; the next one creates a Job for the rest."""
    nodes = ["n1", "n2"]
    stage.planned(GOOD, nodes=nodes, window=1)

    def delete() -> None:
        cluster.wait_for(lambda: cluster.pulling() == ["n2"])
        stage.server.remove("jobs", job_name(stage))

    with Cluster(stage.server, nodes, on={("n2", GOOD): Play.NEVER}) as cluster:
        with stage.meanwhile(delete), pytest.raises(ReplacePodError, match="was deleted"):
            stage.drive()
        assert set(stage.results()) == {"n1"}
        cluster.ended.clear()
        cluster.on.clear()
        assert stage.drive(me="driver-2") == 0
    assert set(cluster.ended) == {"n2"}


def test_a_pod_that_is_deleted_before_its_event(stage: Stage) -> None:
    """If a succeeded pod is deleted before its event arrives, its image still counts as present."""
    nodes = ["n1", "n2"]
    stage.planned(GOOD, nodes=nodes, window=2)
    hold_back_first_event(stage)
    stage.set_timings(pull_event=60.0)

    def delete() -> None:
        cluster.wait_for(lambda: sorted(cluster.ended) == nodes)
        looks = stage.passes()
        cluster.wait_for(lambda: stage.passes() > looks + 1)
        for one in cluster.objects("pods"):
            stage.server.remove("pods", one["metadata"]["name"])

    with Cluster(stage.server, nodes) as cluster, stage.meanwhile(delete):
        assert stage.drive() == 0
    assert {stage.results()[node].images[0].result for node in nodes} == {Result.PULLED}


def test_pods_that_another_client_deletes(stage: Stage) -> None:
    """A node whose pod was deleted by another client counts as failed; the driver does not wait for it forever."""
    nodes = ["n1", "n2", "n3"]
    stage.planned(GOOD, nodes=nodes, window=2)

    def delete() -> None:
        cluster.wait_for(lambda: sorted(cluster.pulling()) == ["n2", "n3"])
        (pod,) = [one for one in cluster.objects("pods") if one["spec"].get("nodeName") == "n2"]
        stage.server.remove("pods", pod["metadata"]["name"])
        cluster.release()

    plays = {("n1", GOOD): Play.PULLED, ("n2", GOOD): Play.NEVER, ("n3", GOOD): Play.SLOW}
    with Cluster(stage.server, nodes, on=plays) as cluster, stage.meanwhile(delete):
        assert stage.drive() == 1
    (image,) = stage.results()["n2"].images
    assert (image.reason, image.message) == (
        FailureReason.UNKNOWN,
        "its pull pod was deleted by another client",
    )
    assert stage.results()["n3"].ok


def test_a_pod_that_vanishes_while_it_is_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver continues if another client deletes a pod while the driver ends it."""
    stage.planned(GOOD, nodes=["n1"], node_timeout=0)
    patch = Kube.patch

    def late(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if "activeDeadlineSeconds" in (body.get("spec") or {} if isinstance(body, dict) else {}):
            stage.server.remove("pods", path.rpartition("/")[2])
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", late)
    with Cluster(stage.server, ["n1"], {GOOD: Play.NEVER}):
        assert stage.drive() == 1
    assert results_of(stage, "n1") == [(Result.FAILED, FailureReason.UNKNOWN)]


@pytest.mark.parametrize("status", [503, 429, 0])
def test_an_api_server_that_fails_for_a_while(stage: Stage, status: int) -> None:
    """503, 429 and broken connections only delay the driver."""
    nodes = ["n1", "n2", "n3"]
    stage.planned(GOOD, nodes=nodes, window=1)

    def fail() -> None:
        cluster.wait_for(lambda: "n1" in cluster.ended)
        stage.server.fail(".", status, times=5)

    with Cluster(stage.server, nodes) as cluster, stage.meanwhile(fail):
        assert stage.drive() == 0
    assert set(cluster.ended) == set(nodes)
    assert all(node.images == (PULLED,) for node in stage.results().values())
    assert all(fault.times == 0 for fault in stage.server.faults)


@pytest.mark.parametrize("status", [429, 503])
def test_an_api_server_that_refuses_for_longer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A driver keeps waiting on 429. On other errors it exits after a while, so that another pod tries."""
    stage.set_timings(patience=0.1)
    monkeypatch.setattr("tests.fakes.apiserver.RETRY_AFTER", 0)
    stage.planned(GOOD, nodes=["n1"])

    def fail() -> None:
        cluster.wait_for(cluster.pulling)
        stage.server.fail("GET .*/jobs/", status, times=5)
        if status == 429:
            cluster.wait_for(lambda: stage.server.faults[0].times <= 2)
            cluster.release()

    with Cluster(stage.server, ["n1"], {GOOD: Play.SLOW}) as cluster, stage.meanwhile(fail):
        if status == 429:
            assert stage.drive() == 0
        else:
            with pytest.raises(UnavailableError):
                stage.drive()


def test_a_throttled_api_server(stage: Stage) -> None:
    """A throttled driver sends fewer requests: the task completes, and few requests are refused."""
    nodes = [f"n{number:02}" for number in range(40)]
    stage.planned(GOOD, nodes=nodes, window=10)

    def throttle() -> None:
        cluster.wait_for(cluster.pulling)
        stage.server.throttle(per_second=50, burst=10)

    with Cluster(stage.server, nodes) as cluster, stage.meanwhile(throttle):
        assert stage.drive() == 0
    assert cluster.most_pulling <= 10
    assert set(cluster.ended) == set(nodes)
    assert all(node.images == (PULLED,) for node in stage.results().values())
    assert 0 < stage.server.refused < len(stage.server.calls) / 4


@pytest.mark.parametrize("refused", ["POST .*/configmaps", "GET .*/configmaps"])
def test_an_api_server_that_fails_at_the_very_end(stage: Stage, refused: str) -> None:
    """The same driver stores its results and decides when the API server is available again."""
    stage.planned(GOOD, nodes=["n1", "n2"], losses_allowed=1)
    plays = {("n1", GOOD): Play.SLOW, ("n2", GOOD): Play.MISSING}

    def fail() -> None:
        cluster.wait_for(lambda: cluster.pulling() == ["n1"])
        stage.server.fail(refused, 429, times=2)
        cluster.release()

    with Cluster(stage.server, ["n1", "n2"], on=plays) as cluster, stage.meanwhile(fail):
        assert stage.drive() == 0
    assert stage.server.faults[0].times == 0
    assert {name: node.ok for name, node in stage.results().items()} == {"n1": True, "n2": False}


def test_sigterm_while_the_api_server_fails(stage: Stage) -> None:
    """SIGTERM ends a driver also while it waits for the API."""
    stage.planned(GOOD, nodes=["n1"])
    stage.set_timings(first_pause=5.0)

    def fail() -> None:
        cluster.wait_for(cluster.pulling)
        stage.server.fail("GET .*/(jobs|pods)", 503, times=1)
        cluster.wait_for(lambda: stage.server.faults[0].times == 0)
        terminate()

    with Cluster(stage.server, ["n1"], {GOOD: Play.NEVER}) as cluster, stage.meanwhile(fail):
        assert stage.drive() == 4


def test_persisted_pods_are_deleted(stage: Stage) -> None:
    """Pods are deleted as soon as their results are stored, so that ended pods do not accumulate."""
    stage.set_timings(persist=0.0)
    nodes = [f"n{number}" for number in range(6)]
    stage.planned(GOOD, nodes=nodes, window=1)
    with Cluster(stage.server, nodes) as cluster:
        assert stage.drive() == 0
    assert len(cluster.ended) == 6
    assert len(cluster.objects("pods")) <= 2
    assert all(node.ok for node in stage.results().values())


def test_progress_is_shown(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Job's annotation counts done, pulling and failed nodes; Argo's progress file has done/total."""
    file = tmp_path / "progress"
    monkeypatch.setenv("ARGO_PROGRESS_FILE", str(file))
    nodes = ["n1", "n2", "n3"]
    stage.planned(GOOD, nodes=nodes)
    with Cluster(stage.server, nodes, on={("n3", GOOD): Play.MISSING}):
        assert stage.drive() == 1
    progress = progress_of(stage)
    assert (progress.total, progress.done, progress.failed, progress.pulling) == (3, 2, 1, 0)
    assert [(line.node, line.image, line.reason) for line in progress.failures] == [("n3", GOOD, "NotFound")]
    assert file.read_text() == "2/3"


def hold_back_first_event(stage: Stage) -> Callable[[], object]:
    """Hold back the first event; return a function that sends it."""
    held: list[Any] = []
    put = stage.server.put

    def hold_back(kind: str, item: Any, namespace: str = "warm") -> Any:
        if kind == "events" and not held:
            held.append((copy.deepcopy(item), namespace))
            return item
        return put(kind, item, namespace)

    stage.monkeypatch.setattr(stage.server, "put", hold_back)
    return lambda: put("events", *held[0])


def test_the_kubelets_event_is_awaited(stage: Stage) -> None:
    """Events may be late: the result of an ended pod is recorded with the values of its event."""
    stage.planned(GOOD, nodes=["n1"])
    send = hold_back_first_event(stage)

    def send_late() -> None:
        cluster.wait_for(lambda: "n1" in cluster.ended)
        send()

    stage.set_timings(pull_event=60.0)
    with Cluster(stage.server, ["n1"]) as cluster, stage.meanwhile(send_late):
        assert stage.drive() == 0
    assert stage.results()["n1"].images == (PULLED,)


def test_nodes_start_before_the_events_of_earlier_ones(stage: Stage) -> None:
    """The next nodes start before the kubelet's events on the first window arrive, since its pods show the image."""
    stage.planned(GOOD, nodes=["n1", "n2"], window=1)
    send = hold_back_first_event(stage)

    def send_late() -> None:
        cluster.wait_for(lambda: "n2" in cluster.ended)
        send()

    stage.set_timings(pull_event=60.0)
    with Cluster(stage.server, ["n1", "n2"]) as cluster, stage.meanwhile(send_late):
        assert stage.drive() == 0
    assert {stage.results()[node].images for node in ("n1", "n2")} == {(PULLED,)}


def test_an_unexpected_error_is_no_failed_attempt(stage: Stage) -> None:
    """After a crash the exit code is above 1, so that Argo replaces the pod and counts no attempt."""
    plan = stage.planned(GOOD, nodes=["n1"])
    name = f"{TASK}-{stage.uid.replace('-', '')[:6]}-g{plan.group}"
    stage.server.change("configmaps", name, {"binaryData": {"plan.json.gz": "bm90IGd6aXA="}})
    with stage.driver("driver-1") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 70, said
    assert "BadGzipFile" in said


def test_an_api_error_is_no_failed_attempt(stage: Stage) -> None:
    """If the plan can't be read, the driver exits 4 and logs the reason in one line."""
    with stage.driver("driver-1") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    assert said.startswith("error: ")
    assert "not found" in said
    assert len(said.splitlines()) == 1


def test_the_role_grants_what_a_driver_does_and_no_more(stage: Stage) -> None:
    """A driver uses every right of its Role: it stores results, deletes, ends and fails pods, and stops."""
    stage.set_timings(persist=0.0)
    nodes = ["n1", "n2", "n3", "n4"]
    stage.planned(GOOD, nodes=nodes, window=3)
    stage.server.put("nodes", {"metadata": {"name": "n3"}}, namespace="")

    def stop() -> None:
        cluster.wait_for(lambda: {"n1", "n2"} <= set(cluster.ended) and cluster.bound() == ["n4"])
        stage.set_timings(unbound=0.0)
        cluster.wait_for(lambda: "n3" in cluster.ended)
        stage.workflow({"spec": {"shutdown": "Stop"}})
        terminate()

    plays = {("n2", GOOD): Play.MISSING, ("n4", GOOD): Play.NEVER}
    with Cluster(stage.server, nodes, on=plays) as cluster, stage.meanwhile(stop):
        cluster.unplaceable.add("n3")
        assert stage.drive() == 1
    unused = granted("ips-flow-drive") - needed(stage.server.calls) - EXECUTOR
    assert unused == {("", "nodes", "list")}  # the steps share one ClusterRole; only filter lists nodes


@pytest.mark.parametrize("foreign", ["plan", "index"])
def test_the_config_maps_of_another_task_are_not_used(stage: Stage, foreign: str) -> None:
    """A plan or an index of the same name with another uid is not used, and nothing is started."""
    stage.planned(GOOD, nodes=["n1"])
    name = group_name(TASK, stage.uid, 0) if foreign == "plan" else job_name(stage)
    stage.server.put(
        "configmaps",
        {
            **stage.server.get("configmaps", group_name(TASK, stage.uid, 0)),
            "metadata": {"name": name, "labels": {"ips-flow.io/workflow-uid": "another"}},
            "data": {"nodes": '["n1"]'},
        },
    )
    with pytest.raises(ReplacePodError, match=f"ConfigMap {name} belongs to another task"):
        stage.drive()
    assert not [kind for kind, _, _ in stage.server.store.objects if kind == "jobs"]
