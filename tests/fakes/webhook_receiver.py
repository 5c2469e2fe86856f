"""A webhook receiver on real HTTP or HTTPS. It sends the given replies and records the requests."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.fakes.free_port import first_free


@dataclass(frozen=True)
class Reply:
    """A response. `trickle` sends a header slowly, byte by byte; `silent` sends nothing. Both last until the end."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    trickle: bool = False
    silent: bool = False
    endless: bool = False  # the body never ends


@dataclass(frozen=True)
class Received:
    """A received request."""

    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def id(self) -> str:
        """Return the id of the message."""
        return self.headers["webhook-id"]

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Receiver:
    """Queue of replies, then 204; record of all requests. `ended` is set when the test is over."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.received: list[Received] = []
        self.replies: list[Reply] = []
        self.otherwise = Reply(204)
        self.ended = threading.Event()
        self.changed = threading.Condition()

    def will(self, *replies: Reply) -> None:
        """Set the next replies, in this order."""
        self.replies = list(replies)

    def take(self, one: Received) -> Reply:
        """Record a request; return its reply."""
        with self.changed:
            self.received.append(one)
            self.changed.notify_all()
            return self.replies.pop(0) if self.replies else self.otherwise

    @property
    def ids(self) -> list[str]:
        """Return the ids of all messages, in order."""
        return [one.id for one in self.received]

    @property
    def events(self) -> list[tuple[str, str]]:
        """Return each distinct id with its event, in order."""
        return list(dict.fromkeys((one.id, one.json()["event"]) for one in self.received))


@contextlib.contextmanager
def receiving(
    host: str = "127.0.0.1", ports: Iterable[int] = (0,), *, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """Run a receiver on the first free port."""
    receiver = Receiver()

    class Handler(_Handler):
        to = receiver

    server = first_free(ports, lambda port: _Server((host, port), Handler))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    receiver.url = f"{'https' if tls else 'http'}://{host}:{receiver.port}/hook?token=t0ps3cret"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def certificate(folder: Path, name: str = "hooks.example") -> tuple[ssl.SSLContext, str]:
    """Create a certificate for a name; return the server's context and the file that a client must trust."""
    key, file = folder / "key.pem", folder / "certificate.pem"
    request = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
    names = ["-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run(
        ["openssl", *request.split(), *names, "-keyout", str(key), "-out", str(file)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return context, str(file)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Ignore errors: tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    to: Receiver

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.to.take(Received(self.path, headers, body))
        with contextlib.suppress(OSError):
            self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        if reply.silent:
            self.to.ended.wait(30)
            return
        if reply.trickle:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.to.ended.wait(0.02):
                self.wfile.write(b"x")
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if not reply.endless:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        while reply.endless and not self.to.ended.is_set():
            self.wfile.write(b"x" * 65536)
