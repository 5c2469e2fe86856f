"""Every way to cancel a task, at any moment, on simulated nodes: the verdict is true, and no objects are left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ips_flows.cli.main import run
from ips_flows.core.constants import ANNOTATION_VERDICT
from ips_flows.core.errors import ApiError, TaskEndedError
from ips_flows.core.pods.pull_job import is_gated
from ips_flows.core.results.reasons import FailureReason
from ips_flows.kube.client import Kube
from ips_flows.operations.cancel import cancel_task
from steps.context import ReplacePodError
from steps.drive.pod_cache import PodCache
from tests.fakes.kubelets import Cluster, Play
from tests.support import keeper_harness
from tests.support.kube_objects import GOOD
from tests.support.step_harness import TASK, Stage, terminate

NODES = ["n1", "n2"]


def verdicts(stage: Stage) -> set[str]:
    """Return the verdicts of all versions of the task's Workflow."""
    versions = [item for _, _, kind, item in stage.server.store.history if kind == "workflows"]
    texts = [(item["metadata"].get("annotations") or {}).get(ANNOTATION_VERDICT) for item in versions]
    return {text for text in texts if text}


def running(stage: Stage, **plan: Any) -> None:
    """Plan the task, and set its phase to Running."""
    stage.announced(GOOD, nodes=NODES, **plan)
    labels = {"workflows.argoproj.io/phase": "Running"}
    stage.workflow({"metadata": {"labels": labels}, "status": {"phase": "Running"}})


@pytest.mark.parametrize("how", ["Stop", "Terminate"])
@pytest.mark.parametrize("when", ["pulling", "back-off"])
def test_argos_own_stop_and_terminate(whole: Stage, how: str, when: str) -> None:
    """Stop and Terminate in the Argo UI cancel the task, even if Argo then runs no exit handler.

    During the back-off no driver runs, and the Job of the first attempt still exists.
    """
    running(whole, retries=1)
    keeper = keeper_harness.keeper(whole)

    def press() -> None:
        cluster.wait_for(lambda: sorted(cluster.pulling()) == NODES)
        whole.workflow({"spec": {"shutdown": how}})
        terminate()

    with Cluster(whole.server, NODES, {GOOD: Play.NEVER if when == "pulling" else Play.MISSING}) as cluster:
        if when == "pulling":
            with whole.meanwhile(press):
                assert whole.drive() == 1
        else:
            assert whole.drive() == 1
            whole.workflow({"spec": {"shutdown": how}})
        keeper_harness.argo_ends(whole)
        keeper_harness.run_round(whole, keeper)
        # The keeper gives Argo's exit handler one minute. Terminate runs none.
        assert keeper_harness.run_jobs(whole) == ([] if how == "Stop" else [keeper_harness.OWN])
        if how == "Stop":
            assert whole.finish() == 0
        cluster.wait_for(lambda: set(keeper_harness.left(whole)) == {"results"})
    assert whole.verdict().status == "cancelled"
    assert len(verdicts(whole)) == 1
    failure = FailureReason.CANCELLED if when == "pulling" else FailureReason.NOT_FOUND
    assert {node.images[0].reason for node in whole.results().values()} == {failure}
    told = [(one.attempt, one.failed, one.next_delay) for one in whole.verdict().retries]
    assert told == [(0, len(NODES), None)]


def before_patch(monkeypatch: pytest.MonkeyPatch, what: str, act: Callable[[], object]) -> None:
    """Call `act` once, between the read that a patch is based on and the patch."""
    patch = Kube.patch

    def overtaken(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if what in str(body):
            monkeypatch.setattr(Kube, "patch", patch)
            act()
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", overtaken)


@pytest.mark.parametrize(
    "moment", ["before the driver's last look", "after the driver's end", "while finish judges", "too late"]
)
def test_cancel_races_with_the_end(whole: Stage, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A cancel near the end of a task succeeds or is refused as too late. The task has one verdict, and it is true."""
    running(whole)
    driven = 0

    def cancel() -> None:
        assert cancel_task(whole.kube, "warm", TASK).shutdown == "Stop"

    def stopped_as_it_waits(_pods: PodCache, _seconds: float) -> None:
        pods = cluster.objects("pods")
        if len(pods) < len(NODES) or any(is_gated(pod) for pod in pods):
            return  # the driver still waits for the Job controller; it waits again when the last pod is ungated
        cluster.wait_for(lambda: sorted(cluster.ended) == NODES)
        cancel()
        terminate()

    if moment.startswith("before"):
        monkeypatch.setattr(PodCache, "wait_for_change", stopped_as_it_waits)
        driven = 1
    with Cluster(whole.server, NODES) as cluster:
        assert whole.drive() == driven
        if moment.startswith("after"):
            cancel()
        if moment.startswith("while"):
            before_patch(monkeypatch, ANNOTATION_VERDICT, cancel)
        if moment == "too late":
            before_patch(monkeypatch, "shutdown", whole.finish)
            with pytest.raises(TaskEndedError, match="has already ended: completed"):
                cancel()
        assert whole.finish() == 0
    assert whole.workflow()["spec"].get("shutdown") == (None if moment == "too late" else "Stop")
    assert whole.verdict().status == "completed"
    assert len(verdicts(whole)) == 1
    assert all(node.ok for node in whole.results().values())


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("flags", [[], ["--now"]])
def test_delete_of_a_running_task_cancels_it_first(
    whole: Stage, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    """`delete` stops a running task and waits for its verdict, except with `--now`. No objects are left."""
    running(whole)

    def user() -> None:
        cluster.wait_for(lambda: sorted(cluster.pulling()) == NODES)
        assert run(["delete", TASK, *flags]) == 0

    def argo() -> None:
        cluster.wait_for(lambda: "shutdown" in whole.workflow()["spec"])
        terminate()

    with Cluster(whole.server, NODES, {GOOD: Play.NEVER}) as cluster, whole.meanwhile(user):
        if flags:
            with pytest.raises((ReplacePodError, ApiError)):
                whole.drive()
        else:
            with whole.meanwhile(argo):
                assert whole.drive() == 1
            assert whole.finish() == 0
        cluster.wait_for(lambda: keeper_harness.left(whole) == [])
    assert "task warm-x deleted\n" in capsys.readouterr().out
    assert len(verdicts(whole)) == (0 if flags else 1)
    assert ("workflows", "warm", TASK) not in whole.server.store.objects
