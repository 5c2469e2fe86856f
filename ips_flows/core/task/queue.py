"""The queue as values: which tasks wait, in the order in which Argo lets them start, and what they wait for.

Argo's semaphore goes by `spec.priority`, then by the second in which a task was made; of two tasks with both
alike it takes any, we show the one whose name comes first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_COLUMNS, ANNOTATION_DESCRIPTION, CONFIG_MAP, LIMIT_KEY
from ips_flows.core.k8s.objects import Json
from ips_flows.core.task.task import priority_of, status_of
from ips_flows.core.task.workflow_status import phase_of


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One waiting task. `position` counts from 1, `since` is RFC 3339 UTC."""

    position: int
    task: str
    priority: int
    since: str


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of a namespace. `limit` is how many tasks may run at once, None where no usable number is set."""

    limit: int | None
    running: tuple[str, ...]
    entries: tuple[QueueEntry, ...]

    @property
    def free(self) -> int:
        """How many tasks could start now."""
        return max(0, (self.limit or 0) - len(self.running))


def read_queue(workflows: Iterable[Json], limit: int | None) -> Queue:
    """The queue, from the Workflows of a namespace and how many of its tasks may run at once."""
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
    """The position of each waiting task in the queue of its namespace, from 1, by namespace and name."""
    by_namespace: dict[str, list[Json]] = {}
    for workflow in workflows:
        by_namespace.setdefault(workflow["metadata"].get("namespace", ""), []).append(workflow)
    return {
        (namespace, workflow["metadata"]["name"]): position
        for namespace, known in by_namespace.items()
        for position, workflow in enumerate(_waiting_in_order(known), start=1)
    }


def task_limit(settings: Mapping[str, Any]) -> int | None:
    """How many tasks may run at once; None where Argo could not use what is set."""
    text = str(settings.get(LIMIT_KEY, ""))
    return int(text) if text.isascii() and text.isdecimal() and int(text) else None


def waits_for(queue: Queue, entry: QueueEntry) -> str:
    """Return, as text, what a task waits for."""
    if queue.limit is None:
        return f"a valid {LIMIT_KEY} in ConfigMap {CONFIG_MAP}"
    ahead = entry.position - 1
    if ahead < queue.free:
        return "nothing: Argo starts it now"
    behind = f", behind {ahead} task{'' if ahead == 1 else 's'}" if ahead else ""
    return f"a free slot{behind}"


def queue_json(queue: Queue, now: datetime) -> Json:
    """The queue for programs; times are seconds. `ahead` is how many tasks start before this one."""
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
    """How long a task has waited."""
    return max(0, int((now - clock.parse(entry.since)).total_seconds())) if entry.since else 0


def list_annotations(*, images: int, priority: int, batch_size: int | str) -> dict[str, str]:
    """The annotations by which `list` and the Argo UI show a task without reading it whole."""
    columns = {"images": images, "priority": priority, "batchSize": batch_size}
    return {
        ANNOTATION_COLUMNS: json.dumps(columns, separators=(",", ":")),
        ANNOTATION_DESCRIPTION: f"priority {priority}, {batch_size} nodes at once",
    }


def _waiting_in_order(workflows: Iterable[Json]) -> list[Json]:
    """Those that wait, the next to start first."""
    waiting = [one for one in workflows if status_of(one) == "pending"]
    return sorted(
        waiting,
        key=lambda one: (
            -priority_of(one),
            one["metadata"].get("creationTimestamp") or "",
            one["metadata"]["name"],
        ),
    )
