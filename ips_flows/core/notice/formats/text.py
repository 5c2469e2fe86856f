"""Short texts of an event for chat messages."""

from __future__ import annotations

from ips_flows.core.escape import escape
from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice.event import Event

_FAILURES_SHOWN = 10
LINE_LIMIT = 200  # characters of a failure, or of a receiver's response
TEXT_LIMIT = 2000  # characters of the task's message
_SIGNS = {"task.completed": "✅", "task.failed": "❌", "task.cancelled": "⏹"}


def title(event: Event) -> str:
    """Return `✅ nightly: completed`. A name has at most 63 characters, so the title fits into a Slack header."""
    status = event.name.removeprefix("task.")
    return f"{_SIGNS.get(event.name, '')} {short(str(event.task.get('taskId', '')), 100)}: {status}".strip()


def facts(task: Json) -> str:
    """Return `2 of 3 nodes have every image · namespace warm`."""
    progress = task.get("progress") or {}
    nodes = f"{progress.get('completedNodes', 0)} of {progress.get('totalNodes', 0)} nodes have every image"
    return f"{nodes} · namespace {short(str(task.get('namespace', '')), 100)}"


def failures(task: Json) -> list[str]:
    """Return the first failures, one per line, and the number of further failures."""
    details = list(task.get("failedNodeDetails") or ())
    lines = [
        short(f"{one['nodeName']}: {one['image']}: {one['reason']}", LINE_LIMIT)
        for one in details[:_FAILURES_SHOWN]
    ]
    more = len(details) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def short(text: str, width: int = TEXT_LIMIT) -> str:
    """Return a text as one line of at most `width` characters, with invisible characters escaped."""
    line = escape(" ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"
