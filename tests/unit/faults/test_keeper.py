"""The keeper, round by round: if finish fails at any stage, or a task is deleted, no objects are left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_CLEANED, ANNOTATION_VERDICT, group_name
from ips_flows.core.errors import ApiError, ForbiddenError
from ips_flows.core.reconcile import decide
from ips_flows.core.reconcile.finish_job import copy_name
from ips_flows.kube.lease import Lease
from steps.context import ReplacePodError
from tests.fakes.kubelets import Cluster, Play
from tests.support import keeper_harness
from tests.support.kube_objects import GOOD
from tests.support.step_harness import TASK, Stage, set_timings

NODES = ["n1", "n2"]
MARKS = (ANNOTATION_VERDICT, ANNOTATION_CLEANED)


@pytest.fixture
def driven(whole: Stage) -> Iterator[Stage]:
    """A task whose driver has succeeded: its Job, its plan and its results exist."""
    whole.announced(GOOD, nodes=NODES)
    with Cluster(whole.server, NODES):
        assert whole.drive() == 0
        yield whole


def marks(stage: Stage) -> dict[str, Any]:
    return {key: value for key, value in stage.annotations().items() if key in MARKS}


def long_ago() -> str:
    return clock.stamp(clock.now() - timedelta(seconds=decide.GRACE_SECONDS + 1))


def assert_kept(stage: Stage) -> None:
    """Check that the keeper finished the task with one Job in one try, and that no objects are left."""
    assert stage.verdict().status == "completed"
    assert set(marks(stage)) == set(MARKS)
    assert set(keeper_harness.left(stage)) == {"results"}
    (job,) = keeper_harness.finish_jobs(stage)
    assert job["metadata"]["annotations"][decide.ANNOTATION_TRY] == "1"


@pytest.mark.parametrize(
    ("call", "resource", "verb", "judged"),
    [
        ("GET .*/pods", "pods", "list", False),  # waits for the drivers
        ("GET .*/configmaps", "configmaps", "list", False),  # folds the results
        ("PATCH .*/workflows/", "workflows", "patch", False),  # writes the verdict
        ("DELETE .*/jobs/", "jobs", "delete", True),  # deletes the remaining objects
        ("DELETE .*/configmaps", "configmaps", "deletecollection", True),
    ],
)
def test_finish_is_lost_in_each_stage(
    driven: Stage, call: str, resource: str, verb: str, judged: bool
) -> None:
    """The keeper completes the missing stages; an existing verdict stays the only one."""
    set_timings(driven.finish_timings, refused=0.0)
    driven.server.forbid(call, verb, resource)
    with pytest.raises(ForbiddenError, match=f"me may not {verb} {resource}"):
        driven.finish()
    driven.server.faults.clear()
    before = marks(driven)
    assert set(before) == ({ANNOTATION_VERDICT} if judged else set())
    keeper_harness.argo_ends(driven, finished_at=long_ago())
    keeper_harness.run_round(driven, keeper_harness.keeper(driven))
    assert keeper_harness.run_jobs(driven) == [keeper_harness.OWN]
    assert before.items() <= marks(driven).items()
    assert_kept(driven)


def test_finish_is_killed_as_it_begins(driven: Stage) -> None:
    """If finish fails before its first stage, the keeper's Job does all stages, one minute after Argo's end."""
    keeper = keeper_harness.keeper(driven)
    keeper_harness.argo_ends(driven, "Succeeded")
    keeper_harness.run_round(driven, keeper)
    assert keeper_harness.finish_jobs(driven) == []
    keeper_harness.argo_ends(driven, "Succeeded", finished_at=long_ago())
    keeper_harness.run_round(driven, keeper)
    assert keeper_harness.run_jobs(driven) == [keeper_harness.OWN]
    keeper_harness.run_round(driven, keeper)
    assert_kept(driven)


def test_the_keeper_is_killed_too(driven: Stage) -> None:
    """Another keeper takes over the Lease, which was never released, and does the remaining work once."""
    passed = [0.0]
    first, second = keeper_harness.keeper(driven, "keeper-1"), keeper_harness.keeper(driven, "keeper-2")
    second.lease = Lease(driven.kube, "warm", "keeper-2", seconds=15, monotonic=lambda: passed[0])
    keeper_harness.argo_ends(driven, finished_at=long_ago())
    keeper_harness.run_round(driven, first)
    assert len(keeper_harness.finish_jobs(driven)) == 1  # the first keeper is killed after this
    keeper_harness.run_round(driven, second)
    assert not second.lease.held
    passed[0] = 16.0
    keeper_harness.run_round(driven, second)
    assert second.lease.held
    assert keeper_harness.run_jobs(driven) == [keeper_harness.OWN]
    keeper_harness.run_round(driven, second)
    assert_kept(driven)


@pytest.mark.parametrize("propagation", ["Background", "Orphan"])
def test_a_workflow_deleted_while_it_runs(
    whole: Stage, monkeypatch: pytest.MonkeyPatch, propagation: str
) -> None:
    """No Job, pull pod, plan or copy is left, even if the deletion orphaned them; the driver is replaced."""
    monkeypatch.setattr(decide, "COLLECTION_SECONDS", 0.0)
    whole.announced(GOOD, nodes=NODES)
    keeper_harness.argo_ends(whole, "Running")
    keeper = keeper_harness.keeper(whole)
    keeper_harness.run_round(whole, keeper)

    def delete() -> None:
        cluster.wait_for(lambda: sorted(cluster.pulling()) == NODES)
        if propagation == "Orphan":
            plan = group_name(TASK, whole.uid, 0)
            whole.server.change("configmaps", plan, {"metadata": {"ownerReferences": None}})
        whole.server.remove("workflows", TASK)

    with Cluster(whole.server, NODES, {GOOD: Play.NEVER}) as cluster:
        with whole.meanwhile(delete), pytest.raises((ReplacePodError, ApiError)):
            whole.drive()
        if propagation == "Background":
            cluster.wait_for(lambda: keeper_harness.left(whole) == [])
        else:
            assert set(keeper_harness.left(whole)) == {"plan", "index", "pull"}
        keeper_harness.run_round(whole, keeper)
        assert keeper_harness.run_jobs(whole) == (
            [] if propagation == "Background" else [keeper_harness.INSTALLED]
        )
        keeper_harness.run_round(whole, keeper)
        cluster.wait_for(lambda: keeper_harness.left(whole) == [])
    assert ("configmaps", "warm", copy_name(whole.uid)) not in whole.server.store.objects
