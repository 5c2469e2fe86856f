"""Drivers, Argo's controller and the API server are broken while a task runs; each test ends with the same audit."""

from __future__ import annotations

import os
import signal

import pytest

from tests.cluster import faults, processes
from tests.cluster.audit import audit
from tests.cluster.conftest import Cluster
from tests.cluster.test_warming import request, tagged

pytestmark = pytest.mark.alone


@pytest.fixture
def slow(cluster: Cluster, name: str, tarpit: str) -> tuple[str, list[str]]:
    """A task that pulls for about 40 s and then fails: a good image, and one from a registry that never answers."""
    good = tagged(cluster.push(f"tests/{name}:1"))
    images = [good, f"{tarpit}/slow:1"]
    cluster.submit(request(name=name, images=images, nodeTimeout="40s", timeout="150s"))
    cluster.await_pulling(name)
    return name, images


def assert_nothing_lost(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """The good image is on every node, the other one ran out of time, and no node was asked twice."""
    name, images = slow
    task = audit(cluster, name)
    assert {task["nodeStatuses"][node][images[0]]["result"] for node in cluster.nodes} == {"pulled"}
    assert {one["reason"] for one in task["failedNodeDetails"]} == {"Timeout"}
    assert cluster.pods_made(name) == len(cluster.nodes)


def test_a_killed_driver_costs_nothing(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A driver that is SIGKILLed is replaced inside the same attempt, and no node is asked twice."""
    name, _ = slow
    (driver,) = processes.drivers(name)
    os.kill(driver, signal.SIGKILL)
    assert cluster.flow("wait", name).code == 1
    assert_nothing_lost(cluster, slow)
    assert len(cluster.flow("logs", name).out.split("adopted in epoch")) == 2


@pytest.mark.long
def test_two_drivers_at_once(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A frozen driver whose pod was given up finds its Job taken when it wakes, and leaves it alone."""
    name, _ = slow
    (frozen,) = processes.drivers(name)
    with faults.frozen(frozen):
        faults.delete_step_pods(cluster, "drive", name)
        cluster.await_that(lambda: len(set(processes.drivers(name)) - {frozen}) == 1, 90)
    assert cluster.flow("wait", name).code == 1
    assert_nothing_lost(cluster, slow)


@pytest.mark.long
@pytest.mark.parametrize(("part", "seconds"), [("argo-controller", 30), ("apiserver", 20)])
def test_a_control_part_is_away_for_a_while(
    cluster: Cluster, slow: tuple[str, list[str]], part: str, seconds: int
) -> None:
    """Without Argo's controller or the API server for a while a task goes on where it was."""
    with faults.away(part):
        faults.outage(seconds)
    assert cluster.flow("wait", slow[0]).code == 1
    assert_nothing_lost(cluster, slow)


@pytest.mark.long
def test_a_watch_that_is_answered_with_410(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A driver whose watch starts from a version that the API server has forgotten looks anew, and goes on."""
    name, _ = slow
    (driver,) = processes.drivers(name)
    with faults.frozen_before_its_watch(cluster, driver), faults.away("apiserver"):
        pass  # an API server that has just started knows no history
    assert cluster.flow("wait", name).code == 1
    assert "too old resource version" in cluster.flow("logs", name).out
    assert_nothing_lost(cluster, slow)
