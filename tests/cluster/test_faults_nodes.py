"""Nodes die, vanish, fall silent, are full or cordoned while a task runs; each test ends with the same audit."""

from __future__ import annotations

import pytest

from ips_flows.conventions import CONFIG_MAP
from ips_flows.kube import core
from tests.cluster import faults
from tests.cluster.audit import audit
from tests.cluster.conftest import Cluster
from tests.cluster.test_warming import request, tagged

pytestmark = pytest.mark.alone

# What a pull from a registry that never answers ends with: whichever loses its patience first, we or the runtime.
_UNANSWERED = ("Timeout", "RegistryUnavailable")


@pytest.fixture
def slow(cluster: Cluster, name: str, tarpit: str) -> tuple[str, list[str]]:
    """A task that pulls until somebody gives up: a good image, and one from a registry that never answers."""
    images = [tagged(cluster.push(f"tests/{name}:1")), f"{tarpit}/slow:1"]
    cluster.submit(request(name=name, images=images, nodeTimeout="60s", timeout="10m"))
    cluster.await_pulling(name)
    return name, images


def other_than_driver(cluster: Cluster, name: str) -> str:
    busy = faults.node_of_driver(cluster, name)
    free: str = next(node for node in cluster.nodes if node != busy)
    return free


@pytest.mark.long
def test_a_node_dies_in_the_middle(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """Images of a node that dies are lost as NodeLost or Timeout; the other node's stand."""
    name, images = slow
    victim = other_than_driver(cluster, name)
    with faults.away(victim):
        assert cluster.flow("wait", name).code == 1
        task = cluster.task(name)
    assert task["nodeStatuses"][victim][images[1]]["reason"] in ("NodeLost", *_UNANSWERED)
    other = next(node for node in cluster.nodes if node != victim)
    assert task["nodeStatuses"][other][images[0]]["result"] == "pulled"
    assert task["nodeStatuses"][other][images[1]]["reason"] in _UNANSWERED
    audit(cluster, name)


@pytest.mark.long
def test_the_drivers_own_node_dies(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """Another driver, on another node, takes the Job up; what is on the dead node is lost, the rest stands."""
    name, images = slow
    victim = faults.node_of_driver(cluster, name)
    with faults.away(victim):
        waited = cluster.flow("wait", name, seconds=500)
        assert waited.code == 1, waited.err
        task = cluster.task(name)
    assert task["nodeStatuses"][victim][images[1]]["reason"] in ("NodeLost", *_UNANSWERED)
    other = next(node for node in cluster.nodes if node != victim)
    assert task["nodeStatuses"][other][images[0]]["result"] == "pulled"
    assert task["nodeStatuses"][other][images[1]]["reason"] in _UNANSWERED
    audit(cluster, name)


@pytest.mark.long
def test_a_kubelet_stops_for_a_while(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A node whose kubelet is away for 20 s ends as the others do."""
    name, images = slow
    victim = other_than_driver(cluster, name)
    with faults.away(f"{victim}-kubelet"):
        faults.outage(20)
    assert cluster.flow("wait", name).code == 1
    task = audit(cluster, name)
    assert {task["nodeStatuses"][node][images[0]]["result"] for node in cluster.nodes} == {"pulled"}
    assert {one["reason"] for one in task["failedNodeDetails"]} <= set(_UNANSWERED)


@pytest.mark.long
def test_a_node_is_cut_off_and_comes_back(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A node without network for 20 s ends as the others do."""
    name, _ = slow
    with faults.cut_off(other_than_driver(cluster, name)):
        faults.outage(20)
    assert cluster.flow("wait", name).code == 1
    audit(cluster, name)


@pytest.mark.long
def test_a_node_is_deleted(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A node that leaves the cluster while it pulls is lost, and the task does not wait for it."""
    name, images = slow
    victim = other_than_driver(cluster, name)
    with faults.without_node_object(cluster, victim):
        assert cluster.flow("wait", name).code == 1
        task = cluster.task(name)
    assert task["nodeStatuses"][victim][images[1]]["reason"] == "NodeLost"
    audit(cluster, name)


def test_a_node_is_cordoned_in_the_middle(cluster: Cluster, name: str) -> None:
    """A node that is cordoned after the plan was made is still warmed: the plan stands."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.submit(request(name=name, images=[image], batchSize=1))
    cluster.await_driver(name)
    with faults.cordoned(cluster, cluster.nodes[-1]):
        assert cluster.flow("wait", name).code == 0
    audit(cluster, name, window=1)


def test_a_node_without_space(cluster: Cluster, name: str) -> None:
    """A node whose disk is full fails as NoSpace with the runtime's own words; the other one is warmed."""
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
    """A node whose CPU is all requested fails as Unschedulable; the other one is warmed."""
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
    """A pod that requests all CPU that is left on a node."""
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
