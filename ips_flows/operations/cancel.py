"""Cancels a task."""

from __future__ import annotations

from ips_flows.core.errors import (
    TaskEndedError,
)
from ips_flows.core.k8s.objects import Json
from ips_flows.core.task.task import Task
from ips_flows.core.task.workflow_status import STOP, TERMINATE
from ips_flows.kube.client import Kube
from ips_flows.operations.tasks import amend_task


def cancel_task(kube: Kube, namespace: str, name: str) -> Task:
    """Stop a task. A running task records its results before it ends; a pending task ends immediately.

    Raises TaskEndedError if the task has ended. A task that is already being cancelled is not changed.
    """

    def stop(_: Json, seen: Task) -> Json | None:
        if seen.ended:
            raise TaskEndedError(
                f"task {name} in namespace {namespace} has already ended: {seen.status}",
                seen.status,
                hint=f"`ips-flow get {name} -n {namespace}` shows its result.",
            )
        if seen.shutdown:
            return None
        return {"spec": {"shutdown": TERMINATE if seen.status == "pending" else STOP}}

    return amend_task(kube, namespace, name, stop, doing="it was being cancelled")
