"""Nodes die, are deleted, unreachable, full or cordoned while a task runs; each test ends with the audit."""

from __future__ import annotations

import pytest

from ips_flows.core.constants import CONFIG_MAP
from ips_flows.kube.client import core
from tests.cluster import faults
from tests.cluster.audit import audit
from tests.cluster.conftest import Cluster, SlowTask
from tests.cluster.test_warming import request, tagged

pytestmark = pytest.mark.alone


def other_than_driver(cluster: Cluster, name: str) -> str:
    busy = faults.node_of_driver(cluster, name)
    free: str = next(node for node in cluster.nodes if node != busy)
    return free


def assert_lost(cluster: Cluster, slow: SlowTask, victim: str) -> None:
    """Check that the failed node keeps its earlier result, fails the held image, and the others have both images."""
    task = cluster.task(slow.name)
    for node, images in task["nodeStatuses"].items():
        assert images[slow.there]["result"] == "pulled"
        last = images[slow.held]
        assert (last["result"], last["reason"]) == (
            ("failed", "NodeLost") if node == victim else ("pulled", None)
        )


@pytest.mark.long
@pytest.mark.parametrize("whose", ["another", "the driver's"])
def test_a_node_dies_in_the_middle(cluster: Cluster, slow: SlowTask, whose: str) -> None:
    """Unfinished images of a dead node fail as NodeLost; if it ran the driver, another driver adopts the Job."""
    busy = faults.node_of_driver(cluster, slow.name)
    victim = busy if whose == "the driver's" else other_than_driver(cluster, slow.name)
    with faults.away(victim):
        slow.release()
        waited = cluster.flow("wait", slow.name, seconds=500)
        assert waited.code == 1, waited.err
        assert_lost(cluster, slow, victim)
    audit(cluster, slow.name)


@pytest.mark.long
def test_a_node_is_deleted(cluster: Cluster, slow: SlowTask) -> None:
    """A node that is deleted while it pulls fails, and the task does not wait for it."""
    victim = other_than_driver(cluster, slow.name)
    with faults.without_node_object(cluster, victim):
        cluster.await_that(lambda: _is_lost(cluster, slow, victim), 120, lambda: "the node has not failed")
        slow.release()
        assert cluster.flow("wait", slow.name).code == 1
        assert_lost(cluster, slow, victim)
    audit(cluster, slow.name)


def _is_lost(cluster: Cluster, slow: SlowTask, victim: str) -> bool:
    failed = cluster.task(slow.name)["failedNodeDetails"]
    return any(one["nodeName"] == victim and one["reason"] == "NodeLost" for one in failed)


@pytest.mark.long
@pytest.mark.parametrize("what", ["kubelet", "network"])
def test_a_node_is_away_for_a_while(cluster: Cluster, slow: SlowTask, what: str) -> None:
    """A node whose kubelet or network is down for 20 s still completes."""
    victim = other_than_driver(cluster, slow.name)
    with faults.away(f"{victim}-kubelet") if what == "kubelet" else faults.cut_off(victim):
        faults.outage(20)
    slow.release()
    waited = cluster.flow("wait", slow.name)
    assert waited.code == 0, waited.err
    audit(cluster, slow.name)


def test_a_node_is_cordoned_in_the_middle(cluster: Cluster, name: str) -> None:
    """A node that is cordoned after planning is still warmed, because the plan does not change."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.submit(request(name=name, images=[image], batchSize=1))
    cluster.await_driver(name)
    with faults.cordoned(cluster, cluster.nodes[-1]):
        assert cluster.flow("wait", name).code == 0
    audit(cluster, name, window=1)


def test_a_node_without_space(cluster: Cluster, name: str) -> None:
    """A node whose disk is full fails as NoSpace with the runtime's message; the other node is warmed."""
    victim = cluster.nodes[-1]
    image = tagged(cluster.push(f"tests/{name}:1", size="24MiB"))
    with faults.without_space(victim, 8):
        outcome = cluster.flow("run", "--image", image, "--name", name, "--node-timeout", "20s", "-o", "json")
    assert outcome.code == 1, outcome.err
    task = audit(cluster, name)
    (failed,) = task["failedNodeDetails"]
    assert (failed["nodeName"], failed["reason"]) == (victim, "NoSpace")
    assert "no space left on device" in failed["message"]
    assert task["nodeStatuses"][cluster.nodes[0]][image]["result"] == "pulled"


@pytest.mark.long
def test_a_node_without_room(cluster: Cluster, name: str) -> None:
    """A node without allocatable CPU left fails as Unschedulable; the other node is warmed."""
    full = cluster.nodes[-1]
    image = tagged(cluster.push(f"tests/{name}:1"))
    _fill(cluster, full, name)
    try:
        outcome = cluster.flow("run", "--image", image, "--name", name, "-o", "json")
    finally:
        cluster.kube.delete(core(cluster.namespace, "pods", name), grace_seconds=0)
    assert outcome.code == 1, outcome.err
    task = audit(cluster, name)
    assert {(one["nodeName"], one["reason"]) for one in task["failedNodeDetails"]} == {
        (full, "Unschedulable")
    }


def _fill(cluster: Cluster, node: str, name: str) -> None:
    """Create a pod that requests all remaining CPU of a node."""
    used = 0.0
    for pod in cluster.kube.list("/api/v1/pods", fields=f"spec.nodeName={node}"):
        if pod["status"]["phase"] in ("Pending", "Running"):
            for container in pod["spec"]["containers"]:
                used += _cpus((container.get("resources") or {}).get("requests", {}).get("cpu", "0"))
    free = _cpus(cluster.kube.get(f"/api/v1/nodes/{node}")["status"]["allocatable"]["cpu"]) - used
    worker = cluster.kube.get(core(cluster.namespace, "configmaps", CONFIG_MAP))["data"]["worker-image"]
    cluster.kube.create(
        core(cluster.namespace, "pods"),
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeName": node,
                "tolerations": [{"operator": "Exists"}],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "filler",
                        "image": worker,
                        "command": ["/bin/busybox", "sleep", "3600"],
                        "resources": {"requests": {"cpu": f"{int(free * 1000)}m"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }
                ],
            },
        },
    )
    cluster.await_that(
        lambda: cluster.kube.get(core(cluster.namespace, "pods", name))["status"]["phase"] == "Running", 60
    )


def _cpus(text: str) -> float:
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)
