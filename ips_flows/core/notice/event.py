"""The event of a task's end, and the truncation of its task to a limited size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ips_flows.core.k8s.objects import Json

LARGEST_TASK = 256 * 1024  # bytes of the task as JSON
_CUT_LAST = ("drift", "retryHistory", "skippedNodes", "nodeSelector", "images")


@dataclass(frozen=True, slots=True)
class Event:
    """The end of a task. `name` is `task.completed`, `task.failed` or `task.cancelled`.

    `id` is the same in every notification of the event. `timestamp` (RFC 3339 UTC) is the time of the end. `task` is
    the complete task as returned by `task_json`.
    """

    id: str
    name: str
    timestamp: str
    message: str
    task: Json


def truncate_task(task: Json, largest: int = LARGEST_TASK) -> Json:
    """Return a task of at most `largest` bytes of JSON, with `"truncated": true` if a field was cut.

    `nodeStatuses` is removed first, then as many of the last `failedNodeDetails` as needed, then other long fields.
    """
    if _size(task) <= largest:
        return task
    short = task | {"truncated": True, "nodeStatuses": {}}
    if _size(short) <= largest:
        return short
    lines = list(short.get("failedNodeDetails") or ())
    bare = short | {"failedNodeDetails": []}
    for field in _CUT_LAST:
        if _size(bare) <= largest:
            break
        if bare.get(field):
            bare[field] = type(bare[field])()
    room = largest - _size(bare)
    kept: list[Any] = []
    for line in lines:
        room -= _size(line) + 1
        if room < 0:
            break
        kept.append(line)
    return bare | {"failedNodeDetails": kept}


def compact_json(document: Any) -> bytes:
    """Return a document as compact JSON in ASCII, which also encodes a lone surrogate in a registry's message."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _size(document: Any) -> int:
    return len(compact_json(document))
