"""Events of kubelets on the pods of a Job, received by one watch.

To list the events of one pod, the API server reads all events of the namespace. A task with thousands of nodes
would cause one such read per node.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import Self

from ips_flows.core.k8s.objects import Json
from ips_flows.core.pods.trim import EVENT, trim
from ips_flows.kube.client import core
from ips_flows.kube.list_watch import Informer, ListWatch, Replaced, Updated
from steps.context import StepContext
from steps.drive.timings import DriverTimings

_BY_KUBELETS = "involvedObject.kind=Pod,source=kubelet"


class PodEvents:
    """The events of the pods whose names begin with `prefix`, while the watch is open."""

    def __init__(self, context: StepContext, prefix: str, timings: DriverTimings) -> None:
        self._timings = timings
        self._prefix = prefix
        self._path = core(context.namespace, "events")
        self._kube = context.kube
        self._informer = Informer(context.kube)
        self._by_pod: dict[str, dict[str, Json]] = defaultdict(dict)
        self._listed = -math.inf

    def __enter__(self) -> Self:
        source = ListWatch(
            self._path, fields=_BY_KUBELETS, extract=self._trim_own, stored=False, endless=True
        )
        self._informer.add({"events": source})
        return self

    def __exit__(self, *_: object) -> None:
        self._informer.__exit__()

    def relist(self, after: float) -> bool:
        """List the events up to a monotonic time, since a broken watch may have missed some.

        One list serves all calls within some seconds. Returns False while the next list is not due.
        """
        if self._listed >= after:
            return True
        at = time.monotonic()
        if at - self._listed < self._timings.events_relist:
            return False
        for event in filter(None, map(self._trim_own, self._kube.list(self._path, fields=_BY_KUBELETS))):
            self._store(event)
        self._listed = at
        return True

    def for_pod(self, uid: str) -> list[Json]:
        """Return the events of a pod so far."""
        self._receive()
        return list(self._by_pod.get(uid, {}).values())

    def forget(self, uid: str) -> None:
        """Drop the events of a pod."""
        self._by_pod.pop(uid, None)

    def _receive(self) -> None:
        while (received := self._informer.next(0)) is not None:
            match received[1]:
                case Replaced(items):
                    for item in items:
                        self._store(item)
                case Updated(item, gone=False):
                    self._store(item)

    def _trim_own(self, event: Json) -> Json | None:
        """Return the needed fields of an event; None if its pod belongs to another Job."""
        own = event["involvedObject"].get("name", "").startswith(self._prefix)
        return trim(event, EVENT) if own else None

    def _store(self, event: Json) -> None:
        self._by_pod[event["involvedObject"].get("uid", "")][event["metadata"]["name"]] = event
