"""The cluster as a whole: up, down, status."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import (
    argo,
    cgroups,
    controlplane,
    credentials,
    images,
    kubenode,
    layout,
    network,
    packages,
    processes,
    product,
    registry,
    simulated,
    upstream,
)
from .commands import run
from .errors import LocalClusterError
from .narration import say, step


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The requested cluster and its checkout. It is saved before any process starts, so that it survives a crash."""

    checkout: str
    nodes: int
    fake_nodes: int
    storage: str
    stock_limits: bool = False

    def save(self) -> None:
        """Write the record."""
        layout.STATE.mkdir(parents=True, exist_ok=True)
        temporary = layout.RECORD.with_suffix(".new")
        temporary.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")
        temporary.replace(layout.RECORD)

    @classmethod
    def load(cls) -> Cluster | None:
        """Return the record of the machine's cluster, or None."""
        try:
            return cls(**json.loads(layout.RECORD.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Hold the machine's lock; wait for another `up` or `down` to end."""
    with layout.LOCK.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another up or down is running on this machine; waiting until it ends")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def up(
    *,
    nodes: int | None,
    fake_nodes: int | None,
    take_over: bool,
    with_product: bool,
    stock_limits: bool | None = None,
) -> None:
    """Start the parts that do not run.

    None keeps the current value; a new cluster has 2 nodes, no simulated nodes, and higher limits.
    """
    began = time.monotonic()
    current = Cluster.load()
    mine = str(layout.CHECKOUT)
    if current is not None and current.checkout != mine and (processes.records() or cgroups.members()):
        if not take_over:
            raise LocalClusterError(
                f"the checkout {current.checkout} runs the local cluster of this machine",
                hint=f"run {current.checkout}/deploy/local/down, or use --take-over to stop it and start a new one",
            )
        down()
        current = None
    if current is None or not layout.STATE.is_mount():
        # Nothing is recorded, or the machine was restarted: remove the remains of an earlier cluster first.
        _sweep(current)
        current = Cluster(mine, 0, 0, str(layout.storage()))
    wanted = Cluster(
        checkout=mine,
        nodes=max(current.nodes, nodes or current.nodes or 2),
        fake_nodes=current.fake_nodes if fake_nodes is None else fake_nodes,
        storage=str(layout.storage()),
        stock_limits=current.stock_limits if stock_limits is None else stock_limits,
    )
    if nodes is not None and nodes < current.nodes:
        say(f"  note: the cluster keeps its {current.nodes} nodes; for fewer, run deploy/local/down first")
    packages.ensure()
    upstream.ensure()
    with step("state, bridge, identities") as here:
        _ensure_state()
        wanted.save()
        changed = network.ensure_bridge()
        changed |= credentials.ensure()
        if not changed:
            here.says("up to date")
    numbers = list(range(1, wanted.nodes + 1))
    registry.ensure()
    if processes.read(simulated.NAME) and controlplane.ready():
        simulated.reduce(wanted.fake_nodes)
    controlplane.ensure(simulated=wanted.fake_nodes > 0, stock_limits=wanted.stock_limits)
    kubenode.start(numbers)
    images.ensure()
    argo.ensure(stock_limits=wanted.stock_limits)
    if wanted.fake_nodes:
        simulated.ensure(wanted.fake_nodes)
    kubenode.await_ready(numbers)
    if with_product:
        product.ensure()
        say(f"server, which requires a token: {product.server_address()}")
    say(f'up after {time.monotonic() - began:.1f} s; use it with: eval "$({short(layout.LOCAL / "env")})"')


def short(path: Path) -> str:
    """Return the path of a command, relative to the working directory if it is below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else f"./{relative}" if "/" not in relative else relative


def _ensure_state() -> None:
    if not layout.STATE.is_mount():
        layout.STATE.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", "size=6g,mode=0755", "ips-flow", layout.STATE])
    # Files that keep a mount namespace alive can only be on a private mount.
    run(["mount", "--make-private", layout.STATE])
    for folder in (layout.PIDS, layout.LOGS, layout.CONFIG, layout.NAMESPACES):
        folder.mkdir(parents=True, exist_ok=True)
    layout.storage().mkdir(parents=True, exist_ok=True)


def down() -> None:
    """Stop every process of the cluster and remove its state from the machine; caches stay."""
    current = Cluster.load()
    traces = processes.records() or cgroups.members() or layout.STATE.is_mount() or network.links()
    if current is None and not traces and not layout.STATE.exists():
        say("nothing runs, nothing to remove")
        return
    _sweep(current)


def _sweep(current: Cluster | None) -> None:
    """Remove all remains of a cluster, in an order in which no part blocks the next one."""
    if layout.STATE.exists() or cgroups.members() or network.links():
        with step("end processes") as here:
            # Kill without SIGTERM: no process has state that outlives the cluster, and the API server alone would
            # take many seconds to drain.
            found = processes.records()
            here.says(f"{cgroups.kill()} ended")
            processes.stop(found)
        with step("remove mounts, namespaces, links, cgroups"):
            _unmount()
            network.remove()
            cgroups.remove()
            for folder in {Path(current.storage) if current else layout.storage(), layout.storage()}:
                shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(layout.STATE, ignore_errors=True)
            _remove_mount_points()


def _unmount() -> None:
    """Unmount all mounts at or below the state directory, deepest first."""
    root = str(layout.STATE)
    while True:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines]
        ours = sorted((point for point in points if point == root or point.startswith(f"{root}/")), key=len)
        if not ours:
            return
        run(["umount", "--lazy", ours[-1]])


def _remove_mount_points() -> None:
    """Remove the empty directories that were mount points of nodes, unless other programs use them."""
    for directory in (*kubenode.OWN_DIRECTORIES, kubenode.OWN_RUNTIME_DIRECTORY):
        # A directory that is not empty belongs to another program.
        with contextlib.suppress(OSError):
            Path(directory).rmdir()


def parts(current: Cluster) -> list[str]:
    """Return the names of the daemons that should run."""
    names = [daemon.name for daemon in registry.daemons()]
    names += ["etcd", "apiserver", "controller-manager", "scheduler", argo.CONTROLLER]
    for number in range(1, current.nodes + 1):
        names += [f"node{number}-containerd", f"node{number}-kubelet"]
    if current.fake_nodes:
        names.append(simulated.NAME)
    return names


def status() -> bool:
    """Print one line per part; return whether all parts run."""
    current = Cluster.load()
    if current is None:
        print("down")
        return False
    print(f"{'checkout':22} {current.checkout}")
    good = True
    for name in parts(current):
        record = processes.read(name)
        alive = record is not None and record.alive()
        good &= alive
        detail = f"running  pid {record.pid}" if record is not None and alive else "ended"
        print(f"{name:22} {detail}")
    api = controlplane.ready()
    print(f"{'API server':22} {'ready' if api else 'not ready'}")
    if not api:
        return False
    try:
        ready = kubenode.ready_nodes()
        simulated_ready = simulated.ready() if current.fake_nodes else 0
    except LocalClusterError as error:
        print(f"{'nodes':22} {error}")
        return False
    for number in range(1, current.nodes + 1):
        state = "Ready" if f"node{number}" in ready else "NotReady"
        good &= state == "Ready"
        print(f"{f'node{number}':22} {state}")
    if current.fake_nodes:
        good &= simulated_ready >= current.fake_nodes
        print(f"{'simulated nodes':22} {simulated_ready} of {current.fake_nodes} Ready")
    if product.INSTALLED.is_file():
        print(f"{'server':22} {product.server_address() or 'not ready'}")
    return good


def running() -> Cluster:
    """Return the running cluster's record; raise if there is none."""
    current = Cluster.load()
    if current is None or not layout.KUBECONFIG.exists():
        raise LocalClusterError("no local cluster runs on this machine", hint="start it with deploy/local/up")
    return current


def mine() -> Cluster:
    """Return the running cluster's record; raise if another checkout runs it."""
    current = running()
    if current.checkout != str(layout.CHECKOUT):
        raise LocalClusterError(
            f"the checkout {current.checkout} runs the local cluster of this machine",
            hint="use the commands of that checkout, or deploy/local/up --take-over",
        )
    return current


def kill_node(number: int) -> int:
    """Kill a node to simulate a power cut: kubelet, containerd and every pod; return the number of processes."""
    return cgroups.kill(f"node{number}")


def client(number: int, argv: list[str]) -> int:
    """Run containerd's client in a node, in the foreground, and return its exit code."""
    with subprocess.Popen(_client(number, argv), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            # ctr prints a warning about cgroups at every call.
            if "DEPRECATION" not in line:
                sys.stderr.write(line)
    return process.returncode


def ask(number: int, argv: list[str]) -> str:
    """Run containerd's client in a node and return what it prints."""
    return run(_client(number, argv))


def _client(number: int, argv: list[str]) -> list[str]:
    if not 1 <= number <= running().nodes:
        raise LocalClusterError(f"no node{number} in the cluster", hint="deploy/local/status lists them")
    chosen = any(word in {"-n", "--namespace"} or word.startswith("--namespace=") for word in argv[:2])
    namespace = [] if chosen else ["--namespace", "k8s.io"]
    return [*kubenode.Node(number).enter(), str(layout.binary("ctr")), *namespace, *argv]
