"""Show followed tasks as plain lines, one line per change, for logs and grep."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ips_flows.cli.output.console import mark, say
from ips_flows.cli.output.tables import counts, cut, shown_status, window_words
from ips_flows.cli.session.ci import LogGroup
from ips_flows.core.counts import several
from ips_flows.core.escape import escape
from ips_flows.core.pods.pull_errors import strip_runtime_frames
from ips_flows.core.results.attempts import PendingRetry
from ips_flows.core.results.progress import WaveProgress
from ips_flows.core.results.records import FailureLine
from ips_flows.core.task.task import Task


def changed_lines(before: Task | None, now: Task) -> list[str]:
    """Return the changes of a task as lines."""
    lines = []
    if before is None or (shown_status(before), before.queue_position) != (
        shown_status(now),
        now.queue_position,
    ):
        position = f", number {now.queue_position} in the queue" if now.queue_position else ""
        if not now.ended:
            lines.append(f"{shown_status(now)}{position}")
    if now.plan and (before is None or before.plan is None):
        lines.append(plan_line(now))
    elif before and before.window != now.window and not now.ended:
        lines.append(window_words(now))
    known = set(before.failures) if before else set()
    lines += [f"image failed: {failure_line(line)}" for line in now.failures if line not in known]
    old = {wave.name: wave for wave in before.waves} if before else {}
    lines += [
        wave_line(wave)
        for wave in now.waves
        if wave != old.get(wave.name, WaveProgress(wave.name, wave.nodes))
    ]
    if now.retrying and (before is None or before.retrying != now.retrying):
        lines.append(retry_line(now.retrying, now.attempts[-1].next_delay))
    return [escape(f"{now.name}: {line}") for line in lines]


def plan_line(task: Task) -> str:
    """Return the plan in one line."""
    plan = task.plan
    if plan is None:
        return ""
    skipped = f", skipped {counts(plan.skipped)}" if any(plan.skipped.values()) else ""
    warm = f", {plan.warm} warm already" if plan.warm else ""
    waves = f" in {len(plan.waves)} waves" if len(plan.waves) > 1 else ""
    return (
        f"planned {several(plan.to_do, 'node')}{waves}, {window_words(task)}, mode {plan.mode}{warm}{skipped}"
    )


def wave_line(wave: WaveProgress) -> str:
    """Return the progress of a wave."""
    parts = [f"{wave.done} of {wave.nodes} nodes done"]
    parts += [f"{wave.pulling} pulling"] if wave.pulling else []
    parts += [f"{wave.failed} failed"] if wave.failed else []
    attempt = f", attempt {wave.attempt + 1}" if wave.attempt else ""
    return f"{wave.name}: {', '.join(parts)}{attempt}"


def retry_line(waiting: PendingRetry, seconds: int | None) -> str:
    """Return the time of the next attempt of a wave."""
    return f"{waiting.wave}: retrying in {seconds} s (attempt {waiting.attempt} of {waiting.attempts})"


def failure_line(line: FailureLine) -> str:
    """Return a failed image on a node. The failure class comes first, for narrow terminals that cut the line."""
    return escape(f"{line.reason} on {line.node}: {line.image}: {cut(strip_runtime_frames(line.message))}")


class Lines:
    """A view that prints changes on stderr. `marks` are the prefixes of the lines of each task."""

    def __init__(self, fold: LogGroup | None = None, marks: Sequence[str] = ("",)) -> None:
        self._before: dict[int, Task] = {}
        self._fold = fold
        self._marks = marks

    def __enter__(self) -> Self:
        if self._fold:
            mark(self._fold.begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fold:
            mark(self._fold.end)

    def update(self, task: Task, at: int = 0) -> None:
        """Print the changes of a task."""
        for line in changed_lines(self._before.get(at), task):
            say(self._marks[at] + line)
        self._before[at] = task

    def tick(self) -> None:
        """Do nothing: no line depends on the time."""

    def note(self, text: str, at: int = 0) -> None:
        """Print a message about the connection to a task's cluster."""
        say(self._marks[at] + text)

    def drop(self, text: str, at: int = 0) -> None:
        """Print why a task is no longer followed; the others still are."""
        self.note(text, at)


class Silence(Lines):
    """A view that prints no changes of tasks, only messages about the connection."""

    def update(self, task: Task, at: int = 0) -> None:
        """Do nothing."""
