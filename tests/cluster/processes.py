"""Processes of the local cluster on this machine, for fault tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

PIDS = Path("/run/ips-flow/pids")


def drivers(task: str) -> list[int]:
    """Return the process ids of a task's drivers."""
    return of_step("drive", task)


def of_step(step: str, task: str) -> list[int]:
    """Return the ids of the processes that run a step of a task."""
    module = ["-m", f"steps.{step}"]
    return [pid for pid, words in _command_lines() if words[1:3] == module and task in words[3:4]]


def daemon(name: str) -> int:
    """Return the process id of a daemon, as `deploy/local` recorded it."""
    pid: int = json.loads((PIDS / f"{name}.json").read_text(encoding="utf-8"))["pid"]
    return pid


def is_there(pid: int) -> bool:
    """Return whether a process has not ended."""
    return Path(f"/proc/{pid}").exists()


def system_call(pid: int) -> str:
    """Return the number of the system call in which a stopped process's first thread is, or `running`."""
    path = Path(f"/proc/{pid}/stat")
    while path.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "T":
        pass  # the signal has not been delivered yet
    return Path(f"/proc/{pid}/syscall").read_text(encoding="utf-8").split()[0]


def _command_lines() -> list[tuple[int, list[str]]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):  # it ended in the meantime
                continue
            found.append((int(entry.name), words))
    return found
