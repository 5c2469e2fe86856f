"""Format values and tables as kubectl does: pure functions from values to text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from ips_flows.core import clock
from ips_flows.core.counts import several
from ips_flows.core.escape import escape
from ips_flows.core.pods.pull_errors import strip_runtime_frames
from ips_flows.core.results.attempts import PendingRetry
from ips_flows.core.results.records import Summary
from ips_flows.core.results.verdict import status_line
from ips_flows.core.task.queue import Queue, waiting_seconds, waits_for
from ips_flows.core.task.task import Task

NOTHING = "–"
_GAP = "   "
_MESSAGE_WIDTH = 300
# The columns that are cut for a narrow terminal, with their minimum widths: messages and images before node names.
_CUT = ({"IMAGE": 24, "MESSAGE": 24}, {"NODE": 28, "IMAGE": 16, "MESSAGE": 12})


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table: columns three spaces apart, no borders, no trailing spaces."""
    lines = [header, *rows]
    return aligned(lines, widths(lines))


def widths(lines: Sequence[Sequence[str]], least: Sequence[int] = ()) -> list[int]:
    """Return the width of each column, at least that in `least`."""
    needed = [max(len(escape(cell)) for cell in column) for column in zip(*lines, strict=True)]
    return [max(pair) for pair in zip(needed, least, strict=True)] if least else needed


def aligned(lines: Sequence[Sequence[str]], columns: Sequence[int]) -> str:
    """Return lines of cells as text with aligned columns."""
    return "\n".join(
        _GAP.join(escape(cell).ljust(width) for cell, width in zip(line, columns, strict=True)).rstrip()
        for line in lines
    )


def fitted(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    least: Sequence[Mapping[str, int]] = (),
) -> str:
    """Return a table that is no wider than `width`, if possible.

    Each item of `least` is one round of cutting: the columns that may be cut, with their minimum widths. The widest
    column is cut first. The last column is cut at its end, the others in the middle, since names differ at both ends.
    """
    lines = [[escape(cell) for cell in line] for line in (header, *rows)]
    columns = widths(lines)
    room = (width or sum(columns) + len(_GAP) * len(columns)) - len(_GAP) * (len(columns) - 1)
    for floors in least:
        while sum(columns) > room:
            wide = [i for i, name in enumerate(header) if columns[i] > floors.get(name, columns[i])]
            if not wide:
                break
            columns[max(wide, key=lambda i: (columns[i], i))] -= 1
    last = len(columns) - 1
    return aligned(
        [
            [
                cut(cell, columns[i]) if i == last else _middle_cut(cell, columns[i])
                for i, cell in enumerate(line)
            ]
            for line in lines
        ],
        columns,
    )


def human_duration(seconds: float) -> str:
    """Format a duration as kubectl formats ages: `90s`, `5m30s`, `75m`, `5h30m`, `26h`, `3d`."""
    whole = int(seconds)
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    return f"{days}d"


def human_seconds(seconds: float | None) -> str:
    """Format a measured time: `0.4 s`, `12 s`, `5m30s`."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 119.5 else human_duration(seconds)


def human_bytes(count: float | None) -> str:
    """Format a size in decimal units: `950 kB`, `214 MB`, `1.2 GB`."""
    if count is None:
        return NOTHING
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} TB"


def counts(by_name: Mapping[str, int]) -> str:
    """Format counts by name: `Cordoned ×2, NotReady ×1`."""
    return ", ".join(f"{escape(name)} ×{count}" for name, count in sorted(by_name.items()) if count)


def shown_status(task: Task) -> str:
    """Return the status of a task, or `cancelling` from the request to stop until the end."""
    return "cancelling" if task.cancelling else task.status


def age(task: Task, now: datetime) -> str:
    """Return the time since the task was created."""
    if not task.created_at:
        return NOTHING
    return human_duration((now - clock.parse(task.created_at)).total_seconds())


def took(task: Task, now: datetime) -> str:
    """Return how long the task ran, or has been running."""
    if not task.started_at or task.status == "pending":
        return NOTHING
    end = clock.parse(task.finished_at) if task.finished_at else now
    return human_duration((end - clock.parse(task.started_at)).total_seconds())


def task_table(tasks: Sequence[Task], now: datetime, *, wide: bool = False, namespaces: bool = False) -> str:
    """Return a table with one task per row."""
    return table(*task_rows(tasks, now, wide=wide, namespaces=namespaces))


def task_rows(
    tasks: Sequence[Task], now: datetime, *, wide: bool = False, namespaces: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table of tasks."""
    header = ["NAME", "STATUS", "PRIORITY", "NODES", "FAILED", "IMAGES", "AGE", "DURATION"]
    if wide:
        header += ["QUEUE", "WINDOW", "SKIPPED", "PULLED", "PRESENT", "SIZE", "MESSAGE"]
    rows = [
        ([task.namespace] if namespaces else []) + _row(task, now) + (_wide(task) if wide else [])
        for task in tasks
    ]
    return (["NAMESPACE"] if namespaces else []) + header, rows


def queue_table(queue: Queue, now: datetime) -> str:
    """Return a table of waiting tasks, in the order in which they start."""
    rows = [
        [
            str(entry.position),
            entry.task,
            str(entry.priority),
            human_duration(waiting_seconds(entry, now)),
            waits_for(queue, entry),
        ]
        for entry in queue.entries
    ]
    return table(["POSITION", "NAME", "PRIORITY", "WAITING", "WAITS FOR"], rows)


def result_table(
    task: Task, *, wide: bool = False, limit: int | None = None, width: int | None = None
) -> tuple[str, int]:
    """Return a table of the results per node and image, failures first, and the number of rows above `limit`."""
    rows = [
        [
            node,
            name,
            image.result.value,
            image.reason or NOTHING,
            human_seconds(image.seconds),
            human_bytes(image.bytes),
            *([image.digest or NOTHING, cut(image.message) or NOTHING] if wide else []),
        ]
        for node, result in sorted((task.results or {}).items(), key=lambda one: (one[1].ok, one[0]))
        for name, image in zip(task.images, result.images, strict=False)
    ]
    header = ["NODE", "IMAGE", "RESULT", "REASON", "TIME", "SIZE", *(["DIGEST", "MESSAGE"] if wide else [])]
    kept = rows if limit is None else rows[:limit]
    return fitted(header, kept, width, _CUT) if kept else "", len(rows) - len(kept)


def failure_table(task: Task, *, limit: int | None = None, width: int | None = None) -> tuple[str, int]:
    """Return a table of the failures and their reasons, and the number of rows above `limit`."""
    rows = [
        [line.node, line.image, line.reason, cut(strip_runtime_frames(line.message))]
        for line in task.failures
    ]
    kept = rows if limit is None else rows[:limit]
    text = fitted(["NODE", "IMAGE", "REASON", "MESSAGE"], kept, width, _CUT) if kept else ""
    return text, len(rows) - len(kept)


def summary_line(task: Task) -> str:
    """Return the end of a task in one line."""
    line = status_line(shown_status(task), task.message)
    summary = task.verdict.summary if task.verdict else None
    return f"{line} – {_figures(summary)}" if summary else line


def retry_words(waiting: PendingRetry, now: datetime) -> str:
    """Return the next attempt: `retrying in 12 s (attempt 2 of 3)`."""
    seconds = math.ceil((waiting.at - now).total_seconds())
    span = f"{seconds} s" if seconds < 120 else human_duration(seconds)
    when = f"in {span}" if seconds > 0 else "now"
    return f"retrying {when} (attempt {waiting.attempt} of {waiting.attempts})"


def window_words(task: Task) -> str:
    """Return the window: `at most 10 at the same time`, or `paused`."""
    window = task.window if task.window is not None or task.plan is None else task.plan.window
    return f"at most {window} at the same time" if window else "paused"


def attempt_table(task: Task) -> str:
    """Return a table of the attempts of waves that were retried; empty if no wave was retried."""
    rows = [
        [
            one.wave,
            str(one.attempt + 1),
            one.ended_at or NOTHING,
            str(one.nodes),
            str(one.failed),
            counts(one.failures) or NOTHING,
            NOTHING if one.next_delay is None else f"{one.next_delay} s",
        ]
        for one in task.attempts
    ]
    header = ["WAVE", "ATTEMPT", "ENDED", "NODES", "FAILED", "FAILURES", "NEXT IN"]
    return table(header, rows) if rows else ""


def notice_line(task: Task) -> str:
    """Return the state of the webhook notification; empty if the task has none."""
    if task.verdict is None or not task.verdict.notify:
        return ""
    told = task.notice
    if told is None:
        return "webhook notification: not sent yet"
    why = f": {told.reason}" if told.reason else ""
    return escape(f"webhook notification: {told.summary}, last at {told.last}{why}")


def skipped_line(task: Task) -> str:
    """Return the number of skipped nodes and the reasons; empty if no node was skipped."""
    total = sum(task.skipped.values())
    if not total:
        return ""
    return f"skipped {several(total, 'node')}: {counts(task.skipped)}"


def drift_lines(task: Task) -> list[str]:
    """Return the references for which the nodes have different images, one line each."""
    drift = task.verdict.drift if task.verdict else {}
    return [
        f"drift: {escape(name)} has {len(digests)} different digests: {', '.join(digests)}"
        for name, digests in drift.items()
    ]


def cut(text: str, width: int = _MESSAGE_WIDTH) -> str:
    """Return a text in one line of at most `width` characters."""
    line = escape(" ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"


def _middle_cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _figures(summary: Summary) -> str:
    parts = [
        f"{summary.images.get(name, 0)} {name}" for name in ("pulled", "present") if summary.images.get(name)
    ]
    parts += [f"{summary.images['failed']} failed"] if summary.images.get("failed") else []
    size = f"{human_bytes(summary.bytes)} " if summary.bytes else ""
    return ", ".join([*parts, f"{size}in {human_seconds(summary.seconds)}"])


def _row(task: Task, now: datetime) -> list[str]:
    progress = task.progress
    known = task.plan is not None or task.verdict is not None
    return [
        task.name,
        shown_status(task),
        str(task.priority),
        f"{progress.completed}/{progress.total}" if known and progress.total else NOTHING,
        str(progress.failed) if known and progress.total else NOTHING,
        str(task.image_count or NOTHING),
        age(task, now),
        took(task, now),
    ]


def _wide(task: Task) -> list[str]:
    summary = task.verdict.summary if task.verdict else None
    return [
        str(task.queue_position or NOTHING),
        str(task.plan.window) if task.plan else NOTHING,
        counts(task.skipped).replace(", ", ",").replace(" ×", "×") or NOTHING,
        str(summary.images.get("pulled", 0)) if summary else NOTHING,
        str(summary.images.get("present", 0)) if summary else NOTHING,
        human_bytes(summary.bytes or None) if summary else NOTHING,
        cut(task.message) or NOTHING,
    ]
