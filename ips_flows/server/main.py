"""Run keeper, task cache and HTTP server together until SIGTERM or SIGINT, then shut them down gracefully."""

from __future__ import annotations

import gc
import importlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import uvicorn

from ips_flows import jsonlog
from ips_flows.controller.keeper import Keeper, KeeperIntervals
from ips_flows.core.errors import IpsFlowError
from ips_flows.core.version import __version__
from ips_flows.kube.client import Kube
from ips_flows.server.app import create_app, known_responses
from ips_flows.server.auth import Authorizer
from ips_flows.server.metrics import Metrics
from ips_flows.server.middleware import Middleware
from ips_flows.server.routes import TaskRoutes
from ips_flows.server.sse import TaskStreams
from ips_flows.server.static import StaticPages
from ips_flows.server.task_cache import CacheIntervals, TaskCache

_DRAIN_SECONDS = 15
_IDLE_SECONDS = 65  # longer than proxies keep idle connections, so that the proxy closes first


class Worker(Protocol):
    """Background work of the server."""

    def alive(self) -> bool:
        """Return whether the work still runs."""
        ...

    def not_ready(self) -> str | None:
        """Return why it is not in sync with the API server, or None."""
        ...


class RequestCounter(Protocol):
    """Counter of served requests, with an exposition for Prometheus."""

    def expect(self, routes: Iterable[tuple[str, str, int]]) -> None:
        """Create the series of these responses (method, route, code) in advance."""
        ...

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count one response."""
        ...

    def exposition(self, accept: str = "") -> tuple[str, bytes]:
        """Return content type and body of /metrics. Safe to call from any thread."""
        ...


@dataclass(slots=True)
class ServerHealth:
    """State that the probes report: keeper, task cache, shutdown."""

    keeper: Worker
    task_cache: TaskCache
    draining: bool = False

    def alive(self) -> bool:
        """Return whether keeper and task cache still run."""
        return self.keeper.alive() and self.task_cache.alive()

    def not_ready(self) -> str | None:
        """Return why the server should get no requests, or None."""
        if self.draining:
            return "the server is shutting down"
        return self.keeper.not_ready() or self.task_cache.not_ready()

    def degraded(self) -> str | None:
        """Return what works only in part, or None."""
        return self.task_cache.degraded()


class _Server(uvicorn.Server):
    """uvicorn server that reports "not ready" on SIGTERM and stops accepting connections `linger` seconds later."""

    def __init__(
        self, config: uvicorn.Config, state: ServerHealth, streams: TaskStreams, linger: float
    ) -> None:
        super().__init__(config)
        self._state = state
        self._streams = streams
        self._linger = linger

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Linger after the first SIGTERM. Shut down immediately on SIGINT or a second signal."""
        if self._state.draining or sig != signal.SIGTERM or not self._linger:
            self._state.draining = True
            self._end()
            return
        self._state.draining = True
        timer = threading.Timer(self._linger, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        self._streams.close()
        self.should_exit = True


def serve(
    kube: Kube,
    namespace: str,
    host: str,
    port: int,
    *,
    authorizer: Authorizer,
    argo_url: str = "",
    linger: float = 0.0,
    keeper_intervals: KeeperIntervals | None = None,
    cache_intervals: CacheIntervals | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Raises IpsFlowError, before anything starts, if the address is not available."""
    listener = _listen(host, port)
    jsonlog.start()
    keeper = Keeper(kube, namespace, _identity(), intervals=keeper_intervals)
    metrics = Metrics(kube, namespace, keeper)
    task_cache = TaskCache(kube, namespace, (metrics,), intervals=cache_intervals)
    state, streams = ServerHealth(keeper, task_cache), TaskStreams(task_cache)
    config = uvicorn.Config(
        application(
            kube,
            namespace,
            state=state,
            streams=streams,
            authorizer=authorizer,
            metrics=metrics,
            argo_url=argo_url,
        ),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    server = _Server(config, state, streams, linger)
    # uvicorn installs its own handlers while it runs. These handle a signal before or after that.
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        keeper.start()
        metrics.start()
        task_cache.start()
        threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
        address = listener.getsockname()
        jsonlog.info("listening", host=address[0], port=address[1], namespace=namespace)
        server.run(sockets=[listener])
    finally:
        task_cache.stop()
        metrics.stop()
        keeper.stop()
        listener.close()
        for number, handler in before.items():
            signal.signal(number, handler)
        jsonlog.info("ended")


def application(
    kube: Kube,
    namespace: str,
    *,
    state: ServerHealth,
    streams: TaskStreams,
    authorizer: Authorizer,
    metrics: RequestCounter | None = None,
    argo_url: str = "",
) -> Middleware:
    """Return the complete ASGI application."""
    tasks = TaskRoutes(kube, namespace, state.task_cache, streams, authorizer)
    pages = StaticPages(
        config={
            "argoUrl": argo_url or None,
            "namespace": namespace,
            "auth": authorizer.kind,
            "version": __version__,
        }
    )
    app = create_app(state, tasks, pages, exposition=metrics.exposition if metrics else None)
    if metrics:
        metrics.expect(known_responses(app))
    return Middleware(
        app,
        authorizer,
        draining=lambda: state.draining,
        served=metrics.request if metrics else _not_counted,
    )


def _not_counted(*_: object) -> None:
    """Ignore a request when there are no metrics."""


def _warm_up() -> None:
    """Import hera (about a second) in advance, so that the first submit does not wait for it."""
    importlib.import_module("ips_flows.argo.task_workflow")
    # Imported modules stay for ever. Frozen, they are skipped by full collections, which block every request.
    gc.collect()
    gc.freeze()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        raise IpsFlowError(
            f"can't listen on {host}, port {port}: {error.strerror or error}",
            hint="Choose another address with --host and --port.",
        ) from error
    return listener


def _identity() -> str:
    """Return the holder identity of this process. It starts with the pod name; a restarted container gets a new one."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
