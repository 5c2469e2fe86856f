"""Daemons: each has its own session, is recorded by pid and start time, and is stopped only by that record."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import cgroups, layout
from .errors import LocalClusterError

# The machine has enough memory but few processors. All daemons are Go programs: less frequent garbage collection saves
# a tenth of their CPU time. containerd passes the variable on to its shims and to runc.
_LESS_GARBAGE_COLLECTION = {"GOGC": "400"}


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A daemon to run: name, command line, environment, and the files whose change causes a restart."""

    name: str
    argv: Sequence[str]
    group: str = "host"
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    inputs: Sequence[Path] = ()

    @property
    def log(self) -> Path:
        """The file for stdout and stderr."""
        return layout.LOGS / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """The file with the record of its process."""
        return path(self.name)

    def identity(self) -> str:
        """Return a hash of command line, environment and input files; a new hash causes a restart."""
        digest = hashlib.sha256(json.dumps([list(self.argv), sorted(self.env.items())]).encode())
        for file in self.inputs:
            digest.update(file.read_bytes())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Record:
    """The process of a daemon. The start time distinguishes it from a later process with the same pid."""

    name: str
    pid: int
    started: int
    identity: str
    group: str
    log: str

    def alive(self) -> bool:
        """Return whether this process still runs."""
        return _started(self.pid) == self.started


def _started(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot, or None if it has ended or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _exists(record: Record) -> bool:
    """Return whether this process is still listed, possibly as a zombie."""
    try:
        fields = Path(f"/proc/{record.pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(fields[19]) == record.started


def path(name: str) -> Path:
    """Return the path of a daemon's record."""
    return layout.PIDS / f"{name}.json"


def read(name: str) -> Record | None:
    """Return the record of a daemon, or None if it is missing or was truncated by a crash."""
    try:
        return Record(**json.loads(path(name).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def records() -> list[Record]:
    """Return all records, by name."""
    names = sorted(file.stem for file in layout.PIDS.glob("*.json")) if layout.PIDS.is_dir() else []
    return [record for name in names if (record := read(name)) is not None]


def ensure(daemon: Daemon) -> bool:
    """Start a daemon unless it already runs with this identity; return whether it was started."""
    current = read(daemon.name)
    identity = daemon.identity()
    if current is not None and current.alive():
        if current.identity == identity:
            return False
        stop([current])
    track = f"{daemon.group}/{daemon.name}"
    if current is None:
        # After a crash between start and record, a process may still hold our ports and files.
        cgroups.kill(track)
    cgroups.tracking(track).mkdir(parents=True, exist_ok=True)
    daemon.log.parent.mkdir(parents=True, exist_ok=True)
    daemon.record.parent.mkdir(parents=True, exist_ok=True)
    procs = cgroups.tracking(track) / "cgroup.procs"
    # The shell joins the cgroup before it becomes the daemon, so no child process can leave it.
    wrapper = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(procs), *daemon.argv]
    with daemon.log.open("ab") as stream:
        process = subprocess.Popen(
            wrapper,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **_LESS_GARBAGE_COLLECTION, **daemon.env},
            cwd="/",
            start_new_session=True,
        )
    started = _started(process.pid)
    if started is None:
        raise LocalClusterError(f"{daemon.name} ended immediately after its start", log=daemon.log)
    record = Record(daemon.name, process.pid, started, identity, daemon.group, str(daemon.log))
    temporary = daemon.record.with_suffix(".new")
    temporary.write_text(json.dumps(dataclasses.asdict(record)) + "\n")
    temporary.replace(daemon.record)
    return True


def death(name: str) -> str:
    """Return a message if a daemon has ended; empty while it runs."""
    record = read(name)
    return "" if record is not None and record.alive() else f"{name} has ended"


def kill(record: Record) -> None:
    """Kill a daemon to simulate a fault. Its record stays, so that `up` restarts it."""
    with contextlib.suppress(ProcessLookupError):
        if record.alive():
            os.kill(record.pid, signal.SIGKILL)


def stop(chosen: Iterable[Record], *, seconds: float = 5) -> None:
    """Stop daemons with SIGTERM, kill those still alive after ``seconds``, and delete the records."""
    gone = list(chosen)
    waiting = [record for record in gone if record.alive()]
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
        for record in waiting:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, number)
        deadline = time.monotonic() + patience
        while waiting and time.monotonic() < deadline:
            waiting = [record for record in waiting if record.alive()]
            time.sleep(0.02)
    if waiting:
        names = ", ".join(f"{record.name} ({record.pid})" for record in waiting)
        raise LocalClusterError(f"can't stop {names}: still alive after SIGKILL")
    # A zombie is harmless, but process lists show it until init has reaped it.
    deadline = time.monotonic() + 5
    while any(_exists(record) for record in gone) and time.monotonic() < deadline:
        time.sleep(0.02)
    for record in gone:
        path(record.name).unlink(missing_ok=True)
