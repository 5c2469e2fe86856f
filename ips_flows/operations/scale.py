"""Changes the window of a running task."""

from __future__ import annotations

from ips_flows.core.constants import (
    ANNOTATION_BATCH_SIZE,
)
from ips_flows.core.errors import (
    TaskEndedError,
    UsageError,
)
from ips_flows.core.k8s.objects import Json
from ips_flows.core.plan.window import parse_window
from ips_flows.core.request.limits import BATCH_SIZE
from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube
from ips_flows.operations import tasks

_ANY = 100  # a number of nodes, only to check the syntax of a percentage


def canonical_size(size: str) -> str:
    """Return a window without leading zeros: `0` pauses a task. Raises UsageError if it is invalid."""
    window = parse_window(size, _ANY)
    if window is None:
        raise UsageError(
            f'batch size {size!r}: expected a number from {BATCH_SIZE}, a percentage such as "10%", or 0 to pause'
        )
    return size if size.endswith("%") else str(window)


def scale_task(kube: Kube, namespace: str, name: str, size: str) -> Task:
    """Change a task's window: a number of nodes, a percentage of its eligible nodes, or 0 to pause.

    Raises TaskEndedError if the task has ended or is being cancelled.
    """
    size = canonical_size(size)

    def rescale(_: Json, seen: Task) -> Json:
        if seen.ended or seen.shutdown:
            how = f"has already ended: {seen.status}" if seen.ended else "is being cancelled"
            raise TaskEndedError(
                f"task {name} in namespace {namespace} {how}",
                seen.status,
                hint=f"`ips-flow get {name} -n {namespace}` shows its result.",
            )
        return {"metadata": {"annotations": {ANNOTATION_BATCH_SIZE: size}}}

    return tasks.amend_task(kube, namespace, name, rescale, doing="it was being scaled")
