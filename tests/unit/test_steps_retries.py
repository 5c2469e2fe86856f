"""Attempts, losses, batches and a window that changes: drive against the simulated cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ips_flows.conventions import ANNOTATION_BATCH_SIZE, ANNOTATION_PROGRESS, attempt_name
from ips_flows.report import GroupProgress
from ips_flows.results import Chunk, Failure, ImageResult, NodeResult, Result
from steps import record
from steps.witness import stored_chunks
from tests.fakes.cluster import Cluster, Play
from tests.unit.samples import GOOD, OTHER
from tests.unit.stage import TASK, Stage

AT = "2026-01-01T00:00:00Z"
PULLED = NodeResult((ImageResult(Result.PULLED),), AT)
LOST = NodeResult((ImageResult(Result.FAILED, Failure.NOT_FOUND, "not found"),), AT)


def some_passes(stage: Stage, cluster: Cluster) -> None:
    """Let the driver look twice more."""
    seen = stage.passes()
    cluster.wait_for(lambda: stage.passes() >= seen + 2)


def progress(stage: Stage, attempt: int = 0) -> GroupProgress:
    job = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, attempt))
    return GroupProgress.from_json(job["metadata"]["annotations"][ANNOTATION_PROGRESS])


def scale(stage: Stage, size: str) -> None:
    stage.workflow({"metadata": {"annotations": {ANNOTATION_BATCH_SIZE: size}}})


# -- retries and losses


def test_an_image_that_appears_between_attempts(stage: Stage) -> None:
    """The second attempt takes the node that failed, and no other; with it the group is done."""
    stage.planned(GOOD, nodes=["n1", "n2"], max_retries=1)
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}) as cluster:
        assert stage.drive(0) == 1
        assert progress(stage).classes == {"NotFound": 1}
        cluster.on.clear()
        assert stage.drive(1) == 0
    assert (progress(stage, 1).total, progress(stage, 1).done) == (1, 1)
    assert all(node.ok for node in stage.results().values())


@pytest.mark.parametrize(("attempt", "code"), [(0, 1), (1, 1), (2, 0)])
def test_retries_are_spent_before_losses_are_allowed(stage: Stage, attempt: int, code: int) -> None:
    """A loss that is allowed counts as one only on the last attempt."""
    stage.planned(GOOD, nodes=["n1", "n2"], max_retries=2, losses_allowed=1)
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}):
        assert stage.drive(attempt) == code


@pytest.mark.parametrize(("allowed", "code"), [(1, 1), (2, 0)])
def test_losses_of_all_waves_add_up(stage: Stage, allowed: int, code: int) -> None:
    """A wave may lose what the waves before it have left over."""
    stage.planned(GOOD, nodes=["n1", "n2"], group=1, wave="wave-2", losses_allowed=allowed)
    stage.recorded("before-r0", Chunk(0, 0, {"n3": PULLED, "n4": LOST}))
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}):
        assert stage.drive(wave="wave-2") == code


def test_a_wave_without_a_single_good_node_is_no_loss(stage: Stage) -> None:
    """However many losses are allowed, a wave in which no node has its images has failed."""
    stage.planned(GOOD, nodes=["n1", "n2"], losses_allowed=2)
    with Cluster(stage.server, ["n1", "n2"], {GOOD: Play.MISSING}):
        assert stage.drive() == 1


def test_a_good_node_of_an_earlier_attempt_counts(stage: Stage) -> None:
    """The wave's good node may come from the first attempt: the last one only has what failed."""
    stage.planned(GOOD, nodes=["n1", "n2"], max_retries=1, losses_allowed=1)
    with Cluster(stage.server, ["n1", "n2"], on={("n2", GOOD): Play.MISSING}):
        assert stage.drive(0) == 1
        assert stage.drive(1) == 0


def test_nodes_lost_to_the_tasks_time_are_no_allowed_losses(stage: Stage) -> None:
    """Past the task's deadline the driver exits 1, whatever may be lost."""
    stage.planned(GOOD, nodes=["n1", "n2"], losses_allowed=1, seconds=-5)
    stage.recorded("before-r0", Chunk(0, 0, {"n1": PULLED}))
    assert stage.drive() == 1


def test_the_breaker_of_a_wave_that_had_images_stays_shut(stage: Stage) -> None:
    """A retry of stubborn nodes is no typo: each of them is tried, and keeps its own failure."""
    nodes = ["n1", "n2", "n3", "n4"]
    stage.planned(GOOD, nodes=nodes, window=1, max_retries=1)
    plays = {(node, GOOD): Play.MISSING for node in nodes[1:]}
    with Cluster(stage.server, nodes, on=plays) as cluster:
        assert stage.drive(0) == 1
        cluster.ended.clear()
        assert stage.drive(1) == 1
    assert set(cluster.ended) == set(nodes[1:])
    assert {stage.results()[node].images[0].reason for node in nodes[1:]} == {Failure.NOT_FOUND}


def test_results_say_when_their_attempt_began(stage: Stage) -> None:
    """The stored results of an attempt carry its start, so that the history needs no Job."""
    stage.planned(GOOD, nodes=["n1"])
    with Cluster(stage.server, ["n1"]):
        assert stage.drive() == 0
    (chunk,) = stored_chunks(stage.footing)
    job = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, 0))
    assert chunk.started == job["metadata"]["creationTimestamp"] == progress(stage).started


# -- batches


def test_a_strict_barrier_between_batches(stage: Stage) -> None:
    """With `order: batch` no node starts while another one of the batch before it pulls."""
    nodes = [f"n{number}" for number in range(5)]
    stage.planned(GOOD, OTHER, nodes=nodes, window=2, order="batch")

    def look() -> None:
        cluster.wait_for(lambda: "n0" in cluster.ended)
        some_passes(stage, cluster)
        assert cluster.pulling() == ["n1"]
        cluster.release()

    plays = {("n1", OTHER): Play.SLOW}
    with Cluster(stage.server, nodes, on=plays) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    assert cluster.most_pulling <= 2
    assert set(cluster.ended) == set(nodes)


# -- a window that changes


def test_a_pause_and_going_on(stage: Stage) -> None:
    """With window 0 nothing starts and what pulls goes on; another window lets the rest go."""
    nodes = [f"n{number}" for number in range(6)]
    stage.planned(GOOD, nodes=nodes, window=2)

    def look() -> None:
        cluster.wait_for(lambda: len(cluster.pulling()) == 2)
        scale(stage, "0")
        cluster.wait_for(lambda: "window" in said() and progress(stage).window == 0)
        cluster.release()
        cluster.wait_for(lambda: len(cluster.ended) == 2)
        some_passes(stage, cluster)
        assert cluster.pulling() == []
        scale(stage, "1")

    def said() -> Any:
        job = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, 0))
        return json.loads(job["metadata"]["annotations"].get(ANNOTATION_PROGRESS, "{}"))

    stage.monkeypatch.setattr(record, "_PROGRESS_SECONDS", 0.0)
    with Cluster(stage.server, nodes, {GOOD: Play.SLOW}) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    assert set(cluster.ended) == set(nodes)
    assert cluster.most_pulling == 2
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
    """Pods that pull are left alone, the Job keeps its parallelism, and the next node waits for its place."""
    nodes = [f"n{number}" for number in range(9)]
    stage.planned(GOOD, nodes=nodes, window=4)
    plays = {(node, GOOD): Play.PULLED for node in nodes[:4]}

    def look() -> None:
        cluster.wait_for(lambda: len(cluster.pulling()) == 4 and set(nodes[:4]) <= set(cluster.ended))
        scale(stage, "2")
        some_passes(stage, cluster)
        assert len(cluster.pulling()) == 4
        cluster.most_pulling = 0
        cluster.on[nodes[-1], GOOD] = Play.SLOW
        cluster.release()

    with Cluster(stage.server, nodes, {GOOD: Play.SLOW}, on=plays) as cluster, stage.meanwhile(look):
        assert stage.drive() == 0
    job = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, 0))
    assert job["spec"]["parallelism"] == 5
    assert set(cluster.ended) == set(nodes)


def test_a_window_written_by_hand_is_left_aside(stage: Stage) -> None:
    """What is no size changes nothing."""
    stage.planned(GOOD, nodes=["n1"], window=1)
    scale(stage, "many")
    with Cluster(stage.server, ["n1"]):
        assert stage.drive() == 0
    assert progress(stage).window == 1
