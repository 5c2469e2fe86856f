"""Simulated faults of nodes while a driver runs: failed, deleted, silent, full and fully requested nodes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.results import ImageResult
from steps.drive import pod_tracker
from tests.fakes.kubelets import Cluster, Play
from tests.support.kube_objects import GOOD, OTHER
from tests.support.step_harness import Stage

NODES = ["n1", "n2"]
THERE, HELD = GOOD, OTHER  # the first is pulled immediately, the second when it is released
PULLED = ImageResult(Result.PULLED, seconds=0.07, bytes=4196390)


@pytest.fixture(autouse=True)
def _attentive(stage: Stage) -> None:
    """Let the driver check its nodes in every pass."""
    stage.set_timings(node_check=0.0)


@pytest.fixture
def cluster(stage: Stage) -> Cluster:
    stage.planned(THERE, HELD, nodes=NODES)
    return Cluster(stage.server, NODES, {HELD: Play.SLOW})


def halfway(cluster: Cluster) -> None:
    """Wait until every node has one image and pulls the other."""

    def has_one(pod: Any) -> bool:
        return any("terminated" in one["state"] for one in pod["status"].get("containerStatuses", ()))

    cluster.wait_for(lambda: [has_one(pod) for pod in cluster.objects("pods")] == [True, True])
    assert sorted(cluster.pulling()) == NODES


def assert_lost(stage: Stage, cluster: Cluster, said: str) -> None:
    """Check that n1 keeps its pulled image and fails the other; n2 has both; no node had two pods."""
    had, lost = stage.results()["n1"].images
    assert had == PULLED
    assert (lost.result, lost.reason, lost.message) == (Result.FAILED, FailureReason.NODE_LOST, said)
    assert stage.results()["n2"].images == (PULLED, PULLED)
    assert len(cluster.pods_made()) == len(NODES)


@pytest.mark.parametrize("whose", ["another", "the driver's"])
def test_a_node_dies_in_the_middle(stage: Stage, cluster: Cluster, whose: str) -> None:
    """Missing images of a failed node are NodeLost; if the driver ran on it, another driver adopts the Job."""

    def die() -> None:
        halfway(cluster)
        cluster.node_lost("n1")
        cluster.release()

    with cluster:
        if whose == "another":
            with stage.meanwhile(die):
                assert stage.drive() == 1
        else:
            with stage.driver("driver-1") as lost:
                halfway(cluster)
                lost.kill()
                lost.wait()
            die()
            assert stage.drive(me="driver-2") == 1
    assert_lost(stage, cluster, "node n1 is not ready: its kubelet stopped reporting")


@pytest.mark.parametrize("pod", ["left", "collected"])
def test_a_node_is_deleted(stage: Stage, cluster: Cluster, pod: str) -> None:
    """A node that is deleted while it pulls has failed, and the task does not wait for it.

    If Kubernetes has already deleted its pod, less evidence of the node is left.
    """

    def leave() -> None:
        halfway(cluster)
        cluster.node_gone("n1")
        if pod == "collected":
            (mine,) = [one for one in cluster.objects("pods") if one["spec"].get("nodeName") == "n1"]
            stage.server.remove("pods", mine["metadata"]["name"])
        cluster.wait_for(lambda: "n1" not in cluster.pulling())
        cluster.release()

    with cluster, stage.meanwhile(leave):
        assert stage.drive() == 1
    if pod == "left":
        assert_lost(stage, cluster, "node n1 was deleted")
    else:
        assert {one.reason for one in stage.results()["n1"].images} == {FailureReason.NODE_LOST}
        assert stage.results()["n2"].ok


@pytest.mark.parametrize("what", ["kubelet", "network"])
def test_a_node_is_away_for_a_while(stage: Stage, cluster: Cluster, what: str) -> None:
    """A node whose kubelet or network is away for less than 30 s does not fail.

    Without network its pull continues, and ends before the API server knows.
    """

    def go_and_come_back() -> None:
        halfway(cluster)
        cluster.node_lost("n1", since=clock.stamp(clock.now()))
        stage.looks(cluster)
        if what == "network":
            cluster.release()
            cluster.wait_for(lambda: "n2" in cluster.ended)
        assert "n1" in cluster.pulling()
        cluster.node_back("n1")
        cluster.release()

    with cluster, stage.meanwhile(go_and_come_back):
        assert stage.drive() == 0
    assert {node.images for node in stage.results().values()} == {(PULLED, PULLED)}
    assert len(cluster.pods_made()) == len(NODES)


def test_a_node_without_space(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with a full disk fails as NoSpace with the runtime's message; the other node is warmed.

    Space may become free, so the kubelet may try again until the node timeout.
    """
    stage.planned(GOOD, nodes=NODES)
    cluster = Cluster(stage.server, NODES, on={("n1", GOOD): Play.NO_SPACE})

    def pass_time() -> None:
        cluster.wait_for(lambda: "n2" in cluster.ended and cluster.told("n1").count("Failed") >= 3)
        assert cluster.pulling() == ["n1"]
        monkeypatch.setattr(pod_tracker.PodTracker, "_seconds_on_node", lambda *_: math.inf)

    with cluster, stage.meanwhile(pass_time):
        assert stage.drive() == 1
    (image,) = stage.results()["n1"].images
    assert (image.result, image.reason) == (Result.FAILED, FailureReason.NO_SPACE)
    assert image.message.endswith("no space left on device")
    assert image.tries >= 3
    assert stage.results()["n2"].images == (PULLED,)


def test_a_node_without_room(stage: Stage) -> None:
    """A node without free CPU fails as Unschedulable with the scheduler's message; the other node is warmed."""
    stage.planned(GOOD, nodes=NODES)
    cluster = Cluster(stage.server, NODES)
    cluster.unplaceable.add("n1")

    def give_up() -> None:
        """Wait until the scheduler has handled every pod."""
        cluster.wait_for(
            lambda: len(cluster.objects("pods")) == 2 and all(map(judged, cluster.objects("pods")))
        )
        stage.set_timings(unbound=0.0)

    def judged(pod: Any) -> bool:
        return bool(pod["spec"].get("nodeName") or pod["status"].get("conditions"))

    with cluster, stage.meanwhile(give_up):
        assert stage.drive() == 1
    (image,) = stage.results()["n1"].images
    assert (image.reason, image.message) == (FailureReason.UNSCHEDULABLE, "n1 has no room")
    assert stage.results()["n2"].images == (PULLED,)
