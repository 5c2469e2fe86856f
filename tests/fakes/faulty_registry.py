"""A proxy in front of the real registry that injects faults."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.fakes.free_port import first_free

Fault = Literal["none", "401", "404", "429", "500", "truncated", "held"]

_BODIES = {
    "401": '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
    "404": '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
    "429": '{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}',
    "500": '{"errors":[{"code":"UNKNOWN","message":"out of order"}]}',
}


class FaultyRegistry:
    """Pass every request on to `upstream` (`host:port`), unless a fault is set.

    `asked` counts the requests for manifests. The fault `held` delays these requests until the next `misbehave`.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.address = ""
        self.asked = 0
        self._fault: Fault = "none"
        self._left: int | None = None
        self._lock = threading.Condition()

    def misbehave(self, fault: Fault, left: int | None = None) -> None:
        """Set the fault, for `left` responses or, with None, until the next call."""
        with self._lock:
            self._fault, self._left = fault, left
            self._lock.notify_all()

    def next_fault(self, path: str) -> Fault:
        """Return the fault of the next response. `truncated` applies to blobs, all other faults to manifests."""
        with self._lock:
            manifest = "/manifests/" in path
            self.asked += manifest
            self._lock.wait_for(lambda: self._fault != "held" or not manifest)
            applies = "/blobs/" in path if self._fault == "truncated" else manifest
            if not applies or self._left == 0:
                return "none"
            if self._left is not None:
                self._left -= 1
            return self._fault


@contextmanager
def faulty_registry(host: str, ports: Iterable[int], upstream: str) -> Iterator[FaultyRegistry]:
    """Run a faulty registry on the first free port."""
    registry = FaultyRegistry(upstream)

    class Handler(_Handler):
        faulty = registry

    server = first_free(ports, lambda port: ThreadingHTTPServer((host, port), Handler))
    registry.address = f"{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.misbehave("none")
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    faulty: FaultyRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self) -> None:
        fault = self.faulty.next_fault(self.path)
        if fault in _BODIES:
            body = _BODIES[fault].encode()
            self.send_response(int(fault))
            if fault == "429":
                self.send_header("Retry-After", "1")
            self._send(body, len(body), {"Content-Type": "application/json"})
            return
        connection = http.client.HTTPConnection(self.faulty.upstream, timeout=30)
        passed = {key: value for key, value in self.headers.items() if key.lower() in ("accept", "range")}
        try:
            connection.request(self.command, self.path, headers=passed)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):  # the upstream registry is unavailable
            connection.close()
            self.close_connection = True
            return
        self.send_response(response.status)
        kept = ("content-type", "docker-content-digest", "content-range", "accept-ranges")
        headers = {key: value for key, value in response.getheaders() if key.lower() in kept}
        length = int(response.getheader("Content-Length") or len(body))
        connection.close()
        if fault == "truncated":
            body = body[: len(body) // 2]
            self.close_connection = True
        self._send(body, length, headers)

    def _send(self, body: bytes, length: int, headers: dict[str, str]) -> None:
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
