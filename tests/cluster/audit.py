"""Audit at the end of every fault test: compare a task's results with the nodes, and check that no object is left."""

from __future__ import annotations

import json
from typing import Any

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_CLEANED, ANNOTATION_NOTICE, ANNOTATION_VERDICT
from ips_flows.core.request.model import PrewarmRequest, from_canonical
from tests.cluster.conftest import Cluster
from tests.cluster.task_watch import TaskWatch

# After these failures the image may still arrive: a kubelet never aborts a pull that has started.
_MAY_ARRIVE_LATER = ("Timeout", "Cancelled", "NodeLost", "Unknown", "RateLimited", "RegistryUnavailable")
_KEPT_SECONDS = 180.0  # twice: a minute of grace, a round of the keeper, the start of a pod
_OVERTIME_SECONDS = 120.0  # from a task's timeout to the end of its Workflow


def marks(cluster: Cluster, name: str) -> dict[str, str]:
    """Return the marks of finish on a task that show completed work."""
    annotations = cluster.workflow(name)["metadata"].get("annotations") or {}
    return {key: annotations[key] for key in (ANNOTATION_VERDICT, ANNOTATION_CLEANED) if key in annotations}


def await_marks(cluster: Cluster, name: str, seconds: float = _KEPT_SECONDS) -> None:
    """Wait until finish, in Argo's pod or in the keeper's, has done all of its work."""

    def marked() -> bool:
        annotations = cluster.workflow(name)["metadata"].get("annotations") or {}
        verdict = json.loads(annotations.get(ANNOTATION_VERDICT, "{}"))
        owed = {ANNOTATION_VERDICT, ANNOTATION_CLEANED}
        return owed | ({ANNOTATION_NOTICE} if verdict.get("notify") else set()) <= annotations.keys()

    cluster.await_that(marked, seconds, lambda: f"{name} has only the marks {marks(cluster, name)}")


def audit(cluster: Cluster, name: str, *, window: int = 10, watch: TaskWatch | None = None) -> Any:
    """Check that a task has one verdict, results that agree with containerd, and no objects left; return the task."""
    workflow, task = cluster.ended_workflow(name), cluster.task(name)
    cluster.await_nothing_left(name)
    verdict = json.loads(workflow["metadata"]["annotations"][ANNOTATION_VERDICT])
    assert verdict["status"] == task["status"] == workflow["metadata"]["labels"][ANNOTATION_VERDICT]
    assert verdict["eventId"] == f"{workflow['metadata']['uid']}-{verdict['startedAt']}-{verdict['status']}"
    if task["nodeStatuses"] or verdict["summary"]:
        assert set(task["nodeStatuses"]) == set(cluster.nodes)
    compare_with_nodes(cluster, task)
    if task["status"] == "completed":
        assert task["progress"]["failedNodes"] <= verdict["lossesAllowed"]
    took = clock.between(workflow["status"]["startedAt"], workflow["status"]["finishedAt"])
    request = request_of(workflow)
    if request is not None:
        assert took <= request.timeout_seconds + _OVERTIME_SECONDS
    if watch is not None:
        assert watch.most_at_once <= window, (
            f"{watch.most_at_once} nodes pulled at the same time\n{watch.story()}"
        )
        assert len(watch.verdicts) <= 1, list(watch.verdicts)
    return task


def compare_with_nodes(cluster: Cluster, task: Any) -> None:
    """Check each result of a task against the images that containerd lists."""
    for node, images in task["nodeStatuses"].items():
        there = cluster.on_node(node)
        for image, one in images.items():
            if one["result"] in ("pulled", "present"):
                assert image in there, f"{image} is not on {node}: {one}"
            elif one["result"] == "failed" and one["reason"] not in _MAY_ARRIVE_LATER:
                assert image not in there, f"{image} is on {node}: {one}"


def request_of(workflow: Any) -> PrewarmRequest | None:
    """Return the request stored in a Workflow; None if the Workflow was created by Argo's form."""
    parameters = workflow["spec"].get("arguments", {}).get("parameters", [])
    text = next((one.get("value", "") for one in parameters if one["name"] == "request"), "")
    return from_canonical(text) if text else None
