"""What `run` and `wait` share: following a task to its end, in a live view or in lines, and the exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import Protocol

from ips_flows.cli.lines import Lines
from ips_flows.cli.narration import is_terminal, say
from ips_flows.cli.options import Target
from ips_flows.cli.pipelines import fold
from ips_flows.follow import VERDICT_GRACE, follow
from ips_flows.kube import Kube
from ips_flows.task import Task

TIMED_OUT = 124
INTERRUPTED = 130
_EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 3}
_TICK_SECONDS = 0.5


class Display(AbstractContextManager["Display"], Protocol):
    """Shows a task while it changes."""

    def update(self, task: Task) -> None:
        """Take in a new state of the task."""

    def tick(self) -> None:
        """Take in that time has passed."""

    def note(self, text: str) -> None:
        """Show a word about the connection."""


class Left(Exception):  # noqa: N818  (no error: the task goes on without us)
    """The command ends before the task does."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def to_the_end(
    kube: Kube,
    namespace: str,
    name: str,
    *,
    timeout: float | None,
    view: Display | None = None,
    grace: float = VERDICT_GRACE,
    ready: Callable[[], None] | None = None,
) -> Task:
    """Show a task until it has ended, in `view` or the usual one; its verdict is awaited `grace` seconds more.

    Raises Left after `timeout` seconds, or when someone presses Ctrl-C; the task goes on. `ready` is called where
    an interrupt is waited for from then on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    last: Task | None = None
    with view or display(f"task {name}") as shown:
        states = follow(kube, namespace, name, narrate=shown.note, grace=grace, tick=_TICK_SECONDS)
        with closing(states):
            try:
                if ready:
                    ready()
                for seen in states:
                    if seen is None:
                        shown.tick()
                    else:
                        last = seen
                        shown.update(seen)
                    if deadline is not None and time.monotonic() >= deadline and not (last and last.ended):
                        raise Left(TIMED_OUT)
            except KeyboardInterrupt:
                raise Left(INTERRUPTED) from None
    assert last is not None  # noqa: S101  (a task that is not there is an error)
    return last


def goes_on(left: Left, target: Target, namespace: str, name: str, timeout: float | None) -> None:
    """Say that the task goes on, and what can be done with it."""
    why = "interrupted" if left.code == INTERRUPTED else f"not at its end after {timeout:g} s"
    flags = target.flags(namespace)
    say(f"{why}: task {name} goes on")
    say(f"  follow it:  ips-flow wait {name} {flags}")
    say(f"  cancel it:  ips-flow cancel {name} {flags}")


def exit_code(task: Task) -> int:
    """The exit code for the end of a task."""
    return _EXIT_CODES[task.status]


def display(title: str) -> Display:
    """A live view where someone watches a terminal, else lines; in a CI system's log, folded under a title."""
    if is_terminal(sys.stderr) and is_terminal(sys.stdout):
        from ips_flows.cli.live import LiveView, usable  # noqa: PLC0415  (rich)

        if usable():
            return LiveView()
    return Lines(fold(title))
