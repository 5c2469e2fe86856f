"""A watch of the pods of a run: the time of each node's pull, and the number of parallel pulls.

It passes bound pods on to the simulated kubelets.
"""

from __future__ import annotations

import threading
import time
from typing import Self

from ips_flows.core.k8s.objects import Json
from ips_flows.core.pods.container_state import is_terminal
from ips_flows.core.pods.pull_job import is_gated
from ips_flows.kube.client import Kube, core
from tests.scale.bench.kubelets import Kubelets


class Pulls:
    """A watch of the pods with a label. Times are those of the monotonic clock at the receipt of a change."""

    def __init__(self, kube: Kube, namespace: str, label: str, kubelets: Kubelets) -> None:
        self._kubelets = kubelets
        self._kube, self._path, self._label = kube, core(namespace, "pods"), label
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._pulling: set[str] = set()
        self._ended: set[str] = set()
        self.most_at_once = 0
        self.succeeded = 0
        self.first: float | None = None
        self.last: float | None = None
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._version = self._kube.get(self._path, limit=1)["metadata"]["resourceVersion"]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for event in self._kube.watch(
                    self._path, resource_version=self._version, seconds=2, labels=self._label
                ):
                    self._version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._take(event["object"], gone=event["type"] == "DELETED")
        except BaseException as error:  # noqa: BLE001  (raised on close)
            self.error = error

    def _take(self, pod: Json, *, gone: bool) -> None:
        name, at = pod["metadata"]["uid"], time.monotonic()
        self.first = self.first or at
        if gone or is_terminal(pod):
            self._pulling.discard(name)
            self._kubelets.ended(pod)
            if name not in self._ended and is_terminal(pod):
                self._ended.add(name)
                self.last = at
                self.succeeded += pod["status"]["phase"] == "Succeeded"
        elif not is_gated(pod) and pod["spec"].get("nodeName") and name not in self._ended:
            if name not in self._pulling:
                self._kubelets.bound(pod)
            self._pulling.add(name)
            self.most_at_once = max(self.most_at_once, len(self._pulling))
