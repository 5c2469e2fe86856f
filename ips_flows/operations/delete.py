"""Deletes a task."""

from __future__ import annotations

from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube, workflows


def delete_task(kube: Kube, namespace: str, found: Task) -> bool:
    """Delete a task's Workflow and all objects that it owns. Returns False if it was already deleted."""
    return kube.delete(workflows(namespace, found.name), uid=found.uid)
