"""Faults of drivers, Argo's controller and the API server while a task runs; each test ends with the audit."""

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
    """Release the task and check that it completes, with every image on every node and one pull pod per node."""
    slow.release()
    waited = cluster.flow("wait", slow.name)
    assert waited.code == 0, waited.err
    task = audit(cluster, slow.name)
    assert {one["result"] for images in task["nodeStatuses"].values() for one in images.values()} == {
        "pulled"
    }
    assert cluster.pods_made(slow.name) == len(cluster.nodes)


def test_a_killed_driver_is_replaced(cluster: Cluster, slow: SlowTask) -> None:
    """A driver that is killed is replaced within the same attempt, and no node gets a second pull pod."""
    (driver,) = processes.drivers(slow.name)
    os.kill(driver, signal.SIGKILL)
    cluster.await_that(
        lambda: bool(set(processes.drivers(slow.name)) - {driver}), 60, lambda: "no new driver started"
    )
    assert_nothing_lost(cluster, slow)
    assert len(cluster.flow("logs", slow.name).out.split("adopted in epoch")) == 2


@pytest.mark.long
def test_two_drivers_at_the_same_time(cluster: Cluster, slow: SlowTask) -> None:
    """A driver that was frozen and replaced finds its Job adopted by another driver, and does not change it."""
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
    """A task resumes after an outage of Argo's controller or the API server."""
    with faults.away(part):
        faults.outage(seconds)
    assert_nothing_lost(cluster, slow)


@pytest.mark.long
def test_a_watch_that_gets_410(cluster: Cluster, slow: SlowTask) -> None:
    """A driver whose watch resumes from an expired resourceVersion lists its pods again."""
    (driver,) = processes.drivers(slow.name)
    maps = core(cluster.namespace, "configmaps")
    with faults.frozen_between_looks(cluster, driver):
        # A write after the driver's list: an API server that has just started has no earlier history.
        cluster.kube.create(maps, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": slow.name}})
        cluster.kube.delete(f"{maps}/{slow.name}")
        with faults.away("apiserver"):
            pass
    assert_nothing_lost(cluster, slow)
    assert "the pods can't be watched" in cluster.flow("logs", slow.name).out
