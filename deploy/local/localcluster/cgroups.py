"""Control groups: they hold the pods of a node, and identify every process of the cluster.

All groups are below ``/ips-flow`` in every hierarchy. Daemons join only the hierarchy ``pids``. It does not change
how they run, and their child processes (shims, helpers) inherit it. So a process that was started just before a
crash, and never recorded, can still be identified as ours.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

from .errors import LocalClusterError

MOUNT = Path("/sys/fs/cgroup")
ROOT = "ips-flow"


def hierarchies() -> list[Path]:
    """Return the mount points of all cgroup hierarchies: several in version 1 and hybrid mode, one in version 2."""
    if (MOUNT / "cgroup.procs").exists():
        return [MOUNT]
    return sorted(
        path for path in MOUNT.iterdir() if (path / "cgroup.procs").exists() and not path.is_symlink()
    )


def tracking(name: str) -> Path:
    """Return the cgroup that a daemon of this name joins."""
    root = MOUNT if (MOUNT / "cgroup.procs").exists() else MOUNT / "pids"
    return root / ROOT / name


def create(name: str) -> None:
    """Create a cgroup in every hierarchy; in cpuset it inherits the parent's processors and memory."""
    for hierarchy in hierarchies():
        parent = hierarchy
        for part in (ROOT, name):
            group = parent / part
            group.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (
                    (group / file).exists()
                    and hierarchy.name == "cpuset"
                    and not (group / file).read_text().strip()
                ):
                    (group / file).write_text((parent / file).read_text())
            parent = group


def members(name: str = "") -> set[int]:
    """Return the ids of all processes at or below our cgroup of that name, over all hierarchies."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        top = hierarchy / ROOT / name if name else hierarchy / ROOT
        for folder, _, _ in os.walk(top):
            try:
                found.update(int(line) for line in (Path(folder) / "cgroup.procs").read_text().split())
            except OSError as error:
                # A pod's group may be deleted meanwhile. ENODEV: between opening the file and reading it.
                if error.errno not in {errno.ENOENT, errno.ENODEV}:
                    raise
    found.discard(0)
    return found


def kill(name: str = "", *, seconds: float = 20) -> int:
    """Kill every process at or below our cgroup of that name; repeat until none is left."""
    deadline = time.monotonic() + seconds
    killed: set[int] = set()
    while pids := members(name):
        for pid in pids - {os.getpid()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.add(pid)
        if time.monotonic() > deadline:
            raise LocalClusterError(
                f"processes {sorted(pids)} of cgroup {ROOT}/{name} are still alive after SIGKILL"
            )
        time.sleep(0.02)
    return len(killed)


def remove(name: str = "", *, seconds: float = 10) -> None:
    """Remove our cgroup of that name with all below it, in every hierarchy."""
    deadline = time.monotonic() + seconds
    for hierarchy in hierarchies():
        top = hierarchy / ROOT / name if name else hierarchy / ROOT
        while top.exists():
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    Path(folder).rmdir()
                except FileNotFoundError:
                    continue
                except OSError as error:  # EBUSY: the kernel has not yet reaped the last process
                    if time.monotonic() > deadline:
                        raise LocalClusterError(f"{folder}: can't remove the cgroup: {error}") from error
            time.sleep(0.01)
