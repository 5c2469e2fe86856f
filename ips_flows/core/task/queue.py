"""The queue: the waiting tasks in the order in which Argo starts them, and what they wait for.

Argo's semaphore orders tasks by `spec.priority`, then by their creation time in seconds. If both are equal, Argo
takes either task; we list them by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_COLUMNS, ANNOTATION_DESCRIPTION, CONFIG_MAP, LIMIT_KEY
from ips_flows.core.counts import several
from ips_flows.core.k8s.objects import Json
from ips_flows.core.task.task import priority_of, status_of
from ips_flows.core.task.workflow_status import phase_of

_NAMES_SHOWN = 5  # of running tasks


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One waiting task. `position` counts from 1, `since` is RFC 3339 UTC."""

    position: int
    task: str
    priority: int
    since: str


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of a namespace. `limit` is how many tasks may run at the same time; None if it is not valid."""

    limit: int | None
    running: tuple[str, ...]
    entries: tuple[QueueEntry, ...]

    @property
    def free(self) -> int:
        """The number of tasks that can start now."""
        return max(0, (self.limit or 0) - len(self.running))


def read_queue(workflows: Iterable[Json], limit: int | None) -> Queue:
    """Return the queue of a namespace from its Workflows. `limit` is how many tasks may run at the same time."""
    known = list(workflows)
    return Queue(
        limit=limit,
        running=tuple(sorted(one["metadata"]["name"] for one in known if phase_of(one) == "Running")),
        entries=tuple(
            QueueEntry(
                position,
                one["metadata"]["name"],
                priority_of(one),
                one["metadata"].get("creationTimestamp") or "",
            )
            for position, one in enumerate(_waiting_in_order(known), start=1)
        ),
    )


def queue_positions(workflows: Iterable[Json]) -> dict[tuple[str, str], int]:
    """Return the position of each waiting task in the queue of its namespace, from 1, by namespace and name."""
    by_namespace: dict[str, list[Json]] = {}
    for workflow in workflows:
        by_namespace.setdefault(workflow["metadata"].get("namespace", ""), []).append(workflow)
    return {
        (namespace, workflow["metadata"]["name"]): position
        for namespace, known in by_namespace.items()
        for position, workflow in enumerate(_waiting_in_order(known), start=1)
    }


def task_limit(settings: Mapping[str, Any]) -> int | None:
    """Return how many tasks may run at the same time; None if Argo can't use the configured value."""
    text = str(settings.get(LIMIT_KEY, ""))
    return int(text) if text.isascii() and text.isdecimal() and int(text) else None


def waits_for(queue: Queue, entry: QueueEntry) -> str:
    """Describe what a task waits for."""
    if queue.limit is None:
        return f"a valid {LIMIT_KEY} in ConfigMap {CONFIG_MAP}"
    ahead = entry.position - 1
    if ahead < queue.free:
        return "nothing: Argo starts it now"
    names = ", ".join(queue.running[:_NAMES_SHOWN])
    more = len(queue.running) - _NAMES_SHOWN
    names += f" and {more} more" if more > 0 else ""
    behind = f", behind {several(ahead, 'task')}" if ahead else ""
    return "a free slot" + behind + (f" (running: {names})" if names else "")


def queue_json(queue: Queue, now: datetime) -> Json:
    """Return the queue as JSON. Durations are in seconds; `ahead` is the number of tasks that start before this one."""
    return {
        "limit": queue.limit,
        "running": list(queue.running),
        "tasks": [
            {
                "position": entry.position,
                "taskId": entry.task,
                "priority": entry.priority,
                "createdAt": entry.since or None,
                "waitingSeconds": waiting_seconds(entry, now),
                "waitsFor": [] if entry.position <= queue.free else list(queue.running),
                "ahead": entry.position - 1,
            }
            for entry in queue.entries
        ],
        "total": len(queue.entries),
    }


def waiting_seconds(entry: QueueEntry, now: datetime) -> int:
    """Return how long a task has waited, in seconds."""
    return max(0, int((now - clock.parse(entry.since)).total_seconds())) if entry.since else 0


def list_annotations(*, images: int, priority: int, batch_size: int | str) -> dict[str, str]:
    """Return the annotations from which `list` and the Argo UI show a task without its spec."""
    columns = {"images": images, "priority": priority, "batchSize": batch_size}
    return {
        ANNOTATION_COLUMNS: json.dumps(columns, separators=(",", ":")),
        ANNOTATION_DESCRIPTION: f"priority {priority}, batch size {batch_size}",
    }


def _waiting_in_order(workflows: Iterable[Json]) -> list[Json]:
    """Return the waiting tasks, the next to start first."""
    waiting = [one for one in workflows if status_of(one) == "pending"]
    return sorted(
        waiting,
        key=lambda one: (
            -priority_of(one),
            one["metadata"].get("creationTimestamp") or "",
            one["metadata"]["name"],
        ),
    )
