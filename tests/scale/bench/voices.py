"""The events that kubelets send of their pulls: simulated nodes send none, and a driver waits for them."""

from __future__ import annotations

import queue
import threading
from types import TracebackType
from typing import Self

from ips_flows import clock
from ips_flows.kube import Json, Kube, core

_BYTES = 50_000_000


class Voices:
    """Sends `Pulled` for each image of each pod that is told as pulled, while it is open."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._pods: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._pods.put(None)
        self._thread.join(60)
        if self.error is not None:
            raise self.error

    def pulled(self, pod: Json) -> None:
        """Tell of a pod whose images have arrived."""
        self._pods.put(pod)

    def _run(self) -> None:
        try:
            while (pod := self._pods.get()) is not None:
                for number, container in enumerate(pod["spec"]["containers"]):
                    self._send(pod, number, container["image"])
        except BaseException as error:  # noqa: BLE001  (told where it is closed)
            self.error = error

    def _send(self, pod: Json, number: int, image: str) -> None:
        metadata, at = pod["metadata"], clock.stamp(clock.now())
        about = {"kind": "Pod", **{key: metadata[key] for key in ("namespace", "name", "uid")}}
        event = {
            "metadata": {"name": f"{metadata['name']}.{number}"},
            "involvedObject": about,
            "source": {"component": "kubelet", "host": pod["spec"]["nodeName"]},
            "type": "Normal",
            "reason": "Pulled",
            "message": f'Successfully pulled image "{image}" in 9s (9s including waiting). Image size: {_BYTES} bytes.',
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        self._kube.create(core(metadata["namespace"], "events"), event)
