"""The task cache: the tasks of the API server, kept in memory by list-then-watch.

It keeps extracted fields only. A collection that can't be watched is listed every 30 s until the watch works again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ips_flows.core.constants import LABEL_KIND, LABEL_VERDICT
from ips_flows.core.errors import ApiError, NotFoundError
from ips_flows.core.rest.task_store import COLLECTIONS, DONE, JOBS, LIVE, RESULTS, Snapshot, TaskStore
from ips_flows.core.rest.trim import trim_metadata, trim_workflow
from ips_flows.core.task import task
from ips_flows.core.task.as_json import BRIEF_FAILURES
from ips_flows.core.task.task import Task
from ips_flows.jsonlog import info, warning
from ips_flows.kube.client import Kube, core, jobs, workflows
from ips_flows.kube.list_watch import Event, Informer, ListWatch, Replaced, Synced, Updated, WatchError
from ips_flows.operations.tasks import IS_TASK, OUR_JOBS, with_failures

_FEW = 20  # up to this many objects are read one by one; more are read by a list
_AT_ONCE = 1000  # events handled before the next snapshot


class EventHandler(Protocol):
    """Handler of the task cache's events, called in its thread."""

    def handle(self, collection: str, event: Event) -> None:
        """Handle an event of "live", "done", "jobs" or "results". Its objects are trimmed."""
        ...


@dataclass(frozen=True, slots=True)
class CacheIntervals:
    """Intervals and limits of the task cache, in seconds."""

    tick: float = 0.5  # longest wait for an event before it checks for a stop and retries failed reads
    relist: float = 30.0
    stale: float = 90.0  # a collection silent for longer: not ready
    stuck: float = 300.0  # the loop without progress for longer: not alive


class TaskCache:
    """Cache of the tasks of one namespace. Call `start`, read `snapshot`, call `stop`."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        handlers: Sequence[EventHandler] = (),
        *,
        intervals: CacheIntervals | None = None,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._handlers = handlers
        self._intervals = intervals or CacheIntervals()
        self._store = TaskStore()
        self._snapshot = Snapshot()
        self._synced = False
        self._listed: set[str] = set()
        self._heard: dict[str, float] = {}
        self._broken: dict[str, str] = {}
        self._listeners: set[Callable[[], None]] = set()
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="task-cache", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; wait up to 30 s for it to end."""
        self._stop.set()
        self._thread.join(30)

    @property
    def snapshot(self) -> Snapshot:
        """The latest state of all tasks."""
        return self._snapshot

    @property
    def broken(self) -> dict[str, str]:
        """Collections that are listed because they can't be watched, each with the reason."""
        return dict(self._broken)

    def alive(self) -> bool:
        """Return whether the thread runs and its loop makes progress."""
        return self._thread.is_alive() and time.monotonic() - self._beat < self._intervals.stuck

    def not_ready(self) -> str | None:
        """Return why the snapshot may be out of date, or None."""
        missing = [name for name in COLLECTIONS if name not in self._listed]
        if missing:
            why = next((f" ({self._broken[name]})" for name in missing if name in self._broken), "")
            return f"not listed yet: {', '.join(missing)}{why}"
        if not self._synced:
            return "not all tasks are read yet"
        silent = time.monotonic() - min(self._heard.values())
        return (
            f"no response from the API server for {silent:.0f} s" if silent > self._intervals.stale else None
        )

    def degraded(self) -> str | None:
        """Return which collections are listed because they can't be watched, and why, or None."""
        broken = sorted(self._broken.items())
        return "; ".join(f"{name} can't be watched: {why}" for name, why in broken) or None

    @contextlib.contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call a function, in the thread of this cache, on each change of the snapshot."""
        with self._guard:
            self._listeners.add(listener)
        try:
            yield
        finally:
            with self._guard:
                self._listeners.discard(listener)

    def _run(self) -> None:
        with Informer(self._kube) as informer:
            informer.add(self._sources())
            while not self._stop.is_set():
                for number in range(_AT_ONCE):
                    got = informer.next(0 if number else self._intervals.tick)
                    if got is None:
                        break
                    self._handle(*got)
                self._beat = time.monotonic()
                try:
                    self._fetch_missing()
                except ApiError as error:  # retried at the next tick
                    warning("task details can't be read", error=error.message)
                self._publish()

    def _sources(self) -> dict[str, ListWatch]:
        tasks = workflows(self._namespace)
        config_maps = core(self._namespace, "configmaps")
        of = partial(ListWatch, relist_seconds=self._intervals.relist, page=100, stored=False, endless=True)
        scant = partial(of, metadata_only=True, extract=trim_metadata)
        return {
            LIVE: of(tasks, f"{IS_TASK},!{LABEL_VERDICT}", extract=trim_workflow),
            DONE: scant(tasks, f"{IS_TASK},{LABEL_VERDICT}"),
            JOBS: scant(jobs(self._namespace), OUR_JOBS),
            RESULTS: scant(config_maps, f"{LABEL_KIND}=results"),
        }

    def _handle(self, name: str, event: Event) -> None:
        for handler in self._handlers:
            handler.handle(name, event)
        if isinstance(event, WatchError):
            if name not in self._broken:
                warning("collection can't be watched", collection=name, error=event.error.message)
            self._broken[name] = event.error.message
            return
        self._heard[name] = time.monotonic()
        if isinstance(event, Synced):
            self._broken.pop(name, None)
            info("collection is watched again", collection=name)
        elif isinstance(event, Replaced):
            self._store.replace(name, event.items)
            self._listed.add(name)
        elif isinstance(event, Updated):
            self._store.change(name, event.item, gone=event.gone)

    def _fetch_missing(self) -> None:
        """Read what the events do not contain."""
        self._check_leaving()
        self._fetch_details()
        for seen in self._store.without_failures():
            self._beat = time.monotonic()
            self._fetch_failures(seen)

    def _check_leaving(self) -> None:
        leaving = dict(self._store.leaving)
        if len(leaving) > _FEW:
            there = {
                item["metadata"]["uid"]
                for item in self._kube.list(workflows(self._namespace), labels=IS_TASK, metadata_only=True)
            }
            for uid in leaving.keys() - there:
                self._store.forget(uid)
        for uid, name in leaving.items():
            if uid in self._store.leaving:
                self._refetch(uid, name)

    def _refetch(self, uid: str, name: str) -> None:
        self._beat = time.monotonic()
        try:
            found = self._kube.get(workflows(self._namespace, name))
        except NotFoundError:
            self._store.forget(uid)
            return
        if found["metadata"]["uid"] == uid and task.is_task(found):
            self._store.keep(found)
        else:
            self._store.forget(uid)

    def _fetch_details(self) -> None:
        unknown = self._store.without_details()
        if len(unknown) > _FEW:
            ended = f"{IS_TASK},{LABEL_VERDICT}"
            for whole in self._kube.list(workflows(self._namespace), labels=ended, page=50):
                self._beat = time.monotonic()
                self._store.add_details(whole)
        for uid, name in self._store.without_details().items():
            self._refetch(uid, name)

    def _fetch_failures(self, seen: Task) -> None:
        whole = with_failures(self._kube, seen)
        self._store.add_failures(seen, whole.failures[:BRIEF_FAILURES], whole.message)

    def _publish(self) -> None:
        if not {LIVE, DONE, JOBS} <= self._listed:
            return
        snapshot = self._store.snapshot()
        if snapshot is not None:
            self._snapshot = snapshot
        if not self._synced and not self._store.incoming:
            self._synced = True
        if snapshot is not None:
            with self._guard:
                listeners = tuple(self._listeners)
            for listener in listeners:
                listener()
