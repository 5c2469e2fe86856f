"""Follow collections of objects: list, then watch, repeatedly.

`reflect` follows one collection and restarts a failed watch. An `Informer` follows several collections at the same
time and returns their events in the order of arrival.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from ips_flows.core.errors import ApiError, GoneError, UnavailableError
from ips_flows.core.k8s.objects import Json
from ips_flows.kube.client import Kube

WATCH_SECONDS = 50.0
PROBE_SECONDS = 5.0  # the first watch after an error is short: its first event, or its end, yields Synced
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
PATIENCE = 300.0  # an API server that does not respond for this long is an error


@dataclass(frozen=True, slots=True)
class ListWatch:
    """A collection to follow, with its selectors."""

    path: str
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False
    keep_gone: bool = False  # the store keeps deleted objects
    relist_seconds: float | None = None  # list again at this interval, even while the watch works
    page: int = 500
    # Returns the part of an object that is stored and passed on; None leaves the object out.
    extract: Callable[[Json], Json | None] | None = None
    stored: bool = True  # False: the Informer keeps no store; the caller stores what it needs
    endless: bool = False  # True: every error is passed on as WatchError, and the request is retried


@dataclass(frozen=True, slots=True)
class Replaced:
    """The whole collection was listed."""

    items: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """One object was added, modified or deleted."""

    item: Json
    gone: bool = False


@dataclass(frozen=True, slots=True)
class WatchError:
    """The collection can't be read at the moment; the request is retried."""

    error: ApiError


@dataclass(frozen=True, slots=True)
class Synced:
    """The collection is watched again after an error."""


Event = Replaced | Updated | WatchError | Synced


def reflect(
    kube: Kube, source: ListWatch, stop: threading.Event, *, patience: float = PATIENCE
) -> Iterator[Event]:
    """Yield the whole collection, then each change, until `stop` is set.

    A resourceVersion that is too old makes it list again. While the API server can't be reached, it retries with
    growing pauses; after `patience` seconds without a response it raises the error. It raises any other error
    immediately. An endless source raises no ApiError.
    """
    progress = _Progress()
    pause, silent_since = FIRST_PAUSE, 0.0
    while not stop.is_set():
        progress.heard = False
        try:
            for event in _round(kube, source, progress):
                silent_since = 0.0
                yield event
                if stop.is_set():
                    return
            silent_since = 0.0
        except GoneError:
            progress.version = ""
        except ApiError as error:
            silent_since = silent_since or time.monotonic()
            if not _is_bearable(source, error, time.monotonic() - silent_since, patience):
                raise
            progress.troubled = True
            pause = max(pause, error.retry_after)
            yield WatchError(error)
        if progress.heard:
            pause = FIRST_PAUSE
        else:  # do not flood a server that ends every watch immediately
            stop.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


@dataclass(slots=True)
class _Progress:
    """State of following one collection."""

    version: str = ""
    relist_at: float = math.inf
    troubled: bool = False
    heard: bool = False  # the latest watch had an event, or lasted more than a second


def _round(kube: Kube, source: ListWatch, progress: _Progress) -> Iterator[Event]:
    """List if a list is due, then watch once."""
    if not progress.version or time.monotonic() >= progress.relist_at:
        progress.version, items = _list(kube, source)
        progress.relist_at = time.monotonic() + (source.relist_seconds or math.inf)
        yield Replaced(items)
    began = time.monotonic()
    longest = PROBE_SECONDS if progress.troubled else WATCH_SECONDS
    for event in _watched(kube, source, progress.version, min(longest, max(1.0, progress.relist_at - began))):
        if progress.troubled:
            progress.troubled = False
            yield Synced()
        if event is None:
            progress.heard = progress.heard or time.monotonic() - began > 1
            return
        progress.heard = True
        progress.version = event["object"]["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            for item in _extracted(source, [event["object"]]):
                yield Updated(item, gone=event["type"] == "DELETED")


def _watched(kube: Kube, source: ListWatch, version: str, seconds: float) -> Iterator[Json | None]:
    """Yield the events of one watch, then None if it ended without an error."""
    yield from kube.watch(
        source.path,
        resource_version=version,
        seconds=seconds,
        labels=source.labels,
        fields=source.fields,
        metadata_only=source.metadata_only,
    )
    yield None


def _is_bearable(source: ListWatch, error: ApiError, silent: float, patience: float) -> bool:
    """Return whether to pass an error on as WatchError and retry, instead of raising it."""
    return source.endless or (isinstance(error, UnavailableError) and silent <= patience)


@dataclass(slots=True)
class Store:
    """Objects of a collection, kept up to date by its events."""

    objects: dict[str, Json] = field(default_factory=dict)
    synced: bool = False
    keep_gone: bool = False

    def apply(self, event: Event) -> bool:
        """Apply an event. Return whether an object may have changed."""
        match event:
            case Replaced(items):
                fresh = {_key(item): item for item in items}
                self.objects = self.objects | fresh if self.keep_gone else fresh
                self.synced = True
            case Updated(item, gone=True) if not self.keep_gone:
                self.objects.pop(_key(item), None)
            case Updated(item):
                self.objects[_key(item)] = item
            case WatchError() | Synced():
                return False
        return True


class Informer:
    """Follows several collections at the same time, one thread each. Use it in a `with`.

    The threads are daemons: a thread that is still in a watch when the `with` ends does not delay the process's exit.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._stop = threading.Event()
        self._queue: queue.SimpleQueue[tuple[str, Event | Exception]] = queue.SimpleQueue()
        self.stores: dict[str, Store] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def add(self, sources: Mapping[str, ListWatch]) -> None:
        """Follow more collections, each under a name."""
        for name, source in sources.items():
            if source.stored:
                self.stores[name] = Store(keep_gone=source.keep_gone)
            threading.Thread(target=self._run, args=(name, source), name=f"watch-{name}", daemon=True).start()

    def next(self, seconds: float | None = None) -> tuple[str, Event] | None:
        """Apply the next event to its store and return it with the collection's name; None after `seconds` seconds.

        Raises an error of any collection.
        """
        try:
            name, event = self._queue.get(timeout=None if seconds is None else max(0.0, seconds))
        except queue.Empty:
            return None
        if isinstance(event, Exception):
            raise event
        if name in self.stores:
            self.stores[name].apply(event)
        return name, event

    def _run(self, name: str, source: ListWatch) -> None:
        try:
            for event in reflect(self._kube, source, self._stop):
                self._queue.put((name, event))
        except Exception as error:  # noqa: BLE001  (`next` raises it: a thread must not fail silently)
            self._queue.put((name, error))


def _list(kube: Kube, source: ListWatch) -> tuple[str, tuple[Json, ...]]:
    items: list[Json] = []
    version = ""
    for page in kube.pages(
        source.path,
        labels=source.labels,
        fields=source.fields,
        metadata_only=source.metadata_only,
        page=source.page,
    ):
        items += _extracted(source, page["items"])
        version = page["metadata"]["resourceVersion"]
    return version, tuple(items)


def _extracted(source: ListWatch, items: Iterable[Json]) -> Iterable[Json]:
    if source.extract is None:
        return items
    return [item for item in map(source.extract, items) if item is not None]


def _key(item: Json) -> str:
    metadata = item["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
