"""200 simulated nodes: a short benchmark whose results are checked, and an API server that rejects requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from localcluster import simulated

from ips_flows.core.constants import ANNOTATION_PROGRESS, LABEL_TASK_NAME
from ips_flows.kube.client import jobs
from tests.cluster.conftest import Cluster, goes_down, local
from tests.scale.bench import meters
from tests.scale.bench.contest import contend
from tests.scale.bench.samples import Sample

_NODES, _WINDOW = 200, 20
_SLOWLY, _QUICKLY = 3000, 1500
_LOST = 3
_REFUSED = 5
_FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Add simulated nodes to the local cluster; remove them at the end, because other tests do not expect them."""
    local("up", "--fake-nodes", str(_NODES))
    yield Cluster()
    if not goes_down():  # taking the cluster down is faster than removing the nodes
        local("up", "--fake-nodes", "0")


def test_two_hundred_nodes(cluster: Cluster) -> None:
    """Nodes with permanent failures are reported as failed, all others are warmed; the window is never exceeded."""
    nodes = [simulated.name(number) for number in range(1, _NODES + 1)]
    samples = {node: Sample(_SLOWLY if number % 2 else _QUICKLY) for number, node in enumerate(nodes)}
    lost, passing = nodes[7 :: _NODES // _LOST], nodes[50]
    samples |= {node: Sample(_QUICKLY, "permanent") for node in lost}
    samples[passing] = Sample(_QUICKLY, "passing")
    run = contend(cluster, "rolling", "failing", samples, _WINDOW)
    assert run.failed == lost
    assert run.status == "completed"
    assert 0 < run.most_at_once <= _WINDOW
    assert run.step_pods == 3
    assert run.workflow_bytes + run.managed_fields_bytes <= 30_000  # which is at most 40,000 for four waves
    assert run.seconds > run.ideal


def test_an_api_server_that_rejects_a_driver(cluster: Cluster) -> None:
    """A driver that gets 429 for a time backs off and continues: it is not replaced, and no node fails."""
    nodes = [simulated.name(number) for number in range(1, _NODES + 1)]
    samples = {node: Sample(_QUICKLY) for node in nodes}
    with ThreadPoolExecutor(1) as beside:
        refusals = beside.submit(refuse_driver, cluster)
        run = contend(cluster, "rolling", "uniform", samples, _WINDOW)
        assert _REFUSED <= refusals.result() <= 4 * _REFUSED
    assert (run.status, run.failed) == ("completed", [])
    assert 0 < run.most_at_once <= _WINDOW
    assert run.step_pods == 3


def refuse_driver(cluster: Cluster) -> int:
    """Reject the requests of a working driver until some were rejected; return the number of rejected requests."""
    level, schema = f"{_FLOW}/prioritylevelconfigurations", f"{_FLOW}/flowschemas"
    limited = {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}
    named = {"metadata": {"name": "bench-refused"}}
    account = {"name": "ips-flow-drive", "namespace": cluster.namespace}
    everything = {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "namespaces": ["*"],
        "clusterScope": True,
    }
    rule = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
        "resourceRules": [everything],
    }
    spec = {
        "matchingPrecedence": 50,
        "priorityLevelConfiguration": {"name": "bench-refused"},
        "rules": [rule],
    }
    cluster.await_that(lambda: at_work(cluster), 120)
    cluster.kube.create(level, {**named, "spec": {"type": "Limited", "limited": limited}})
    try:
        cluster.kube.create(schema, {**named, "spec": spec})
        try:
            cluster.await_that(lambda: refusals(cluster) >= _REFUSED, 60)
        finally:
            cluster.kube.delete(f"{schema}/bench-refused")
        return refusals(cluster)
    finally:
        cluster.kube.delete(f"{level}/bench-refused")


def at_work(cluster: Cluster) -> bool:
    """Return whether a driver has reported a finished node."""
    found = cluster.kube.list(jobs(cluster.namespace), labels=LABEL_TASK_NAME)
    texts = [job["metadata"]["annotations"].get(ANNOTATION_PROGRESS) for job in found]
    return any(json.loads(text)["done"] > 0 for text in texts if text)


def refusals(cluster: Cluster) -> int:
    """Return the number of rejected requests of the test's priority level, from the API server's metrics."""
    samples = meters.apiserver_samples(cluster, "apiserver_flowcontrol_rejected_requests_total")
    return sum(int(value) for labels, value in samples if labels["priority_level"] == "bench-refused")
