"""Simulated faults of drivers, Argo's controller and the API server: a running task loses no result."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from ips_flows.core.constants import ANNOTATION_EPOCH, ANNOTATION_HOLDER, attempt_name
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.results import ImageResult
from ips_flows.kube.client import Kube
from tests.fakes.kubelets import Cluster, Play
from tests.support.kube_objects import GOOD, OTHER
from tests.support.step_harness import TASK, Stage

NODES = ["n1", "n2"]
THERE, HELD = GOOD, OTHER  # the first is pulled immediately, the second when it is released
PULLED = ImageResult(Result.PULLED, seconds=0.07, bytes=4196390)


def assert_nothing_lost(stage: Stage, cluster: Cluster) -> None:
    """Check that each image is on every node, and that no node had two pods."""
    assert {name: node.images for name, node in stage.results().items()} == dict.fromkeys(
        NODES, (PULLED, PULLED)
    )
    assert len(cluster.pods_made()) == len(NODES)


def test_two_drivers_at_once(stage: Stage) -> None:
    """A frozen driver whose Job another driver has adopted changes nothing when it wakes, and exits 4."""
    stage.planned(THERE, HELD, nodes=NODES, window=1)
    with (
        Cluster(stage.server, NODES, {HELD: Play.SLOW}) as cluster,
        stage.driver("driver-1") as frozen,
    ):
        # The driver has read its Workflow once more, and waits for events with nothing left to write.
        cluster.wait_for(lambda: cluster.pulling() == ["n1"] and "/workflows/" in stage.server.calls[-1])
        frozen.send_signal(signal.SIGSTOP)
        cluster.release()
        assert stage.drive(me="driver-2") == 0
        written = [call for call in stage.server.calls if not call.startswith("GET")]
        frozen.send_signal(signal.SIGCONT)
        said, _ = frozen.communicate(timeout=60)
    assert frozen.returncode == 4, said
    assert "is driven by driver-2 now" in said
    assert written == [call for call in stage.server.calls if not call.startswith("GET")]
    annotations = stage.server.get("jobs", attempt_name(TASK, stage.uid, 0, 0))["metadata"]["annotations"]
    assert (annotations[ANNOTATION_HOLDER], annotations[ANNOTATION_EPOCH]) == ("driver-2", "2")
    # n2 was gated when the Job was adopted, n1 was not.
    epochs = {node: pod["metadata"]["annotations"][ANNOTATION_EPOCH] for node, pod in cluster.ended.items()}
    assert epochs == {"n1": "0", "n2": "2"}
    assert cluster.most_pulling == 1
    assert_nothing_lost(stage, cluster)


@pytest.mark.parametrize("part", ["argo-controller", "apiserver"])
def test_a_control_part_is_away_for_a_while(
    whole: Stage, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    """A task continues after Argo's controller or the API server was away for a while.

    The restarted API server has no watch history. Argo starts finish long after the Job was garbage-collected.
    """
    whole.announced(THERE, HELD, nodes=NODES)

    def be_away() -> None:
        cluster.wait_for(lambda: sorted(cluster.pulling()) == NODES)
        if part == "apiserver":
            whole.server.fail(".", 0, times=4)
            whole.server.forget_history()
            cluster.wait_for(lambda: whole.server.faults[0].times == 0)
        cluster.release()

    with Cluster(whole.server, NODES, {HELD: Play.SLOW}) as cluster, whole.meanwhile(be_away):
        assert whole.drive() == 0
    assert ("trying again" in capsys.readouterr().out) == (part == "apiserver")
    if part == "argo-controller":
        whole.server.remove("jobs", attempt_name(TASK, whole.uid, 0, 0))
        for pod in cluster.objects("pods"):
            whole.server.remove("pods", pod["metadata"]["name"])
    assert whole.finish() == 0
    assert whole.verdict().status == "completed"
    assert_nothing_lost(whole, cluster)


def test_a_watch_that_is_answered_with_410(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver whose watch starts from an expired version lists again and continues."""
    stage.planned(THERE, HELD, nodes=NODES)
    watch = Kube.watch
    forgotten: list[int] = []

    def late(self: Kube, path: str, **options: Any) -> Iterator[Any]:
        if not forgotten and path.endswith("/pods"):
            stage.server.forget_history()
            forgotten.append(1)
            cluster.release()
        return watch(self, path, **options)

    monkeypatch.setattr(Kube, "watch", late)
    with Cluster(stage.server, NODES, {HELD: Play.SLOW}) as cluster:
        assert stage.drive() == 0
    assert forgotten
    lists = [call for call in stage.server.calls if "/pods?" in call and "watch=true" not in call]
    assert len(lists) == 2
    assert_nothing_lost(stage, cluster)
