"""Registries that reject, fail, hang and recover; each test ends with the audit."""

from __future__ import annotations

import pytest

from ips_flows.core.constants import CONFIG_MAP
from ips_flows.kube.client import core
from tests.cluster import faults
from tests.cluster.audit import audit
from tests.cluster.conftest import Cluster, via
from tests.cluster.test_warming import request, tagged
from tests.fakes.faulty_registry import FaultyRegistry


@pytest.mark.parametrize(("fault", "reason"), [("401", "Unauthorized"), ("404", "NotFound")])
def test_a_registry_that_refuses(
    cluster: Cluster, name: str, registry: FaultyRegistry, fault: str, reason: str
) -> None:
    """A permanent error ends the pod early, with the registry's message."""
    image = via(registry, cluster.push(f"tests/{name}:1"))
    registry.misbehave(fault)  # type: ignore[arg-type]
    outcome = cluster.flow("run", "--image", image, "--name", name, "-o", "json")
    assert outcome.code == 1, outcome.err
    assert {one["reason"] for one in outcome.json()["failedNodeDetails"]} == {reason}
    audit(cluster, name)


@pytest.mark.parametrize("fault", ["429", "500", "truncated"])
def test_a_registry_that_recovers(cluster: Cluster, name: str, registry: FaultyRegistry, fault: str) -> None:
    """The kubelet's back-off handles a temporary error, and the task completes."""
    image = via(registry, cluster.push(f"tests/{name}:1"))
    registry.misbehave(fault, left=len(cluster.nodes) * 2)  # type: ignore[arg-type]
    outcome = cluster.flow("run", "--image", image, "--name", name, "-o", "json")
    assert outcome.code == 0, outcome.err
    audit(cluster, name)


@pytest.mark.parametrize(("fault", "reason"), [("429", "RateLimited"), ("500", "RegistryUnavailable")])
def test_a_registry_that_does_not_recover(
    cluster: Cluster, name: str, registry: FaultyRegistry, fault: str, reason: str
) -> None:
    """When `nodeTimeout` is over, the registry's repeated error is the reason."""
    image = via(registry, cluster.push(f"tests/{name}:1"))
    registry.misbehave(fault)  # type: ignore[arg-type]
    outcome = cluster.flow("run", "--image", image, "--name", name, "--node-timeout", "15s", "-o", "json")
    assert outcome.code == 1, outcome.err
    assert {one["reason"] for one in outcome.json()["failedNodeDetails"]} == {reason}
    audit(cluster, name)


@pytest.mark.alone
@pytest.mark.long
def test_the_registry_is_away_for_a_while(cluster: Cluster, name: str) -> None:
    """Nodes retry while the registry is down, and the task completes when it is back."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    with faults.away("registry"):
        cluster.submit(request(name=name, images=[image]))
        cluster.await_pulling(name)
        faults.outage(15)
    assert cluster.flow("wait", name).code == 0
    task = audit(cluster, name)
    assert {task["nodeStatuses"][node][image]["result"] for node in cluster.nodes} == {"pulled"}


@pytest.mark.alone
@pytest.mark.long
def test_a_missing_worker_image(cluster: Cluster, name: str) -> None:
    """If the worker image cannot be pulled, the error names it, and no image of the user fails."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    path = core(cluster.namespace, "configmaps", CONFIG_MAP)
    before = cluster.kube.get(path)["data"]["worker-image"]
    cluster.kube.patch(path, {"data": {"worker-image": f"{cluster.registry}/tests/{name}-nowhere:1"}})
    try:
        assert cluster.flow("run", "--image", image, "--name", name, "--pull-policy", "Always").code == 1
    finally:
        cluster.kube.patch(path, {"data": {"worker-image": before}})
    task = audit(cluster, name)
    assert {one["reason"] for one in task["failedNodeDetails"]} == {"WorkerImage"}
