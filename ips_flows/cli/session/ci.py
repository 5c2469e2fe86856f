"""Support for pipelines in `run`, `retry` and `wait`: folded logs, JUnit reports, cancellation on a signal."""

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
    """The lines that a CI system needs before and after a part of a log to fold it."""

    begin: str
    end: str


def log_group(title: str, environment: Mapping[str, str] = os.environ) -> LogGroup | None:
    """Return the lines for the CI system that runs this command; None if it is not GitHub Actions or GitLab CI.

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
    """Write the JUnit report of tasks to `file`; do nothing if it is None."""
    if file is None:
        return
    from ips_flows.core.task.junit import junit_report  # noqa: PLC0415

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(junit_report(suites), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--junit {file}: can't be written: {error.strerror}") from error


class SignalGuard:
    """A signal handler that records SIGTERM and Ctrl-C until the command is ready, and then raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.came = False
        self._ready = False

    def ready(self) -> None:
        """From now on a signal interrupts the command. Interrupt it now if a signal was recorded."""
        self._ready = True
        if self.came:
            raise KeyboardInterrupt

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        self.came = True
        if self._ready:
            raise KeyboardInterrupt


@contextmanager
def signal_guard(*, wanted: bool) -> Iterator[SignalGuard]:
    """Inside the `with`, treat SIGTERM like Ctrl-C, and delay both until `ready` is called; if not `wanted`, do nothing."""
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
