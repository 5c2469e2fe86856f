"""The server's application without a network: its routes are called in this process, with a recorded cluster."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ips_flows.server.auth import Authorizer, KubernetesAuthorizer, NoAuthorizer
from ips_flows.server.main import ServerHealth, application
from ips_flows.server.metrics import Metrics
from ips_flows.server.sse import TaskStreams
from ips_flows.server.task_cache import TaskCache
from tests.contracts.examples import NAMESPACE
from tests.contracts.lives import installed
from tests.contracts.tape import Tape

Json = dict[str, Any]


class _Counting(Metrics):
    """Metrics that record the routes passed to `expect`."""

    def expect(self, routes: Iterable[tuple[str, str, int]]) -> None:
        """Record the routes."""
        self.expected = list(routes)
        super().expect(self.expected)


class _Keeper:
    """A keeper in sync."""

    def alive(self) -> bool:
        """Return True: the keeper is alive."""
        return True

    def not_ready(self) -> None:
        """Return None: the keeper is ready."""


@dataclass
class Reply:
    """A response."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def document(self) -> Any:
        """Return the body if it is JSON."""
        return json.loads(self.body) if "json" in self.headers.get("content-type", "") else None


@dataclass
class Served:
    """An application, its cluster, and its metrics."""

    tape: Tape
    app: Any
    metrics: Metrics
    counted: list[tuple[str, str, int]]
    task_cache: TaskCache

    def call(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Call a route."""
        with _silence():
            return asyncio.run(self._call(method, path, body, headers or {}))

    async def _call(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        reply = Reply()
        route, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": route,
            "raw_path": route.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
        }

        bodies = iter([body])

        async def receive() -> Json:
            part = next(bodies, None)
            if part is None:  # the client stays connected and sends nothing more
                await asyncio.Event().wait()
            return {"type": "http.request", "body": part}

        async def send(message: Json) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                reply.body += message.get("body", b"")

        with contextlib.suppress(
            Exception
        ):  # an error for which the server returns 500, and which it raises for its log
            await self.app(scope, receive, send)
        return reply


def served(*, auth: bool = False) -> Served:
    """Return a new application with `--auth none`, or with tokens."""
    tape = installed()
    kube = tape.kube()
    metrics = _Counting(kube, NAMESPACE, process=False)
    task_cache = TaskCache(kube, NAMESPACE, ())
    streams = TaskStreams(task_cache)
    streams.close()  # so that no response waits for the lists to show its change
    gate: Authorizer = KubernetesAuthorizer(kube, NAMESPACE) if auth else NoAuthorizer(())
    app = application(
        kube,
        NAMESPACE,
        state=ServerHealth(_Keeper(), task_cache),
        streams=streams,
        authorizer=gate,
        metrics=metrics,
        argo_url="https://argo.example.com",
    )
    return Served(tape, app, metrics, metrics.expected, task_cache)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress the server's log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
