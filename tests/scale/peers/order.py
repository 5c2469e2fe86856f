"""The order of a reference driver, and the Jobs that all reference drivers create."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ips_flows.kube.client import Kube, jobs

LABEL = "bench.ips-flow.io/run"


@dataclass(frozen=True, slots=True)
class Order:
    """An order to warm images on nodes, at most `window` nodes at the same time."""

    run: str
    namespace: str
    nodes: list[str]
    images: list[str]
    window: int

    @classmethod
    def read(cls) -> Order:
        """Read the order from stdin."""
        return cls(**json.load(sys.stdin))

    def to_json(self) -> str:
        """Return the JSON that `read` parses."""
        return json.dumps(asdict(self))


class Jobs:
    """The Jobs of an order, created one by one and followed by a watch."""

    def __init__(self, order: Order) -> None:
        self._kube = Kube.connect()
        self._order = order
        self._path = jobs(order.namespace)
        self._labels = f"{LABEL}={order.run}"
        self._version = ""
        self.running: set[str] = set()

    def create(self, node: str, images: list[str], name: str = "") -> None:
        """Create a Job that pulls images on a node."""
        name = name or f"{self._order.run}-{node}"
        if not self._version:
            self._version = self._kube.get(self._path, limit=1)["metadata"]["resourceVersion"]
        self._kube.create(self._path, _job(self._order, name, node, images))
        self.running.add(name)

    def ended(self) -> Iterator[str]:
        """Yield the names of Jobs as they end, until none runs."""
        while self.running:
            for event in self._kube.watch(
                self._path, resource_version=self._version, seconds=60, labels=self._labels
            ):
                found = event["object"]
                self._version = found["metadata"]["resourceVersion"]
                name = found["metadata"].get("name")
                if name in self.running and _is_over(found):
                    self.running.discard(name)
                    yield name
                if not self.running:
                    return


def _is_over(job: Any) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def _job(order: Order, name: str, node: str, images: list[str]) -> dict[str, Any]:
    labels = {LABEL: order.run}
    containers = [
        {"name": f"image-{number}", "image": image, "command": ["true"]}
        for number, image in enumerate(images)
    ]
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {"kubernetes.io/hostname": node},
        "tolerations": [{"operator": "Exists"}],
        "automountServiceAccountToken": False,
        "containers": containers,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
