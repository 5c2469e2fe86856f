"""Builders of the webhook events of an ended task."""

from __future__ import annotations

from typing import Any

from ips_flows.core.notice.event import Event


def task(failures: int = 1, message: str = "manifest unknown", nodes: int = 1) -> dict[str, Any]:
    """Return the fields of a task that messages use, with the given numbers of failures and nodes."""
    return {
        "taskId": "nightly",
        "namespace": "warm",
        "status": "failed",
        "progress": {"totalNodes": 3, "completedNodes": 2},
        "failedNodeDetails": [
            {"nodeName": f"n{i}", "image": "busybox:1", "reason": "NotFound", "message": message}
            for i in range(failures)
        ],
        "drift": {},
        "nodeStatuses": {
            f"n{i}": {"busybox:1": {"result": "failed", "reason": message}} for i in range(nodes)
        },
    }


def event(**changes: Any) -> Event:
    """Return the event of a failed task, with the fields that a test gives."""
    fields = {
        "id": "u-2026-01-31T12:00:00Z-failed",
        "name": "task.failed",
        "timestamp": "2026-01-31T12:01:00Z",
        "message": "1 of 3 nodes lack images",
        "task": task(),
    }
    return Event(**(fields | changes))
