"""What every test of a fault ends with: the task's word against the nodes' own, and nothing left over."""

from __future__ import annotations

import json
from typing import Any

from ips_flows.conventions import ANNOTATION_VERDICT
from tests.cluster.conftest import Cluster, PullWatch

# After these the kubelet may bring an image on its own: a pull that has begun is never broken off.
_MAY_ARRIVE_LATER = ("Timeout", "Cancelled", "NodeLost", "Unknown")


def audit(cluster: Cluster, name: str, *, window: int = 10, watch: PullWatch | None = None) -> Any:
    """The task has ended with one verdict; each node × image result is what containerd says; nothing is left."""
    workflow, task = cluster.ended_workflow(name), cluster.task(name)
    cluster.await_nothing_left(name)
    verdict = json.loads(workflow["metadata"]["annotations"][ANNOTATION_VERDICT])
    assert verdict["status"] == task["status"] == workflow["metadata"]["labels"][ANNOTATION_VERDICT]
    assert verdict["eventId"] == f"{workflow['metadata']['uid']}-{verdict['startedAt']}-{verdict['status']}"
    assert set(task["nodeStatuses"]) == set(cluster.nodes)
    for node, images in task["nodeStatuses"].items():
        there = cluster.on_node(node)
        for image, one in images.items():
            if one["result"] in ("pulled", "present"):
                assert image in there, f"{image} is not on {node}: {one}"
            elif one["reason"] not in _MAY_ARRIVE_LATER:
                assert image not in there, f"{image} is on {node}: {one}"
    if task["status"] == "completed":
        assert task["progress"]["failedNodes"] == 0
    if watch is not None:
        assert watch.most_at_once <= window
    return task
