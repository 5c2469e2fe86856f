"""Live updates of one task as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from ips_flows.core.rest.task_store import Snapshot
from ips_flows.server.task_cache import TaskCache

HEARTBEAT_SECONDS = 15.0
VERDICT_SECONDS = 300.0  # limit of the wait for an ended task's verdict; without a keeper none may come
SHOWN_SECONDS = 2.0  # limit of a response's wait for the task cache
APPEAR_SECONDS = 10.0  # limit of the wait for a new task to appear in the task cache


class TaskStreams:
    """Event streams. Each ends with its task, or when the server shuts down."""

    def __init__(self, task_cache: TaskCache, *, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._task_cache = task_cache
        self._heartbeat = heartbeat
        self._closing = False
        self._wakers: set[Callable[[], None]] = set()

    def close(self) -> None:
        """End all streams. Safe to call from any thread and from a signal handler."""
        self._closing = True
        for wake in tuple(self._wakers):
            wake()

    async def wait_until_shown(
        self, holds: Callable[[Snapshot], bool], seconds: float = SHOWN_SECONDS
    ) -> None:
        """Wait, at most `seconds`, until lists show the change just made, so that its client finds it."""
        end = time.monotonic() + seconds
        with self._waking() as changed:
            while not (self._closing or holds(self._task_cache.snapshot)) and time.monotonic() < end:
                await self._pause(changed, end - time.monotonic())

    async def follow(self, name: str, uid: str, first: bytes) -> AsyncIterator[bytes]:
        """Yield `task` with the task's JSON as in lists, now and after each change; then `end` or `deleted`.

        A slow client gets the latest state only; states in between are skipped.
        """
        with self._waking() as changed:
            sent = first
            yield encode_event("task", first)
            missing_since, ended_at = time.monotonic(), 0.0
            while not self._closing:
                row = self._task_cache.snapshot.by_name.get(name)
                now = time.monotonic()
                if row is None or row.uid != uid:
                    if row is None and missing_since and now - missing_since < APPEAR_SECONDS:
                        await self._pause(changed, 1.0)
                        continue
                    yield encode_event("deleted", b"{}")
                    return
                missing_since = 0.0
                body = row.body()
                if body != sent:
                    sent = body
                    yield encode_event("task", body)
                if row.ended:
                    ended_at = ended_at or now
                    if row.final or now - ended_at > VERDICT_SECONDS:
                        yield encode_event("end", b'{"status":"%s"}' % row.status.encode())
                        return
                if not await self._pause(changed, self._heartbeat):
                    yield b": heartbeat\n\n"
            yield b"retry: 1000\n: the server is shutting down; reconnect\n\n"

    @contextmanager
    def _waking(self) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        self._wakers.add(wake)
        try:
            with self._task_cache.listening(wake):
                yield changed
        finally:
            self._wakers.discard(wake)

    async def _pause(self, changed: asyncio.Event, seconds: float) -> bool:
        """Wait for a change. Return False if there was none within `seconds`."""
        try:
            await asyncio.wait_for(changed.wait(), seconds)
        except TimeoutError:
            return False
        changed.clear()
        return True


def encode_event(kind: str, data: bytes) -> bytes:
    """Encode one event. Compact JSON has no line breaks, so one `data:` line is enough."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)
