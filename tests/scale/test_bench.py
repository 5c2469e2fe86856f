"""The benchmark in short, on 200 simulated nodes: what it says must be so. How long it takes is not judged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from localcluster import simulated

from tests.cluster.conftest import LOCAL, Cluster
from tests.scale.bench.contest import contend
from tests.scale.bench.samples import Sample

_NODES, _WINDOW = 200, 20
_SLOWLY, _QUICKLY = 3000, 1500
_LOST = 3


pytestmark = pytest.mark.alone


def simulate(nodes: int) -> None:
    subprocess.run([LOCAL / "up", "--fake-nodes", str(nodes)], check=True, capture_output=True)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """The local cluster with simulated nodes, which other tests do not expect."""
    simulate(_NODES)
    yield Cluster()
    simulate(0)


def test_two_hundred_nodes(cluster: Cluster) -> None:
    """Those whose pulls fail for good are told as lost, all others are warmed; the window holds at every instant."""
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
    assert run.workflow_bytes <= 40_000
    assert run.seconds > run.ideal
