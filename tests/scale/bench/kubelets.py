"""Simulated kubelets: pods pull for the time of their node's sample and get the events of a kubelet.

kwok keeps the nodes alive, ends pods at their deadline and removes deleted pods. The pulls are simulated here, because
kwok supports neither a delay per node nor the events that a driver waits for.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self

from ips_flows.core import clock
from ips_flows.core.errors import ConflictError, NotFoundError
from ips_flows.core.k8s.objects import Json
from ips_flows.kube.client import Kube, core
from tests.scale.bench.samples import Sample

_AT_ONCE = 4
_TRY_AGAIN_SECONDS = 10.0  # the kubelet's first back-off
_BYTES = 50_000_000
_NOT_FOUND = "registry.example.com/bench: not found"
_UNAVAILABLE = "unexpected status from HEAD request: 503 Service Unavailable"


class Kubelets:
    """A context manager. While it is open, each pod given to it ends according to its node's sample."""

    def __init__(self, kube: Kube, samples: Mapping[str, Sample]) -> None:
        self._kube, self._samples = kube, samples
        self._due: list[tuple[float, int, Json, bool]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._gone: set[str] = set()
        self._stop = False
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._errors: list[BaseException] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join(60)
        self._pool.shutdown()
        if self._errors:
            raise self._errors[0]

    def bound(self, pod: Json) -> None:
        """Start the pull of a pod that was bound to its node."""
        sample = self._samples[pod["spec"]["nodeName"]]
        seconds = sample.milliseconds * len(pod["spec"]["containers"]) / 1000
        at = time.monotonic() + seconds
        self._plan(at, pod, pulled=not sample.failure)
        if sample.failure == "passing":
            self._plan(at + seconds, pod, pulled=True)

    def ended(self, pod: Json) -> None:
        """Stop the simulation of a pod that has ended or was deleted."""
        self._gone.add(pod["metadata"]["uid"])

    def _plan(self, at: float, pod: Json, *, pulled: bool) -> None:
        with self._changed:
            heapq.heappush(self._due, (at, next(self._numbers), pod, pulled))
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._stop:
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                _, _, pod, pulled = heapq.heappop(self._due)
                self._pool.submit(self._act, pod, pulled)

    def _act(self, pod: Json, pulled: bool) -> None:
        try:
            if pod["metadata"]["uid"] in self._gone:
                return
            if pulled:
                self._tell(pod)
                self._write(pod, "Succeeded", _arrived)
                return
            permanent = self._samples[pod["spec"]["nodeName"]].failure == "permanent"
            self._write(pod, "Pending", partial(_refused, _NOT_FOUND if permanent else _UNAVAILABLE))
            if permanent:
                self._plan(time.monotonic() + _TRY_AGAIN_SECONDS, pod, pulled=False)
        except (NotFoundError, ConflictError):  # the pod was deleted, or its event was sent before
            return
        except BaseException as error:  # noqa: BLE001  (raised on close)
            self._errors.append(error)

    def _tell(self, pod: Json) -> None:
        metadata, at = pod["metadata"], clock.stamp(clock.now())
        about = {"kind": "Pod", **{key: metadata[key] for key in ("namespace", "name", "uid")}}
        for number, container in enumerate(pod["spec"]["containers"]):
            text = f'Successfully pulled image "{container["image"]}" in 9s (9s including waiting).'
            event = {
                "metadata": {"name": f"{metadata['name']}.{number}"},
                "involvedObject": about,
                "source": {"component": "kubelet", "host": pod["spec"]["nodeName"]},
                "type": "Normal",
                "reason": "Pulled",
                "message": f"{text} Image size: {_BYTES} bytes.",
                "firstTimestamp": at,
                "lastTimestamp": at,
                "count": 1,
            }
            self._kube.create(core(metadata["namespace"], "events"), event)

    def _write(self, pod: Json, phase: str, of: Callable[[Json, str], Json]) -> None:
        spec, metadata, at = pod["spec"], pod["metadata"], clock.stamp(clock.now())
        status = {
            "phase": phase,
            "startTime": at,
            "initContainerStatuses": [_arrived(one, at) for one in spec.get("initContainers") or ()],
            "containerStatuses": [of(one, at) for one in spec["containers"]],
        }
        path = core(metadata["namespace"], "pods", metadata["name"])
        self._kube.patch(f"{path}/status", {"metadata": {"uid": metadata["uid"]}, "status": status})


def _arrived(container: Json, at: str) -> Json:
    image = container["image"]
    digest = hashlib.sha256(image.encode()).hexdigest()
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at}
    return {
        "name": container["name"],
        "image": image,
        "imageID": f"{image.rpartition(':')[0]}@sha256:{digest}",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }


def _refused(words: str, container: Json, _at: str) -> Json:
    image = container["image"]
    message = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {words}'
    return {
        "name": container["name"],
        "image": image,
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull", "message": message}},
    }
