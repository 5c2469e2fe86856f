"""Simulated nodes: kwok keeps them Ready, and their pods follow the stages of ``simulated/pods.yaml``."""

from __future__ import annotations

import json
from pathlib import Path

from . import controlplane, credentials, layout, processes, upstream
from .commands import await_condition, kubectl, write_if_changed
from .narration import step

NAME = "kwok"
LABEL = "type=kwok"
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
_PORT = 10247
_BATCH = 500


def name(number: int) -> str:
    """Return the name of simulated node number N."""
    return f"fake{number:05}"


def node(number: int) -> dict[str, object]:
    """Return a simulated node.

    Its versions do not support image volumes, so pull pods run one container per image. kwok can set the evidence of
    containers (imageID).
    """
    resources = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "200Gi", "pods": "110"}
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name(number),
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": f"zone-{'abc'[number % 3]}",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name(number),
            "labels": labels,
            # Without this annotation the node controller would taint every node during a slow start.
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": [TAINT]},
        "status": {
            "allocatable": resources,
            "capacity": resources,
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "kubeletVersion": "v1.34.0",
                "containerRuntimeVersion": "containerd://1.7.27",
                "kernelVersion": "6.1.0",
                "osImage": "simulated by kwok",
                "kubeProxyVersion": "",
                "machineID": "",
                "bootID": "",
                "systemUUID": "",
            },
        },
    }


def _stages() -> list[Path]:
    upstream_stages = upstream.module_directory("kwok", "sigs.k8s.io/kwok") / "kustomize" / "stage" / "node"
    return [
        upstream_stages / "fast" / "node-initialize.yaml",
        upstream_stages / "heartbeat-with-lease" / "node-heartbeat-with-lease.yaml",
        layout.LOCAL / "simulated" / "pods.yaml",
    ]


def daemon() -> processes.Daemon:
    """Return the daemon of kwok."""
    stages = layout.CONFIG / "kwok-stages.yaml"
    write_if_changed(stages, "\n---\n".join(path.read_text() for path in _stages()))
    argv = [
        str(layout.binary("kwok")),
        f"--kubeconfig={credentials.kubeconfig('kwok')}",
        f"--config={stages}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-label-selector={LABEL}",
        "--node-lease-duration-seconds=1200",
        f"--server-address=127.0.0.1:{_PORT}",
        "--v=WARN",
    ]
    # kwok also reads ~/.kwok. With another HOME it depends only on its flags.
    return processes.Daemon(
        NAME, argv, env={"HOME": str(layout.STATE)}, inputs=[stages, layout.recipe("kwok")]
    )


def ready() -> int:
    """Return the number of simulated nodes that are Ready."""
    path = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    return kubectl("get", "nodes", "-l", LABEL, "-o", f"jsonpath={path}").split().count("True")


def reduce(count: int) -> None:
    """Delete simulated nodes above ``count``; stop kwok if ``count`` is 0."""
    surplus = sorted(kubectl("get", "nodes", "-l", LABEL, "-o", "name").split())[count:]
    if surplus:
        with step(f"delete {len(surplus)} simulated node{'s' if len(surplus) != 1 else ''}"):
            for first in range(0, len(surplus), _BATCH):
                # To wait for them, kubectl would send a request for each node repeatedly.
                kubectl("delete", "--wait=false", *surplus[first : first + _BATCH])
    kwok = processes.read(NAME)
    if kwok and not count:
        processes.stop([kwok])


def ensure(count: int) -> None:
    """Start kwok and create simulated nodes up to ``count``; wait until all are Ready."""
    with step(f"{count} simulated nodes") as current:
        kwok = daemon()
        started = processes.ensure(kwok)
        await_condition(
            "kwok is healthy",
            lambda: controlplane.responds(f"http://127.0.0.1:{_PORT}/healthz"),
            seconds=60,
            log=kwok.log,
            abandon=lambda: processes.death(NAME),
        )
        there = set(kubectl("get", "nodes", "-l", LABEL, "-o", "name").split())
        missing = [number for number in range(1, count + 1) if f"node/{name(number)}" not in there]
        for first in range(0, len(missing), _BATCH):
            items = [node(number) for number in missing[first : first + _BATCH]]
            kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(_list(items)))
        await_condition(
            f"{count} simulated nodes are Ready",
            lambda: ready() >= count,
            seconds=60 + count / 20,
            log=kwok.log,
            abandon=lambda: processes.death(NAME),
        )
        if not (started or missing):
            current.says("up to date")


def _list(items: list[dict[str, object]]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "List", "items": items}
