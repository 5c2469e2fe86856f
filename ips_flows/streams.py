"""Collections that are followed for as long as anyone wants: list, then watch, again and again.

Each generator does one job: `changes` never ends and mends a broken watch; `merge` runs several of them
side by side and hands over what comes first.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from ips_flows.errors import ApiError, GoneError, UnavailableError
from ips_flows.kube import Json, Kube

WATCH_SECONDS = 50.0
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
PATIENCE = 300.0  # how long an API server may stay away before it is an error


@dataclass(frozen=True, slots=True)
class Source:
    """What to follow: a collection and the selectors that narrow it."""

    path: str
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False
    keep_gone: bool = False  # a mirror of it remembers objects after they were deleted
    relist_seconds: float | None = None  # list it again that often, whatever the watch says


@dataclass(frozen=True, slots=True)
class Listed:
    """The whole collection, as it is now."""

    items: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """One object was added or modified, or is gone."""

    item: Json
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """The API server can't be reached at the moment; it is tried again."""

    error: ApiError


Event = Listed | Changed | Trouble


def changes(
    kube: Kube, source: Source, stop: threading.Event, *, patience: float = PATIENCE
) -> Iterator[Event]:
    """The collection once, then each change, until `stop` is set.

    A version that is too old means: list again. An API server that can't be reached is tried again with growing
    pauses; after `patience` seconds without an answer its error is raised, any other error at once.
    """
    version, relist_at = "", math.inf
    pause, silent_since = FIRST_PAUSE, 0.0
    while not stop.is_set():
        heard = False
        try:
            if not version or time.monotonic() >= relist_at:
                version, items = _list(kube, source)
                silent_since = 0.0
                relist_at = time.monotonic() + (source.relist_seconds or math.inf)
                yield Listed(items)
            began = time.monotonic()
            for event in kube.watch(
                source.path,
                resource_version=version,
                seconds=min(WATCH_SECONDS, max(1.0, relist_at - time.monotonic())),
                labels=source.labels,
                fields=source.fields,
                metadata_only=source.metadata_only,
            ):
                heard, pause, silent_since = True, FIRST_PAUSE, 0.0
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    yield Changed(event["object"], gone=event["type"] == "DELETED")
                if stop.is_set():
                    return
            silent_since = 0.0
            heard = heard or time.monotonic() - began > 1
        except GoneError:
            version = ""
        except UnavailableError as error:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > patience:
                raise
            yield Trouble(error)
        if not heard:  # a server that ends every watch at once is not to be flooded
            stop.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


@dataclass(slots=True)
class Mirror:
    """What a collection holds, kept up to date by its events."""

    objects: dict[str, Json] = field(default_factory=dict)
    listed: bool = False
    keep_gone: bool = False

    def apply(self, event: Event) -> bool:
        """Take an event in; whether anything may have changed."""
        match event:
            case Listed(items):
                fresh = {_key(item): item for item in items}
                self.objects = self.objects | fresh if self.keep_gone else fresh
                self.listed = True
            case Changed(item, gone=True) if not self.keep_gone:
                self.objects.pop(_key(item), None)
            case Changed(item):
                self.objects[_key(item)] = item
            case Trouble():
                return False
        return True


class Merge:
    """Several collections followed side by side, one thread each; use it in a `with`.

    The threads are daemons: one that sits in a silent watch when the `with` ends dies with the process.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._stop = threading.Event()
        self._queue: queue.SimpleQueue[tuple[str, Event | Exception]] = queue.SimpleQueue()
        self.mirrors: dict[str, Mirror] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def add(self, sources: Mapping[str, Source]) -> None:
        """Follow more collections, each under a name."""
        for name, source in sources.items():
            self.mirrors[name] = Mirror(keep_gone=source.keep_gone)
            threading.Thread(target=self._run, args=(name, source), name=f"watch-{name}", daemon=True).start()

    def next(self, seconds: float | None = None) -> tuple[str, Event] | None:
        """The next event and its collection's name, its mirror up to date; None after so many seconds.

        An error of any collection is raised here.
        """
        try:
            name, event = self._queue.get(timeout=None if seconds is None else max(0.0, seconds))
        except queue.Empty:
            return None
        if isinstance(event, Exception):
            raise event
        self.mirrors[name].apply(event)
        return name, event

    def _run(self, name: str, source: Source) -> None:
        try:
            for event in changes(self._kube, source, self._stop):
                self._queue.put((name, event))
        except Exception as error:  # noqa: BLE001  (raised where it is read: a thread must not die unseen)
            self._queue.put((name, error))


def _list(kube: Kube, source: Source) -> tuple[str, tuple[Json, ...]]:
    items: list[Json] = []
    version = ""
    for page in kube.pages(
        source.path, labels=source.labels, fields=source.fields, metadata_only=source.metadata_only
    ):
        items += page["items"]
        version = page["metadata"]["resourceVersion"]
    return version, tuple(items)


def _key(item: Json) -> str:
    metadata = item["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
