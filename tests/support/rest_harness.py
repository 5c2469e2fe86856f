"""The server's application on a loopback port of this process, and a client that returns full responses."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import uvicorn

from ips_flows.kube.client import Kube
from ips_flows.server.auth import Authorizer, KubernetesAuthorizer
from ips_flows.server.main import RequestCounter, ServerHealth, application
from ips_flows.server.sse import TaskStreams
from ips_flows.server.task_cache import CacheIntervals, EventHandler, TaskCache
from tests.fakes.apiserver import ApiServer

TOKEN = "bobs"  # noqa: S105
QUICK = CacheIntervals(tick=0.02)


class Well:
    """A keeper that does nothing and is always healthy."""

    def alive(self) -> bool:
        """Return True: the keeper is alive."""
        return True

    def not_ready(self) -> None:
        """Return None: the keeper is ready."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Rest:
    """Client of the running server."""

    def __init__(
        self, server: ApiServer, kube: Kube, task_cache: TaskCache, state: ServerHealth, streams: TaskStreams
    ) -> None:
        self.server, self.kube, self.task_cache, self.state, self.streams = (
            server,
            kube,
            task_cache,
            state,
            streams,
        )
        self.port = 0

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None
    ) -> Reply:
        """Send a request: an iterator in chunks, another body than bytes as JSON, without the headers that are None."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = (
            body
            if body is None or isinstance(body, bytes) or hasattr(body, "__next__")
            else json.dumps(body).encode()
        )
        wanted: dict[str, str | None] = {"Authorization": f"Bearer {TOKEN}", **(headers or {})}
        if body is not None and "Content-Type" not in wanted:
            wanted["Content-Type"] = "application/json"
        connection.request(
            method,
            path,
            data,
            {key: value for key, value in wanted.items() if value is not None},
            encode_chunked=hasattr(body, "__next__"),
        )
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        return Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, read)

    def get(self, path: str) -> Reply:
        """Send a GET request."""
        return self.call("GET", path)

    def await_list(self, holds: Callable[[Any], bool], query: str = "") -> Any:
        """Wait until the list of tasks meets a condition; return it."""
        end = time.monotonic() + 30
        changed = threading.Event()
        with self.task_cache.listening(changed.set):
            while True:
                found = self.get(f"/api/v1/tasks{query}")
                if found.status == 200 and holds(found.json):
                    return found.json
                assert time.monotonic() < end, found.body
                changed.wait(0.1)
                changed.clear()

    @contextlib.contextmanager
    def events(self, name: str) -> Iterator[Iterator[tuple[str, Any]]]:
        """Follow the events of a task; the iterator gives type and data of each, without comments."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(
            "GET", f"/api/v1/tasks/{name}/events", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        try:
            yield parsed(answer)
        finally:
            connection.close()


def parsed(lines: Any) -> Iterator[tuple[str, Any]]:
    """Parse server-sent events from lines of bytes."""
    kind = ""
    for line in lines:
        if line.startswith(b"event: "):
            kind = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield kind, json.loads(line[6:])


class _Server(uvicorn.Server):
    """uvicorn's server without its pauses of 0.1 s, for which most tests would wait longer than for all else."""

    async def main_loop(self) -> None:
        """Serve until `should_exit`."""
        while not await self.on_tick(0):  # noqa: ASYNC110 - uvicorn's interface is a flag
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners, and the connections when their responses are complete."""
        for listener in self.servers:
            listener.close()
        for bound in sockets or ():
            bound.close()
        async with asyncio.timeout(self.config.timeout_graceful_shutdown):
            while connections := list(self.server_state.connections):
                for connection in connections:
                    connection.shutdown()
                await asyncio.sleep(0.01)


class Counting(EventHandler, RequestCounter, Protocol):
    """Observer that counts events of the task cache and responses."""


@contextlib.contextmanager
def serving(
    server: ApiServer,
    kube: Kube,
    authorizer: Authorizer | None = None,
    *,
    metrics: Counting | None = None,
    intervals: CacheIntervals = QUICK,
    heartbeat: float = 15.0,
) -> Iterator[Rest]:
    """Serve a namespace. If the API server is available, the first list of tasks is complete on entry."""
    server.users[TOKEN] = {"username": "bob", "groups": ["team"]}
    task_cache = TaskCache(kube, "warm", [metrics] if metrics else [], intervals=intervals)
    state, streams = ServerHealth(Well(), task_cache), TaskStreams(task_cache, heartbeat=heartbeat)
    app = application(
        kube,
        "warm",
        state=state,
        streams=streams,
        authorizer=authorizer or KubernetesAuthorizer(kube, "warm"),
        metrics=metrics,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
    )
    web = _Server(config)
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True)
    rest = Rest(server, kube, task_cache, state, streams)
    rest.port = listener.getsockname()[1]
    task_cache.start()
    thread.start()
    try:
        yield rest
    finally:
        streams.close()
        web.should_exit = True
        thread.join(30)
        task_cache.stop()
        listener.close()
        assert not thread.is_alive()
