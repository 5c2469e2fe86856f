"""Attempts, allowed failures, batches and window changes: drive against the simulated cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ips_flows.argo.prewarm import prewarm_template
from ips_flows.cli.main import run
from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_BATCH_SIZE,
    ANNOTATION_EPOCH,
    ANNOTATION_HOLDER,
    ANNOTATION_PROGRESS,
    attempt_name,
)
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.records import GroupProgress
from ips_flows.core.results.results import Chunk, ImageResult, NodeResult
from ips_flows.core.task.as_json import task_json
from ips_flows.operations import tasks
from tests.fakes.kubelets import Cluster, Play
from tests.support.kube_objects import GOOD, OTHER
from tests.support.step_harness import TASK, Stage

AT = "2026-01-01T00:00:00Z"
PULLED = NodeResult((ImageResult(Result.PULLED),), AT)
LOST = NodeResult((ImageResult(Result.FAILED, FailureReason.NOT_FOUND, "not found"),), AT)


def progress(stage: Stage, attempt: int = 0) -> GroupProgress:
    job = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, attempt))
    return GroupProgress.from_json(job["metadata"]["annotations"][ANNOTATION_PROGRESS])


def windows(stage: Stage) -> list[int | None]:
    """Return the windows that the driver has reported so far."""
    texts = [
        (item["metadata"].get("annotations") or {}).get(ANNOTATION_PROGRESS)
        for _, _, kind, item in list(stage.server.store.history)
        if kind == "jobs"
    ]
    return [GroupProgress.from_json(text).window for text in texts if text]


def scale(stage: Stage, size: str) -> None:
    stage.workflow({"metadata": {"annotations": {ANNOTATION_BATCH_SIZE: size}}})


# -- retries and losses


def test_an_image_that_appears_between_attempts(stage: Stage) -> None:
    """The second attempt runs only on the failed node; after its success the group is done."""
    stage.planned(GOOD, nodes=["n1", "n2"], max_retries=1)
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}) as cluster:
        assert stage.drive(0) == 1
        assert progress(stage).classes == {"NotFound": 1}
        cluster.on.clear()
        assert stage.drive(1) == 0
    assert (progress(stage, 1).total, progress(stage, 1).done) == (1, 1)
    assert all(node.ok for node in stage.results().values())


def test_results_outlive_a_later_attempt_without_time(stage: Stage) -> None:
    """An attempt past the task's deadline does not discard images that an earlier attempt pulled."""
    stage.planned(GOOD, OTHER, nodes=["n1"], max_retries=1, seconds=-5)
    half = NodeResult(
        (ImageResult(Result.PULLED), ImageResult(Result.FAILED, FailureReason.NOT_FOUND, "no")), AT
    )
    stage.recorded("before-r0", Chunk(0, 0, {"n1": half}))
    assert stage.drive(1) == 1
    assert [(one.result, one.reason) for one in stage.results()["n1"].images] == [
        (Result.PULLED, ""),
        (Result.FAILED, FailureReason.TIMEOUT),
    ]


@pytest.mark.parametrize(("attempt", "code"), [(0, 1), (1, 1), (2, 0)])
def test_retries_are_spent_before_losses_are_allowed(stage: Stage, attempt: int, code: int) -> None:
    """A failure is allowed only in the last attempt."""
    stage.planned(GOOD, nodes=["n1", "n2"], max_retries=2, losses_allowed=1)
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}):
        assert stage.drive(attempt) == code


@pytest.mark.parametrize(("allowed", "code"), [(1, 1), (2, 0)])
def test_failed_nodes_of_all_waves_add_up(stage: Stage, allowed: int, code: int) -> None:
    """A wave may have as many failed nodes as earlier waves have left of the limit."""
    stage.planned(GOOD, nodes=["n1", "n2"], group=1, wave="wave-2", losses_allowed=allowed)
    stage.recorded("before-r0", Chunk(0, 0, {"n3": PULLED, "n4": LOST}))
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}):
        assert stage.drive(wave="wave-2") == code


def test_a_wave_without_a_single_good_node_is_no_loss(stage: Stage) -> None:
    """A wave in which no node has its images fails, however many failures are allowed."""
    stage.planned(GOOD, nodes=["n1", "n2"], losses_allowed=2)
    with Cluster(stage.server, ["n1", "n2"], {GOOD: Play.MISSING}):
        assert stage.drive() == 1


def test_a_good_node_of_an_earlier_attempt_counts(stage: Stage) -> None:
    """A good node of the first attempt counts for its wave, since the last attempt has only failed nodes."""
    stage.planned(GOOD, nodes=["n1", "n2"], max_retries=1, losses_allowed=1)
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}):
        assert stage.drive(0) == 1
        assert stage.drive(1) == 0


def test_nodes_lost_to_the_tasks_time_are_no_allowed_losses(stage: Stage) -> None:
    """After the task's deadline the driver exits 1, however many failures are allowed."""
    stage.planned(GOOD, nodes=["n1", "n2"], losses_allowed=1, seconds=-5)
    stage.recorded("before-r0", Chunk(0, 0, {"n1": PULLED}))
    assert stage.drive() == 1


def test_the_breaker_of_a_wave_with_images_stays_closed(stage: Stage) -> None:
    """A retry of failed nodes does not open the breaker: each node is tried and keeps its own failure."""
    nodes = ["n1", "n2", "n3", "n4"]
    stage.planned(GOOD, nodes=nodes, window=1, max_retries=1)
    plays = {(node, GOOD): Play.MISSING for node in nodes[1:]}
    with Cluster(stage.server, nodes, on=plays) as cluster:
        assert stage.drive(0) == 1
        cluster.ended.clear()
        assert stage.drive(1) == 1
    assert set(cluster.ended) == set(nodes[1:])
    assert {stage.results()[node].images[0].reason for node in nodes[1:]} == {FailureReason.NOT_FOUND}


def test_results_say_when_their_attempt_began(stage: Stage) -> None:
    """The stored results of an attempt have its start time, so that the history needs no Job."""
    stage.planned(GOOD, nodes=["n1"])
    with Cluster(stage.server, ["n1"]):
        assert stage.drive() == 0
    (chunk,) = stage.context.stored_chunks()
    job = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, 0))
    assert chunk.started == job["metadata"]["creationTimestamp"] == progress(stage).started


def argos_delays(stage: Stage) -> list[int]:
    """Return the seconds that Argo waits before each retry, from the template's back-off and filter's outputs."""
    templates = prewarm_template().to_dict()["spec"]["templates"]
    (strategy,) = [one["retryStrategy"] for one in templates if one["name"] == "attempt"]
    handed = {f"{{{{inputs.parameters.{file.name}}}}}": file.read_text() for file in stage.outputs.iterdir()}
    backoff = strategy["backoff"]
    first, factor = int(handed[backoff["duration"]].removesuffix("s")), int(handed[backoff["factor"]])
    cap = 60 * int(backoff["cap"].removesuffix("m"))
    return [min(cap, first * factor**number) for number in range(int(handed[strategy["limit"]]))]


def assert_delays(stage: Stage, expected: list[int], **asked: Any) -> None:
    """Check that Argo waits these delays, and that the history has every attempt, during the task and at its end."""
    nodes = ["n1", "n2"]

    def told() -> Any:
        return task_json(tasks.get_task(stage.kube, "warm", TASK), clock.now())

    with Cluster(stage.server, nodes, {GOOD: Play.MISSING}):
        stage.asks(images=[GOOD], maxRetries=len(expected), timeout="7d", **asked)
        assert argos_delays(stage) == expected
        for number, delay in enumerate(expected):
            assert stage.drive(number) == 1
            task = told()
            assert clock.between(task["retryHistory"][-1]["finishedAt"], task["nextRetryAt"]) == delay
        assert stage.drive(len(expected)) == 1
        assert told()["nextRetryAt"] is None
        assert stage.finish() == 0
    history = told()["retryHistory"]
    assert [(one["attempt"], one["failedNodes"], one["nextDelaySeconds"]) for one in history] == [
        (number, len(nodes), delay) for number, delay in enumerate([*expected, None], 1)
    ]
    assert {tuple(one["failures"].items()) for one in history} == {(("NotFound", len(nodes)),)}
    assert told()["retryCount"] == len(expected)


def test_linear_delays(whole: Stage) -> None:
    """The delay is the same each time; the history has every attempt, during the task and at its end."""
    assert_delays(whole, [5, 5], retryStrategy="linear", retryDelay=5)


def test_exponential_delays(whole: Stage) -> None:
    """The delay starts at the requested value and doubles."""
    assert_delays(whole, [2, 4, 8], retryStrategy="exponential", retryDelay=2)


def test_delays_are_capped(whole: Stage) -> None:
    """No delay is longer than the template's cap of 10 minutes, although doubling would give 20."""
    assert_delays(whole, [300, 600, 600], retryStrategy="exponential", retryDelay=300)


@pytest.mark.usefixtures("shell")
def test_losses_within_the_limit(whole: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """A task with no more failed nodes than allowed is completed, and every output shows the failures."""
    plays = {("n1", OTHER): Play.PRESENT, ("n2", OTHER): Play.MISSING}
    with Cluster(whole.server, ["n1", "n2"], on=plays):
        whole.asks(images=[GOOD, OTHER], maxFailedNodes=1)
        assert whole.drive() == 0
        assert whole.finish() == 0
    capsys.readouterr()
    words = "1 of 2 nodes lost (1 allowed)"
    assert run(["wait", TASK]) == 0
    assert f"completed: {words} – " in capsys.readouterr().out
    assert run(["get", TASK]) == 0
    assert words in capsys.readouterr().err
    assert run(["get", TASK, "-o", "json"]) == 0
    task = json.loads(capsys.readouterr().out)
    assert (task["status"], task["message"]) == ("completed", f"completed, {words}")
    assert task["progress"]["failedNodes"] == 1


def test_what_an_attempt_left_pulling_fills_the_window_of_the_next(stage: Stage) -> None:
    """If all drivers of an attempt failed, its pods still pull: they count, and no more of them are ungated."""
    nodes = ["n0", "n1", "n2", "n3"]
    stage.planned(GOOD, nodes=nodes, window=2, max_retries=1)
    seen: list[list[str]] = []

    def look() -> None:
        name = attempt_name(TASK, stage.uid, 0, 1)
        cluster.wait_for(lambda: any(job["metadata"]["name"] == name for job in cluster.objects("jobs")))
        stage.looks(cluster)
        seen.append(cluster.pulling())
        cluster.release()

    with Cluster(stage.server, nodes, {GOOD: Play.SLOW}) as cluster:
        with stage.driver("driver-1"):
            cluster.wait_for(lambda: len(cluster.pulling()) == 2, 30)
        with stage.meanwhile(look):
            assert stage.drive(1, me="driver-2") == 0
    assert seen == [["n0", "n1"]]
    assert cluster.most_pulling == 2
    before = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, 0))["metadata"]["annotations"]
    assert (before[ANNOTATION_HOLDER], before[ANNOTATION_EPOCH]) == ("driver-2", "2")


def test_a_remaining_pod_of_an_attempt_is_not_awaited_forever(stage: Stage) -> None:
    """A silent kubelet never ends a pod: after the time limit of a pod it no longer counts for the window."""
    stage.planned(GOOD, nodes=["n0", "n1"], window=1, max_retries=1)
    with Cluster(stage.server, ["n0", "n1"], {GOOD: Play.SLOW}) as cluster:
        with stage.driver("driver-1"):
            cluster.wait_for(lambda: cluster.pulling() == ["n0"], 30)
        cluster.silent.add("n0")
        cluster.release()
        stage.recorded("r0", Chunk(0, 0, {"n0": PULLED}))
        stage.set_timings(earlier_slack=-600)
        assert stage.drive(1) == 0


# -- batches


def test_a_strict_barrier_between_batches(stage: Stage) -> None:
    """With `order: batch` no node starts while a node of the previous batch pulls."""
    nodes = [f"n{number}" for number in range(5)]
    stage.planned(GOOD, OTHER, nodes=nodes, window=2, order="batch")

    def look() -> None:
        cluster.wait_for(lambda: "n0" in cluster.ended)
        stage.looks(cluster)
        assert cluster.pulling() == ["n1"]
        cluster.release()

    plays = {("n1", OTHER): Play.SLOW}
    with Cluster(stage.server, nodes, on=plays) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    assert cluster.most_pulling <= 2
    assert set(cluster.ended) == set(nodes)


def test_a_node_whose_events_are_late_still_belongs_to_its_batch(stage: Stage) -> None:
    """While an ended pod has no result yet, no node of the next batch starts."""
    nodes = ["n0", "n1", "n2"]
    stage.planned(GOOD, nodes=nodes, window=2, order="batch")
    put = stage.server.put

    def lose(kind: str, item: Any, namespace: str = "warm") -> Any:
        lost = kind == "events" and "-0-" in item["involvedObject"]["name"]
        return item if lost else put(kind, item, namespace)

    def look() -> None:
        cluster.wait_for(lambda: "n0" in cluster.ended)
        stage.looks(cluster)
        pulling = cluster.pulling()
        cluster.release()
        assert not stage.results()
        assert pulling == ["n1"]

    stage.monkeypatch.setattr(stage.server, "put", lose)
    stage.set_timings(pull_event=1.0)
    with Cluster(stage.server, nodes, on={("n1", GOOD): Play.SLOW}) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    assert set(cluster.ended) == set(nodes)


# -- a window that changes


def test_scale_and_pause(stage: Stage) -> None:
    """A pause starts and ends no pod; a larger window takes effect immediately; a smaller one ends no pull."""
    nodes = [f"n{number}" for number in range(6)]
    stage.planned(GOOD, nodes=nodes, window=1)

    def look() -> None:
        cluster.wait_for(lambda: cluster.pulling() == ["n0"])
        scale(stage, "0")
        stage.looks(cluster)
        assert windows(stage)[-1] == 0
        assert cluster.pulling() == ["n0"]
        cluster.on["n0", GOOD] = Play.PULLED
        cluster.wait_for(lambda: "n0" in cluster.ended)
        stage.looks(cluster)
        assert cluster.pulling() == []
        scale(stage, "4")
        stage.looks(cluster, 1)
        cluster.wait_for(lambda: cluster.pulling() == nodes[1:5])
        scale(stage, "1")
        stage.looks(cluster)
        assert windows(stage)[-1] == 1
        assert cluster.pulling() == nodes[1:5]
        cluster.release()

    stage.set_timings(progress=0.0)
    with Cluster(stage.server, nodes, {GOOD: Play.SLOW}) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    assert set(cluster.ended) == set(nodes)
    assert len(cluster.pods_made()) == len(nodes)
    assert cluster.most_pulling == 4
    assert progress(stage).window == 1


def test_growth_raises_the_jobs_parallelism(stage: Stage) -> None:
    """A larger window takes effect on the running Job; a percentage is of the eligible nodes."""
    nodes = [f"n{number}" for number in range(8)]
    stage.planned(GOOD, nodes=nodes, window=1, eligible=10)
    first = {("n0", GOOD): Play.PULLED}

    def look() -> None:
        cluster.wait_for(lambda: cluster.pulling() == ["n1"])
        scale(stage, "40%")
        cluster.wait_for(lambda: len(cluster.pulling()) == 4)
        cluster.release()

    with Cluster(stage.server, nodes, {GOOD: Play.SLOW}, on=first) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    job = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, 0))
    assert job["spec"]["parallelism"] == 5
    assert cluster.most_pulling == 4


def test_after_a_shrink_nothing_starts_until_fewer_pull(stage: Stage) -> None:
    """Pulling pods and the Job's parallelism are not changed, and the next node waits for a free place."""
    nodes = [f"n{number}" for number in range(9)]
    stage.planned(GOOD, nodes=nodes, window=4)
    plays = {(node, GOOD): Play.PULLED for node in nodes[:4]}

    def look() -> None:
        cluster.wait_for(lambda: len(cluster.pulling()) == 4 and set(nodes[:4]) <= set(cluster.ended))
        scale(stage, "2")
        stage.looks(cluster)
        assert len(cluster.pulling()) == 4
        cluster.most_pulling = 0
        cluster.on[nodes[-1], GOOD] = Play.SLOW
        cluster.release()

    with Cluster(stage.server, nodes, {GOOD: Play.SLOW}, on=plays) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    job = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, 0))
    assert job["spec"]["parallelism"] == 5
    assert set(cluster.ended) == set(nodes)


def test_an_invalid_window_is_ignored(stage: Stage) -> None:
    """An invalid window in the annotation changes nothing."""
    stage.planned(GOOD, nodes=["n1"], window=1)
    scale(stage, "many")
    with Cluster(stage.server, ["n1"]):
        assert stage.drive() == 0
    assert progress(stage).window == 1
