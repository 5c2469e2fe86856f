"""The live view of followed tasks in a terminal. Only this module imports rich."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ips_flows.cli.output.lines import failure_line
from ips_flows.cli.output.tables import (
    counts,
    cut,
    human_duration,
    retry_words,
    shown_status,
    window_words,
)
from ips_flows.core import clock
from ips_flows.core.counts import several
from ips_flows.core.escape import escape
from ips_flows.core.results.progress import WaveProgress
from ips_flows.core.results.records import FailureLine
from ips_flows.core.task.task import Task, estimated_end, nodes_per_minute

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_SPINNER = "|/-\\"
# Done, failed, pulling and waiting: different signs, so that colours are not needed.
_SIGNS = ("━", "×", "╍", "─")
_PLAIN_SIGNS = ("#", "x", ">", "-")
_STYLES = {
    "pending": "bold yellow",
    "running": "bold cyan",
    "cancelling": "bold magenta",
    "completed": "bold green",
    "failed": "bold red",
    "cancelled": "bold magenta",
}
_NARROWEST = 40
_FAILURES_SHOWN = 20
_LONGEST_BAR = 60
_AIR = 2  # free lines: one for the shell's prompt, and an empty one
# Lines of the header, the plan (2), the rate, the number of shown waves, and free lines.
_OTHER_LINES = 5 + _AIR


def usable() -> bool:
    """Return whether stderr is a terminal that can move its cursor and is wide enough for a bar."""
    console = Console(stderr=True)
    return console.is_terminal and not console.is_dumb_terminal and console.width >= _NARROWEST


class LiveView:
    """A view that redraws the tasks after a change and at each tick, and prints failures above them.

    `marks` are the prefixes of the lines of each task.
    """

    def __init__(self, console: Console | None = None, marks: Sequence[str] = ("",)) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._marks = marks
        self._tasks: dict[int, Task] = {}
        self._frames = 0
        self._failures: set[tuple[int, FailureLine]] = set()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, task: Task, at: int = 0) -> None:
        """Show a new state of a task."""
        self._tasks[at] = task
        for line in task.failures:
            if (at, line) not in self._failures and len(self._failures) < _FAILURES_SHOWN:
                sign = Text("✗ " if self._unicode else "x ", style="red")
                self._above(sign + Text(self._marks[at] + failure_line(line)))
            self._failures.add((at, line))
        self._draw()

    def tick(self) -> None:
        """Redraw what depends on the time."""
        self._draw()

    def note(self, text: str, at: int = 0) -> None:
        """Print a message about the connection to a task's cluster above the view."""
        self._above(Text(self._marks[at] + escape(text), style="yellow"))

    def drop(self, text: str, at: int = 0) -> None:
        """Print why a task is no longer followed above the view, and redraw the others."""
        self._tasks.pop(at, None)
        self.note(text, at)
        self._draw()

    @property
    def _unicode(self) -> bool:
        return self._console.encoding.startswith("utf")

    def _above(self, text: Text) -> None:
        text.truncate(self._console.width - 1, overflow="ellipsis")
        self._console.print(text, no_wrap=True, overflow="ellipsis", crop=True)

    def _draw(self) -> None:
        if not self._tasks and not self._frames:
            return  # nothing to draw yet
        self._frames += 1
        size = self._console.size
        lines = picture(
            [(self._marks[at], task) for at, task in sorted(self._tasks.items())],
            clock.now(),
            width=size.width - 1,
            height=size.height,
            beat=self._frames,
            unicode=self._unicode,
        )
        self._live.update(Group(*lines), refresh=True)


def picture(
    tasks: Sequence[tuple[str, Task]],
    now: datetime,
    *,
    width: int,
    height: int,
    beat: int = 0,
    unicode: bool = True,
) -> list[Text]:
    """Return the lines of one picture: the frames of all tasks, each with its mark.

    If the frames of several tasks do not fit, show only the header of each. If the headers do not fit, leave out
    some tasks, ended tasks first.
    """
    share = (height - _AIR) // max(1, len(tasks)) + _AIR
    frames = [
        frame(task, now, width=width, height=share, mark=mark, beat=beat, unicode=unicode)
        for mark, task in tasks
    ]
    room = height - _AIR
    if len(frames) == 1 or sum(map(len, frames)) <= room:
        return [line for lines in frames for line in lines]
    if len(frames) <= room:
        return [lines[0] for lines in frames]
    # `sorted` is stable: the order within the ended tasks, and within the others, does not change.
    first = sorted(range(len(tasks)), key=lambda at: tasks[at][1].ended)[: max(1, room - 1)]
    left_out = Text(f"{len(first)} of {len(tasks)} tasks shown", style="dim", no_wrap=True)
    return [*(frames[at][0] for at in sorted(first)), left_out]


def frame(
    task: Task,
    now: datetime,
    *,
    width: int,
    height: int,
    mark: str = "",
    beat: int = 0,
    unicode: bool = True,
) -> list[Text]:
    """Return the lines of one task, none wider than `width`."""
    lines = [_header(task, now, mark, beat, unicode=unicode)]
    lines += [Text(escape(f"  {line}"), style="dim") for line in _plan(task)]
    waves = _shown_waves(task.waves, max(3, height - _OTHER_LINES))
    names = min(20, max((len(wave.name) for wave in waves), default=0))
    digits = len(str(max((wave.nodes for wave in waves), default=0)))
    # Reserve room for the longest numbers, so that the bars keep their width.
    figures = (3 + 2 * digits + 5) + (2 + digits + 8) + (2 + digits + 7)
    bar = max(5, min(_LONGEST_BAR, width - (2 + names + 2) - figures))
    lines += [_wave(wave, names, digits, bar, unicode=unicode) for wave in waves]
    if len(waves) < len(task.waves):
        lines.append(Text(f"  {len(waves)} of {len(task.waves)} waves shown", style="dim"))
    rate = _rate(task, now)
    if rate:
        lines.append(Text(f"  {rate}"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return lines


def _header(task: Task, now: datetime, mark: str, beat: int, *, unicode: bool) -> Text:
    status = shown_status(task)
    spinner = _SPINNER if unicode else _PLAIN_SPINNER
    sign = " " if task.ended else spinner[beat % len(spinner)]
    text = Text(f"{mark}{sign} ", style=_STYLES[status])
    text.append(status, style=_STYLES[status])
    text.append(f"  {escape(task.name)}", style="bold")
    if task.queue_position:
        text.append(f"  number {task.queue_position} in the queue, priority {task.priority}")
    elif not task.ended and task.plan is None and task.status == "running":
        text.append("  checking the nodes")
    if task.retrying:
        text.append(f"  {retry_words(task.retrying, now)}", style="yellow")
    since = task.started_at or task.created_at
    if since:
        end = clock.parse(task.finished_at) if task.finished_at else now
        text.append(f"  {human_duration((end - clock.parse(since)).total_seconds())}", style="dim")
    return text


def _plan(task: Task) -> list[str]:
    plan = task.plan
    if plan is None:
        return []
    nodes, images = several(plan.eligible, "node"), several(len(plan.images), "image")
    left_out = [f"{plan.warm} warm already"] if plan.warm else []
    left_out += [f"skipped {counts(plan.skipped)}"] if any(plan.skipped.values()) else []
    lines = [f"{images} on {nodes}, {window_words(task)}, mode {plan.mode}"]
    return [*lines, ", ".join(left_out)] if left_out else lines


def _shown_waves(waves: Sequence[WaveProgress], room: int) -> Sequence[WaveProgress]:
    """Return as many waves as fit, including the current one."""
    if len(waves) <= room:
        return waves
    current = next((index for index, wave in enumerate(waves) if wave.done < wave.nodes), len(waves) - 1)
    start = max(0, min(current - 1, len(waves) - room))
    return waves[start : start + room]


def _wave(wave: WaveProgress, names: int, digits: int, bar: int, *, unicode: bool) -> Text:
    text = Text(f"  {cut(wave.name, names).ljust(names)}  ")
    text.append_text(_bar(wave, bar, unicode=unicode))
    text.append(f"  {wave.done:>{digits}}/{wave.nodes} done")
    text.append(f"  {wave.pulling} pulling" if wave.pulling else "")
    text.append(f"  {wave.failed} failed" if wave.failed else "", style="red")
    text.append(f"  attempt {wave.attempt + 1}" if wave.attempt else "", style="dim")
    return text


def _bar(wave: WaveProgress, width: int, *, unicode: bool) -> Text:
    done, failed, pulling, waiting = _SIGNS if unicode else _PLAIN_SIGNS
    parts = ((wave.done, "green", done), (wave.failed, "red", failed), (wave.pulling, "yellow", pulling))
    text, used, reached = Text(), 0, 0
    for count, style, sign in parts:
        reached += count
        # A single node stays visible in a narrow bar, and no sign goes past its end.
        cells = round(reached * width / wave.nodes) - used if wave.nodes else 0
        cells = min(max(cells, 1 if count and used < width else 0), width - used)
        text.append(sign * cells, style=style)
        used += cells
    text.append(waiting * (width - used), style="dim")
    return text


def _rate(task: Task, now: datetime) -> str:
    if task.ended or task.plan is None:
        return ""
    speed = nodes_per_minute(task, now)
    eta = estimated_end(task, now)
    parts = [f"{speed:.1f} nodes/min" if speed < 10 else f"{speed:.0f} nodes/min"] if speed else []
    parts += [f"about {human_duration((eta - now).total_seconds())} left"] if eta else []
    parts += [f"{task.progress.failed} failed"] if task.progress.failed else []
    return ", ".join(parts)
