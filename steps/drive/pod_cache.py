"""The pods of a Job, kept up to date by a watch: a list in each pass would cost window × passes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Self

from ips_flows.core.errors import UnavailableError
from ips_flows.core.k8s.objects import Json
from ips_flows.core.pods.trim import POD, trim
from ips_flows.kube.list_watch import Event, Informer, ListWatch, Replaced, Updated, WatchError
from steps.context import ReplacePodError, say
from steps.drive.attempt import Attempt
from steps.drive.timings import DriverTimings

_PAGE = 100  # pods per request, since they are large before they are trimmed


class PodCache:
    """The pods of an attempt's Job, while the cache is open.

    A watch event may be older than the response to this driver's patch, so the newer version of a pod is kept: an
    ungated pod never counts as gated again. Versions are compared as numbers, which Kubernetes allows for
    objects of one resource.
    """

    def __init__(self, attempt: Attempt, timings: DriverTimings) -> None:
        self._attempt = attempt
        self._timings = timings
        self._informer = Informer(attempt.context.kube)
        self._pods: dict[str, Json] = {}
        self._listed = False
        self._calm = True

    def __enter__(self) -> Self:
        source = ListWatch(
            self._attempt.path("pods"),
            labels=self._attempt.pod_selector,
            relist_seconds=self._timings.pods_relist,
            page=_PAGE,
            extract=partial(trim, shape=POD),
            stored=False,
        )
        self._informer.add({"pods": source})
        return self

    def __exit__(self, *_: object) -> None:
        self._informer.__exit__()

    def list(self) -> list[Json]:
        """Return the pods as of the last received event. Raises UnavailableError if they were never listed."""
        end = time.monotonic() + self._timings.pods_first_list
        while self._receive(0.0 if self._listed else end - time.monotonic()):
            pass
        if not self._listed:
            raise UnavailableError("the pods can't be listed")
        return list(self._pods.values())

    def wait_for_change(self, seconds: float) -> None:
        """Wait at most `seconds` for an event."""
        self._receive(seconds)

    def update(self, pod: Json) -> None:
        """Store a pod that a patch returned."""
        self._store_if_newer(trim(pod, POD))

    def _store_if_newer(self, pod: Json) -> None:
        known = self._pods.get(pod["metadata"]["uid"])
        if known is None or _version(known) <= _version(pod):
            self._pods[pod["metadata"]["uid"]] = pod

    def remove(self, pods: Iterable[Json]) -> None:
        """Remove pods that were deleted."""
        for pod in pods:
            self._pods.pop(pod["metadata"]["uid"], None)

    def _receive(self, seconds: float) -> bool:
        try:
            received = self._informer.next(seconds)
        except UnavailableError as error:  # after minutes of failures; the watch has ended
            raise ReplacePodError(f"the pods can't be watched: {error.message}") from error
        if received is None:
            return False
        self._apply(received[1])
        return True

    def _apply(self, event: Event) -> None:
        match event:
            case Replaced(items):
                self._listed = True
                there = {item["metadata"]["uid"] for item in items}
                self._pods = {uid: pod for uid, pod in self._pods.items() if uid in there}
                for item in items:
                    self._store_if_newer(item)
            case Updated(item, gone=True):
                self._pods.pop(item["metadata"]["uid"], None)
            case Updated(item):
                self._store_if_newer(item)
            case WatchError(error):
                if self._calm:
                    say(f"the pods can't be watched, trying again: {error.message}")
        self._calm = not isinstance(event, WatchError)


def _version(pod: Json) -> int:
    return int(pod["metadata"]["resourceVersion"])
