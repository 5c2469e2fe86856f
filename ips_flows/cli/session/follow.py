"""Follow tasks until they end, in a live view or in lines, and return the exit code; shared by `run` and `wait`."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from ips_flows.cli.output.console import is_terminal, say
from ips_flows.cli.output.lines import Lines
from ips_flows.cli.session.ci import log_group
from ips_flows.cli.session.targets import ConnectedTarget
from ips_flows.core.errors import IpsFlowError
from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube
from ips_flows.operations.follow import VERDICT_GRACE, follow

TIMED_OUT = 124
INTERRUPTED = 130
_EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 3}
_TICK_SECONDS = 0.5


class Display(AbstractContextManager["Display"], Protocol):
    """A view of tasks while they change. `at` is the index of a task in the order in which tasks are followed."""

    def update(self, task: Task, at: int = 0) -> None:
        """Show a new state of a task."""

    def tick(self) -> None:
        """Update what depends on the time."""

    def note(self, text: str, at: int = 0) -> None:
        """Show a message about the connection to a task's cluster."""

    def drop(self, text: str, at: int = 0) -> None:
        """Show why a task is no longer followed; the others still are."""


class StoppedFollowing(Exception):  # noqa: N818  (no error: the task continues)
    """The command stopped following before the task ended. `code` is the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


Narrate = Callable[[str], None]


def _as_it_is(_: Narrate) -> None:
    """Do nothing before a task is followed."""


class Followed(NamedTuple):
    """A task to follow. `first` runs before, in the thread of the task, and gets a function that shows a message."""

    kube: Kube
    namespace: str
    name: str
    first: Callable[[Narrate], None] = _as_it_is


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of followed tasks, in order: the task, the error that stopped following, or None if it continues.

    `code` is TIMED_OUT or INTERRUPTED if the command stopped following before all tasks had ended, else 0.
    """

    ends: tuple[Task | IpsFlowError | None, ...]
    code: int = 0


def follow_all(
    tasks: Sequence[Followed],
    view: Display,
    *,
    timeout: float | None,
    grace: float = VERDICT_GRACE,
    ready: Callable[[], None] | None = None,
) -> Ends:
    """Show tasks until all have ended; wait up to `grace` more seconds for the verdict of each.

    Stop after `timeout` seconds or on Ctrl-C; the tasks continue. `ready` is called as soon as an interrupt is
    handled.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    ends: dict[int, Task | IpsFlowError] = {}
    code = 0
    with view as shown, Followers(tasks, grace) as followers:
        try:
            if ready:
                ready()
            while len(ends) < len(tasks):
                word = followers.next(_TICK_SECONDS)
                if word is None:
                    shown.tick()
                elif end := _show_update(shown, *word):
                    ends[word[0]] = end
                    if isinstance(end, IpsFlowError) and len(ends) < len(tasks):
                        # The caller reports the error too, but perhaps much later.
                        name = tasks[word[0]].name
                        shown.drop(f"task {name} is no longer followed: {end.message}", word[0])
                if deadline is not None and time.monotonic() >= deadline and len(ends) < len(tasks):
                    code = TIMED_OUT
                    break
        except KeyboardInterrupt:
            code = INTERRUPTED if len(ends) < len(tasks) else 0
    return Ends(tuple(ends.get(at) for at in range(len(tasks))), code)


def _show_update(view: Display, at: int, word: Task | str | IpsFlowError) -> Task | IpsFlowError | None:
    """Show an update of a task. Return its end if the update is the last, else None."""
    if isinstance(word, str):
        view.note(word, at)
        return None
    if isinstance(word, IpsFlowError):
        return word
    view.update(word, at)
    return word if word.ended else None


class Followers:
    """Follow several tasks at the same time, each in a thread; use it in a `with`.

    The threads are daemons. They end at their next tick; a thread that is blocked in a request ends with the process.
    """

    def __init__(self, tasks: Sequence[Followed], grace: float) -> None:
        self._tasks = tasks
        self._grace = grace
        self._stop = threading.Event()
        self._words: queue.SimpleQueue[tuple[int, Task | str | Exception]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        for at, task in enumerate(self._tasks):
            threading.Thread(target=self._run, args=(at, task), name=f"follow-{at}", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def next(self, seconds: float) -> tuple[int, Task | str | IpsFlowError] | None:
        """Return the next update: the index of the task, and its new state, a message or an error; None on timeout."""
        try:
            at, word = self._words.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(word, Exception) and not isinstance(word, IpsFlowError):
            raise word
        return at, word

    def _run(self, at: int, task: Followed) -> None:
        def narrate(text: str) -> None:
            self._words.put((at, text))

        try:
            task.first(narrate)
            states = follow(
                task.kube,
                task.namespace,
                task.name,
                narrate=narrate,
                grace=self._grace,
                tick=_TICK_SECONDS,
            )
            with closing(states):
                for seen in states:
                    if self._stop.is_set():
                        return
                    if seen is not None:
                        self._words.put((at, seen))
        except Exception as error:  # noqa: BLE001  (raised again in `next`: no error of a thread is hidden)
            self._words.put((at, error))


def follow_one(
    kube: Kube,
    namespace: str,
    name: str,
    *,
    timeout: float | None,
    view: Display | None = None,
    grace: float = VERDICT_GRACE,
) -> Task:
    """Show one task until it has ended, in `view` or the default view. Return the ended task.

    Raises StoppedFollowing if the task continues, and IpsFlowError if it can't be followed.
    """
    got = follow_all(
        [Followed(kube, namespace, name)], view or display(f"task {name}"), timeout=timeout, grace=grace
    )
    (end,) = got.ends
    if isinstance(end, IpsFlowError):
        raise end
    if end is None:
        raise StoppedFollowing(got.code)
    return end


def goes_on(code: int, target: ConnectedTarget, names: Sequence[str], timeout: float | None) -> None:
    """Print that tasks of one target continue, and the commands to follow or cancel them."""
    why = "interrupted" if code == INTERRUPTED else f"not ended after {timeout:g} s"
    first, *others = names
    say(f"{target.mark}{why}: task {first} continues")
    say(f"  follow it:  ips-flow wait {first} {target.flags}")
    say(f"  cancel it:  ips-flow cancel {first} {target.flags}")
    if others:
        say(f"  follow the others:  ips-flow wait {' '.join(others)} {target.flags}")


def exit_code(task: Task) -> int:
    """Return the exit code for an ended task."""
    return _EXIT_CODES[task.status]


def display(title: str, marks: Sequence[str] = ("",)) -> Display:
    """Return a live view if stdout and stderr are terminals, else a view of lines, which a CI system folds under `title`.

    `marks` are the prefixes of the lines of each task.
    """
    if is_terminal(sys.stderr) and is_terminal(sys.stdout):
        from ips_flows.cli.output.live import LiveView, usable  # noqa: PLC0415  (rich)

        if usable():
            return LiveView(marks=marks)
    return Lines(log_group(title), marks)
