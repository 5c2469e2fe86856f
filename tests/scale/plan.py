"""Benchmark of `ips-flow plan`: `python -m tests.scale.plan [--nodes 5000] [--images 10]`.

It needs no cluster: the fake API server and a registry in memory run in this process, so that only the command is
measured. Each node lists 50 images, the kubelet's default.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fakes import token_registry as fake
from tests.fakes.apiserver import ApiServer, running
from tests.fakes.token_registry import Hub, Ware
from tests.scale.measuring import measured

_LISTED = 50
_GOAL_SECONDS, _GOAL_MEBIBYTES = 10.0, 250.0
_ARCHITECTURES = ("amd64", "arm64")


def main() -> None:
    """Measure and print a line per value; exit with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--images", type=int, default=10)
    wanted = parser.parse_args()
    with running() as server, fake.hub("token") as hub, tempfile.TemporaryDirectory() as folder:
        images = [hub.put(f"team/app{number}", "1", made(number)) for number in range(wanted.images)]
        worker = hub.put("ips/worker", "1", made(99))
        settings = {"worker-image": worker, "max-concurrent-tasks": "3"}
        server.put("configmaps", {"metadata": {"name": "ips-config"}, "data": settings})
        fill(server, hub, images, wanted.nodes)
        flags = [flag for image in images for flag in ("--image", image)]
        took = measured(
            "plan", *flags, "--batch-size", "1000", "-o", "json", kubeconfig=server.kubeconfig(Path(folder))
        )
    figures = f"{took.seconds:.2f} s ({took.processor:.2f} s of CPU), {took.mebibytes:.0f} MiB"
    print(f"ips-flow plan, {wanted.nodes} nodes × {wanted.images} images: {figures}")
    print(f"requests: {len(server.calls)} to the API server, {len(hub.asked)} to the registry")
    document = took.document
    nodes = document["nodes"].values()
    print(
        f"nodes: {document['warmNodes']} warm, {document['toDoNodes']} to do, {len(document['problems'])} problems"
    )
    lost = took.seconds > _GOAL_SECONDS or took.mebibytes > _GOAL_MEBIBYTES or len(nodes) != wanted.nodes
    sys.exit(1 if lost else 0)


def made(number: int) -> Ware:
    """Return an image of eight layers for two platforms; all images share five of the layers."""
    layers = [fake.layer(2000 + one, f"shared{one}") for one in range(5)]
    layers += [fake.layer(3000 + one, f"{number}-{one}") for one in range(3)]
    return fake.index(
        *((f"linux/{one}", fake.image(*layers, platform=f"linux/{one}")) for one in _ARCHITECTURES)
    )


def fill(server: ApiServer, hub: Hub, images: list[str], count: int) -> None:
    """Create nodes that each have some of the images, so that they lack different images."""
    others = [
        {
            "names": [
                f"registry.example/other/service-{one}@sha256:{one:064x}",
                f"registry.example/other/service-{one}:1",
            ]
        }
        for one in range(_LISTED)
    ]
    for number in range(count):
        there = [image for bit, image in enumerate(images) if number >> bit & 1]
        listed = [entry(hub, image) for image in there]
        raw: dict[str, Any] = {
            "metadata": {
                "name": f"node-{number:05}",
                "labels": {
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": _ARCHITECTURES[number % 2],
                    **{f"example.com/label-{one}": f"value-{one}" for one in range(20)},
                },
                "annotations": {f"example.com/annotation-{one}": "x" * 100 for one in range(5)},
            },
            "spec": {},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "True"},
                    {"type": "DiskPressure", "status": "False"},
                ],
                "allocatable": {"ephemeral-storage": "95551679124"},
                "nodeInfo": {"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://2.3.7"},
                "images": [{**one, "sizeBytes": 12345678} for one in (listed + others)[:_LISTED]],
            },
        }
        server.put("nodes", raw, namespace="")


def entry(hub: Hub, image: str) -> dict[str, Any]:
    """Return an image as a node lists it."""
    name, _, tag = image.removeprefix(f"{hub.address}/").partition(":")
    return {"names": [f"{hub.address}/{name}@{hub.wares[name, tag].digest}", image]}


if __name__ == "__main__":
    main()
