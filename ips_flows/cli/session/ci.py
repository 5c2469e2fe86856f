"""What `run`, `retry` and `wait` do for pipelines: folded logs, a JUnit report, a cancel when the job is ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ips_flows.core.errors import UsageError

if TYPE_CHECKING:
    from ips_flows.core.task.junit import JUnitSuite

_ERASE = "\x1b[0K"


@dataclass(frozen=True, slots=True)
class LogGroup:
    """How a CI system folds lines of a log: the marks before and behind them."""

    begin: str
    end: str


def log_group(title: str, environment: Mapping[str, str] = os.environ) -> LogGroup | None:
    """The marks of the CI system that runs this command; None outside of those that have some.

    See GitHub's "Workflow commands for GitHub Actions", and GitLab's "Custom collapsible sections".
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        return LogGroup(f"::group::{title}", "::endgroup::")
    if environment.get("GITLAB_CI") == "true":
        at, section = int(time.time()), "ips_flow"
        return LogGroup(
            f"{_ERASE}section_start:{at}:{section}\r{_ERASE}{title}",
            f"{_ERASE}section_end:{at}:{section}\r{_ERASE}",
        )
    return None


def write_junit(file: Path | None, suites: Iterable[JUnitSuite]) -> None:
    """Write the report of tasks where one is wanted."""
    if file is None:
        return
    from ips_flows.core.task.junit import junit_report  # noqa: PLC0415

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(junit_report(suites), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--junit {file}: can't be written: {error.strerror}") from error


class SignalGuard:
    """Remembers SIGTERM and Ctrl-C until the command is ready for them; from then on they interrupt it."""

    def __init__(self) -> None:
        self.came = False
        self._ready = False

    def ready(self) -> None:
        """From now on an end interrupts; so does one that came before."""
        self._ready = True
        if self.came:
            raise KeyboardInterrupt

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """A signal's handler."""
        self.came = True
        if self._ready:
            raise KeyboardInterrupt


@contextmanager
def signal_guard(*, wanted: bool) -> Iterator[SignalGuard]:
    """Inside, SIGTERM interrupts like Ctrl-C, but neither does before `ready`; nothing where it is not wanted."""
    found = SignalGuard()
    if not wanted:
        yield found
        return
    before = {one: signal.signal(one, found.handle) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield found
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
