"""Faults of the local cluster, each with its repair. Tests choose them; the soak test draws them at random."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ips_flows.kube.client import core, workflows
from ips_flows.operations.install.manifests import SERVER_NAME, object_path
from tests.cluster import processes
from tests.cluster.conftest import Cluster, local

_CLOCK_NANOSLEEP = "230"  # the system call's number on x86-64


def kill(part: str) -> None:
    """Kill a daemon of the local cluster, or a whole node."""
    local("kill", part)


def up() -> None:
    """Start all daemons that do not run, without installing IPS Flow again."""
    local("up", "--no-product")


def outage(seconds: float) -> None:
    """Let a fault last for a time. Its duration is part of the fault, so there is no condition to wait for."""
    threading.Event().wait(seconds)


@contextmanager
def away(part: str) -> Iterator[None]:
    """Keep a daemon or a whole node stopped."""
    kill(part)
    try:
        yield
    finally:
        up()


@contextmanager
def cut_off(node: str) -> Iterator[None]:
    """Cut a node off from the network."""
    link = f"lcv{node.removeprefix('node')}"
    subprocess.run(["ip", "link", "set", link, "down"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "set", link, "up"], check=True)


@contextmanager
def cordoned(cluster: Cluster, node: str) -> Iterator[None]:
    """Keep a node cordoned."""
    path = core("", "nodes", node)
    cluster.kube.patch(path, {"spec": {"unschedulable": True}})
    try:
        yield
    finally:
        cluster.kube.patch(path, {"spec": {"unschedulable": None}})


@contextmanager
def without_node_object(cluster: Cluster, node: str) -> Iterator[None]:
    """Keep a Node object deleted; then restart the node's kubelet, which registers the node again."""
    cluster.kube.delete(core("", "nodes", node))
    try:
        yield
    finally:
        kill(f"{node}-kubelet")
        up()


@contextmanager
def without_space(node: str, spare_mib: int) -> Iterator[None]:
    """Limit the free space of a node's layer store to this many MiB, on a file system that really fills up."""
    content = "/var/lib/containerd/io.containerd.content.v1.content"
    small = f"/run/ips-flow/{node}/small"
    enter = ["nsenter", f"--mount=/run/ips-flow/ns/{node}.mnt", "--"]
    script = (
        f"set -e; mkdir -p {small}; used=$(du -sm {content} | cut -f1); "
        f"mount -t tmpfs -o size=$((used + {spare_mib}))m tmpfs {small}; "
        f"cp -a {content}/. {small}/; mount --bind {small} {content}"
    )
    # containerd knows the layers that arrived in the meantime, so they are copied to the store.
    mend = f"set -e; umount {content}; cp -an {small}/. {content}/; umount {small}; rmdir {small}"
    subprocess.run([*enter, "sh", "-c", script], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*enter, "sh", "-c", mend], check=True, capture_output=True)


@contextmanager
def without_right(cluster: Cluster, step: str, resource: str, verb: str) -> Iterator[None]:
    """Take one verb on one resource from the ServiceAccount of a step."""
    path = object_path("Role", cluster.namespace, f"ips-flow-{step}")
    rules: list[Any] = cluster.kube.get(path)["rules"]
    fewer = copy.deepcopy(rules)
    for rule in fewer:
        if resource in rule["resources"]:
            rule["verbs"].remove(verb)
    cluster.kube.patch(path, {"rules": [rule for rule in fewer if rule["verbs"]]})
    try:
        yield
    finally:
        cluster.kube.patch(path, {"rules": rules})


@contextmanager
def without_room_for_results(cluster: Cluster, name: str) -> Iterator[None]:
    """Forbid new ConfigMaps by a quota."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name},
        "spec": {"hard": {"count/configmaps": "0"}},
    }
    cluster.kube.create(core(cluster.namespace, "resourcequotas"), quota)
    try:
        yield
    finally:
        cluster.kube.delete(core(cluster.namespace, "resourcequotas", name))


def kill_step(step: str, task: str) -> int:
    """Send SIGKILL to the processes that run a step of a task; return their number."""
    found = processes.of_step(step, task)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return len(found)


def step_pods(cluster: Cluster, step: str, task: str) -> list[dict[str, Any]]:
    """Return the metadata of the pods of a step of a task."""
    labels = f"workflows.argoproj.io/workflow={task},ips-flow.io/step={step}"
    return list(cluster.kube.list(core(cluster.namespace, "pods"), labels=labels, metadata_only=True))


def delete_step_pods(cluster: Cluster, step: str, task: str) -> None:
    """Force the deletion of a step's pods, without waiting for their kubelet, as for a node that does not return."""
    for pod in step_pods(cluster, step, task):
        cluster.kube.delete(core(cluster.namespace, "pods", pod["metadata"]["name"]), grace_seconds=0)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Keep a process stopped; continue it at the end if it still exists."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if processes.is_there(pid):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen_between_looks(cluster: Cluster, pid: int) -> Iterator[None]:
    """Keep a driver stopped in the short sleep between two reads of its pods; their watch breaks in the meantime."""

    def caught() -> bool:
        os.kill(pid, signal.SIGSTOP)
        if processes.system_call(pid) == _CLOCK_NANOSLEEP:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    cluster.await_that(caught, 60, lambda: "the driver was never seen asleep")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def keeper_pods(cluster: Cluster) -> list[str]:
    """Return the names of the keeper's pods that are not being deleted."""
    labels = f"app.kubernetes.io/name={SERVER_NAME}"
    found = cluster.kube.list(core(cluster.namespace, "pods"), labels=labels, metadata_only=True)
    return [pod["metadata"]["name"] for pod in found if not pod["metadata"].get("deletionTimestamp")]


def shut_down(cluster: Cluster, task: str, how: str) -> None:
    """Shut a Workflow down as `argo stop` (`Stop`) or `argo terminate` (`Terminate`) does."""
    cluster.kube.patch(workflows(cluster.namespace, task), {"spec": {"shutdown": how}})


def node_of_driver(cluster: Cluster, task: str) -> str:
    """Return the node on which the driver of a task runs."""
    (pod,) = step_pods(cluster, "drive", task)[-1:]
    found = cluster.kube.get(core(cluster.namespace, "pods", pod["metadata"]["name"]))
    return str(found["spec"]["nodeName"])
