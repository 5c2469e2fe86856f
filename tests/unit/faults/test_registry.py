"""Registries that fail while a driver runs, as reported by simulated kubelets."""

from __future__ import annotations

from ips_flows.core.results.reasons import Result
from tests.fakes.kubelets import Cluster, Play
from tests.support.kube_objects import GOOD, OTHER
from tests.support.step_harness import Stage


def test_the_registry_is_away_for_a_while(stage: Stage) -> None:
    """Nodes without a registry keep trying, and the task completes when the registry is back.

    Images pulled before stay; no pod is ended early or created again.
    """
    nodes = ["n1", "n2"]
    stage.planned(GOOD, OTHER, nodes=nodes)

    def come_back() -> None:
        cluster.wait_for(lambda: all(cluster.told(node).count("Failed") >= 3 for node in nodes))
        stage.looks(cluster)
        assert sorted(cluster.pulling()) == nodes
        cluster.release()

    with Cluster(stage.server, nodes, {OTHER: Play.AWAY}) as cluster, stage.meanwhile(come_back):
        assert stage.drive() == 0
    for node in nodes:
        good, late = stage.results()[node].images
        assert (good.result, good.tries) == (Result.PULLED, 0)
        assert late.result == Result.PULLED
        assert late.tries >= 3
    assert len(cluster.pods_made()) == len(nodes)
