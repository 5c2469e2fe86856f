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
    """Ask a task to stop: a running one finishes its records first, a pending one ends at once.

    Raises TaskEndedError when it has ended; one that is asked to stop already stays so.
    """

    def stop(_: Json, seen: Task) -> Json | None:
        if seen.ended:
            raise TaskEndedError(
                f"task {name} in namespace {namespace} has ended already: {seen.status}",
                seen.status,
                hint=f"`ips-flow get {name} -n {namespace}` shows how.",
            )
        if seen.shutdown:
            return None
        return {"spec": {"shutdown": TERMINATE if seen.status == "pending" else STOP}}

    return amend_task(kube, namespace, name, stop, doing="it was being cancelled")
