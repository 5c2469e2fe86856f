"""Cancelling a task in every way and at different times: true status, no objects left, results kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import Cluster
from tests.cluster.faults import outage, shut_down
from tests.cluster.test_warming import request, tagged

_GONE_SECONDS = 30 + 1  # and one second per ten pods


def assert_cancelled(cluster: Cluster, name: str) -> Any:
    """Check that Jobs and pods are deleted in time and that the task is `cancelled`, with one verdict."""
    cluster.await_no_pods(name, _GONE_SECONDS)
    assert cluster.flow("wait", name).code == 3
    await_marks(cluster, name)
    task = audit(cluster, name)
    assert task["status"] == "cancelled"
    return task


def test_cancel_while_running_leaves_nothing(cluster: Cluster, name: str, tarpit: str) -> None:
    """A cancelled task ends as cancelled, without Jobs and pull pods, and keeps its results."""
    good = tagged(cluster.push(f"tests/{name}:1"))
    cluster.submit(request(name=name, images=[good, f"{tarpit}/slow:1"]))
    cluster.await_pulling(name)
    assert cluster.flow("cancel", name).code == 0
    assert cluster.flow("cancel", name).code in (0, 1)  # the second call finds the task stopping or ended
    task = assert_cancelled(cluster, name)
    for node in cluster.nodes:
        statuses = task["nodeStatuses"][node]
        assert statuses[good]["result"] == "pulled"
        assert statuses[f"{tarpit}/slow:1"]["result"] == "failed"
    again = cluster.flow("cancel", name)
    assert again.code == 1
    assert "cancelled" in again.err


def test_cancel_between_two_attempts(cluster: Cluster, name: str) -> None:
    """A cancel during the back-off starts no attempt; the history of the first attempt is kept."""
    missing = f"{cluster.registry}/tests/{name}-missing:1"
    cluster.submit(request(name=name, images=[missing], maxRetries=2, retryDelay=300))
    cluster.await_that(lambda: cluster.task(name)["nextRetryAt"] is not None, 90)
    assert cluster.flow("cancel", name).code == 0
    task = assert_cancelled(cluster, name)
    assert {one["reason"] for one in task["failedNodeDetails"]} == {"NotFound"}
    assert [one["attempt"] for one in task["retryHistory"]] == [1]


@pytest.mark.long
@pytest.mark.parametrize("how", ["Stop", "Terminate"])
@pytest.mark.parametrize("when", ["pulling", "back-off"])
def test_argos_own_stop_and_terminate(cluster: Cluster, name: str, tarpit: str, how: str, when: str) -> None:
    """Stop and Terminate of the Argo UI cancel a task, even if Argo then runs no exit handler."""
    missing = f"{cluster.registry}/tests/{name}-missing:1"
    image = f"{tarpit}/slow:1" if when == "pulling" else missing
    cluster.submit(request(name=name, images=[image], maxRetries=1, retryDelay=300))
    if when == "pulling":
        cluster.await_pulling(name)
    else:
        cluster.await_that(lambda: cluster.task(name)["nextRetryAt"] is not None, 90)
    shut_down(cluster, name, how)
    assert_cancelled(cluster, name)


@pytest.mark.long
@pytest.mark.parametrize("late", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_cancel_races_with_the_end(cluster: Cluster, name: str, late: float) -> None:
    """A cancel near the end of a task is in time or reports that it is too late; the one verdict is true."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    with cluster.watch_pulls(name) as watch:
        cluster.submit(request(name=name, images=[image]))
        # The last pod has ended; the driver has not necessarily seen it yet.
        cluster.await_that(lambda: len(_ended(watch.seen)) == len(cluster.nodes), 90)
        outage(late)
        cancelled = cluster.flow("cancel", name)
        waited = cluster.flow("wait", name)
        await_marks(cluster, name)
        task = audit(cluster, name, watch=watch)
    assert waited.code == {"completed": 0, "cancelled": 3}[task["status"]]
    if cancelled.code != 0:
        assert task["status"] in cancelled.err
    assert {one[image]["result"] for one in task["nodeStatuses"].values()} == {"pulled"}


def _ended(seen: list[Any]) -> set[str]:
    return {pod["metadata"]["name"] for pod in seen if pod["status"]["phase"] == "Succeeded"}


@pytest.mark.long
def test_delete_of_a_running_task_cancels_it_first(cluster: Cluster, name: str, tarpit: str) -> None:
    """`delete` stops a running task and waits for its verdict; with `--now` it does not wait."""
    for task, flags in ((f"{name}-1", []), (f"{name}-2", ["--now"])):
        cluster.submit(request(name=task, images=[f"{tarpit}/slow:1"]))
        cluster.await_pulling(task)
        with cluster.watch_pulls(task) as watch:
            deleted = cluster.flow("delete", task, *flags)
            assert deleted.code == 0, deleted.err
            cluster.await_no_pods(task, _GONE_SECONDS)
        assert len(watch.verdicts) == (0 if flags else 1)
        assert cluster.flow("get", task).code == 1
