"""Drivers, Argo's controller and the API server are broken while a task runs; each test ends with the same audit."""

from __future__ import annotations

import os
import signal

import pytest

from ips_flows.kube.client import core
from tests.cluster import faults, processes
from tests.cluster.audit import audit
from tests.cluster.conftest import Cluster, SlowTask

pytestmark = pytest.mark.alone


def assert_nothing_lost(cluster: Cluster, slow: SlowTask) -> None:
    """Released, the task completes: each image is on every node, and no node was asked twice."""
    slow.release()
    waited = cluster.flow("wait", slow.name)
    assert waited.code == 0, waited.err
    task = audit(cluster, slow.name)
    assert {one["result"] for images in task["nodeStatuses"].values() for one in images.values()} == {
        "pulled"
    }
    assert cluster.pods_made(slow.name) == len(cluster.nodes)


def test_a_killed_driver_costs_nothing(cluster: Cluster, slow: SlowTask) -> None:
    """A driver that is SIGKILLed is replaced inside the same attempt, and no node is asked twice."""
    (driver,) = processes.drivers(slow.name)
    os.kill(driver, signal.SIGKILL)
    cluster.await_that(lambda: bool(set(processes.drivers(slow.name)) - {driver}), 60, lambda: "none came")
    assert_nothing_lost(cluster, slow)
    assert len(cluster.flow("logs", slow.name).out.split("adopted in epoch")) == 2


@pytest.mark.long
def test_two_drivers_at_once(cluster: Cluster, slow: SlowTask) -> None:
    """A frozen driver whose pod was given up finds its Job taken when it wakes, and leaves it alone."""
    (frozen,) = processes.drivers(slow.name)
    with faults.frozen(frozen):
        faults.delete_step_pods(cluster, "drive", slow.name)
        cluster.await_that(lambda: len(set(processes.drivers(slow.name)) - {frozen}) == 1, 90)
    assert_nothing_lost(cluster, slow)


@pytest.mark.long
@pytest.mark.parametrize(("part", "seconds"), [("argo-controller", 30), ("apiserver", 20)])
def test_a_control_part_is_away_for_a_while(
    cluster: Cluster, slow: SlowTask, part: str, seconds: int
) -> None:
    """Without Argo's controller or the API server for a while a task goes on where it was."""
    with faults.away(part):
        faults.outage(seconds)
    assert_nothing_lost(cluster, slow)


@pytest.mark.long
def test_a_watch_that_is_answered_with_410(cluster: Cluster, slow: SlowTask) -> None:
    """A driver whose watch breaks, and goes on from a version that the API server has forgotten, looks anew."""
    (driver,) = processes.drivers(slow.name)
    maps = core(cluster.namespace, "configmaps")
    with faults.frozen_between_looks(cluster, driver):
        # Something is written after the driver's look: an API server that has just started knows no earlier history.
        cluster.kube.create(maps, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": slow.name}})
        cluster.kube.delete(f"{maps}/{slow.name}")
        with faults.away("apiserver"):
            pass
    assert_nothing_lost(cluster, slow)
    assert "the pods can't be watched" in cluster.flow("logs", slow.name).out
