"""Delivery of a webhook notification to a checked address, within a time limit.

A receiver may be slow, send single bytes, send endless data, or redirect. So a timer closes the connection of each try,
responses are read up to a limit, and redirects are not followed.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from ips_flows.core import clock
from ips_flows.core.notice import signature
from ips_flows.core.notice.formats import FORMATS
from ips_flows.core.notice.formats.format import Payload
from ips_flows.core.notice.notice import Outcome
from ips_flows.core.notice.targets import (
    AllowedTarget,
    ForbiddenTargetError,
    Resolver,
    Rules,
    allowed_target,
    shown_url,
)
from ips_flows.core.request.choices import WebhookFormat
from ips_flows.core.version import __version__

BUDGET_SECONDS = 45.0  # for a whole delivery; meanwhile the task may occupy a slot of the queue
_TRIES = 4  # the first try and three retries
_BACKOFF_SECONDS = (1.0, 2.0, 4.0)
_LEAST_SECONDS = 1.0  # do not start a try with less time than this
_ANSWER_BYTES = 64 * 1024
_SCHEMES = {"http": 80, "https": 443}
_TRANSIENT = frozenset({408, 425, 429})  # statuses that are retried, in addition to 5xx


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook notification and its URL. `secret` signs it; with an empty secret it is not signed."""

    url: str
    payload: Payload
    id: str
    format: WebhookFormat = "json"
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Result of a delivery. `status` is the last HTTP status; `not_before` is the receiver's Retry-After in RFC 3339."""

    outcome: Outcome
    status: int | None = None
    reason: str = ""
    tries: int = 0
    not_before: str = ""


def resolve_host(host: str, port: int) -> list[str]:
    """Resolve a host with the system's resolver, which accepts IP addresses in any notation."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(entry[4][0]) for entry in found]


@dataclass(frozen=True, slots=True)
class DeliveryIO:
    """Resolver, clock and TLS trust of a delivery; tests pass their own. `try_seconds` limits one try."""

    resolve: Resolver = resolve_host
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = clock.now
    verify: bool | str = True  # True, or a file of trusted certificates
    try_seconds: float = 10.0


class _Response(NamedTuple):
    status: int
    retry_after: str
    body: bytes


class _FailedError(Exception):
    """A try failed. The message contains no text of a library, which might include the URL's path."""


def deliver(
    message: Message, rules: Rules, io: DeliveryIO | None = None, *, seconds: float = BUDGET_SECONDS
) -> Delivery:
    """Deliver a notification within `seconds`. An invalid receiver, host name or key raises no error."""
    io = io or DeliveryIO()
    end = io.monotonic() + seconds
    try:
        if message.secret:
            signature.signing_key(message.secret)  # raises before anything is sent
        target = _checked_target(message.url, rules, io)
    except ForbiddenTargetError as error:
        return Delivery("refused", reason=str(error))
    except _FailedError as error:
        return Delivery("undelivered", reason=str(error))
    except ValueError as error:
        return Delivery("undelivered", reason=f"secret: {error}")
    connection = _Connection(message, target, io)
    found, wait = Delivery("undelivered", reason="no time left for a try"), 0.0
    for number in range(_TRIES):
        left = end - io.monotonic() - wait
        if left < min(_LEAST_SECONDS, io.try_seconds):
            break
        if wait:
            io.sleep(wait)
        found, pause = connection.one_try(number, min(left, io.try_seconds))
        if pause is None:
            break
        wait = max(pause, _BACKOFF_SECONDS[min(number, len(_BACKOFF_SECONDS) - 1)])
    return found


def _checked_target(url: str, rules: Rules, io: DeliveryIO) -> AllowedTarget:
    """Check a URL as `requests` parses it, so that the checked host is the host that is connected to."""
    try:
        read = str(requests.Request("POST", url).prepare().url)
        if urlsplit(read).scheme not in _SCHEMES or not urlsplit(read).hostname:
            raise _FailedError("the URL is not an http or https URL")
    except (requests.RequestException, ValueError) as error:
        raise _FailedError("the URL is invalid") from error
    try:
        return allowed_target(read, rules, functools.partial(_resolve, io))
    except OSError as error:
        raise _FailedError(f"{shown_url(url)}: {error.strerror or error}") from error


def _resolve(io: DeliveryIO, host: str, port: int) -> Iterable[str]:
    """Resolve a host within the time limit of a try; the system's resolver itself has no time limit."""
    found: list[Iterable[str]] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            found.append(list(io.resolve(host, port)))
        except OSError as error:
            failed.append(error)
        except UnicodeError:
            failed.append(OSError("the host name is invalid"))

    thread = threading.Thread(target=run, name="resolver", daemon=True)
    thread.start()
    thread.join(io.try_seconds)
    if failed:
        raise failed[0]
    if not found:
        raise OSError(f"the host name was not resolved within {io.try_seconds:g} s")
    return found[0]


@dataclass(frozen=True, slots=True)
class _Connection:
    """Tries to send one notification to one target."""

    message: Message
    target: AllowedTarget
    io: DeliveryIO

    def one_try(self, number: int, seconds: float) -> tuple[Delivery, float | None]:
        """Return the result of try 0, 1, … and the minimum pause before the next try; None means no further try."""
        tries = number + 1
        address = self.target.addresses[number % len(self.target.addresses)]
        try:
            answer = self._send(address, seconds)
        except _FailedError as error:
            return Delivery("undelivered", None, str(error), tries), 0.0
        status = answer.status
        if 200 <= status <= 299:
            why = FORMATS[self.message.format].rejection(status, answer.body)
            if why is None:
                return Delivery("delivered", status, tries=tries), None
            return Delivery("undelivered", status, why, tries), 0.0
        if status == 410:
            return Delivery("gone", status, _status_text(status), tries), None
        if status not in _TRANSIENT and status < 500:
            # The receiver must be fixed first, so the next round tries again, not this one.
            return Delivery("undelivered", status, _status_text(status), tries), None
        now = self.io.now()
        asked = clock.retry_after(answer.retry_after, now)
        not_before = clock.stamp(now + timedelta(seconds=asked)) if asked else ""
        return Delivery("undelivered", status, _status_text(status), tries, not_before), asked

    def _send(self, address: str, seconds: float) -> _Response:
        """Send the request once. Raises _FailedError without a response."""
        line = _Line()
        adapter = _Pinned(self.target, address, line)
        try:
            # Do not use a Session: it reads the whole body of a redirect, even if it does not follow it.
            with (
                contextlib.closing(adapter),
                _cut_after(line, seconds),
                adapter.send(
                    self._prepared(), stream=True, timeout=seconds, verify=self.io.verify
                ) as response,
            ):
                if line.is_cut:  # the library accepts incomplete headers
                    raise TimeoutError
                retry_after = str(response.headers.get("Retry-After") or "")
                return _Response(response.status_code, retry_after, _read(response))
        except (requests.RequestException, HTTPError, OSError) as error:
            # The socket's own time limit is the same, so either may come first.
            timed_out = line.is_cut or any(
                isinstance(one, TimeoutError | requests.Timeout) for one in _causes(error)
            )
            why = f"no response within {seconds:.2g} s" if timed_out else _error_text(error)
            raise _FailedError(f"{shown_url(self.message.url)}: {why}") from error

    def _prepared(self) -> requests.PreparedRequest:
        """Prepare the request of this try, with its time and signature."""
        message, target, now = self.message, self.target, self.io.now()
        body = message.payload.body
        name = f"[{target.name}]" if ":" in target.name else target.name
        signed = FORMATS[message.format].sign(
            message.url, body, message_id=message.id, at=now, secret=message.secret
        )
        headers = {
            "Host": name if target.port == _SCHEMES[target.scheme] else f"{name}:{target.port}",
            "Content-Type": message.payload.content_type,
            "User-Agent": f"ips-flow/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",  # responses are not decompressed
            "Connection": "close",
            "Idempotency-Key": message.id,
            **signed.headers,
        }
        return requests.Request("POST", signed.url, headers=headers, data=body).prepare()


def _read(response: requests.Response) -> bytes:
    """Read the start of the body. If the connection fails here, the status still counts."""
    try:
        return bytes(response.raw.read(_ANSWER_BYTES, decode_content=False))
    except (HTTPError, OSError):
        return b""


class _Line:
    """The sockets of one try. Another thread can shut them down while any layer waits for data."""

    def __init__(self) -> None:
        self.is_cut = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def hold(self, connected: socket.socket) -> None:
        """Add a duplicate of a socket, because TLS takes over the original."""
        with self._lock:
            self._sockets.append(connected.dup())
        if self.is_cut:
            self.cut()

    def cut(self) -> None:
        """Shut the connection down, so that blocked reads and writes return."""
        self.is_cut = True
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the duplicates."""
        with self._lock:
            while self._sockets:
                self._sockets.pop().close()


@contextlib.contextmanager
def _cut_after(line: _Line, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, line.cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        line.close()


class _Http(HTTPConnection):
    line: _Line

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        self.line.hold(connected)
        return connected


class _Https(HTTPSConnection):
    line: _Line

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        self.line.hold(connected)
        return connected


class _Pinned(HTTPAdapter):
    """Connects to a given address instead of the URL's host; the Host header and TLS use the host name."""

    def __init__(self, target: AllowedTarget, address: str, line: _Line) -> None:
        self._target = target
        self._address = address
        self._line = line
        super().__init__(max_retries=0)

    def build_connection_pool_key_attributes(self, *arguments: Any, **named: Any) -> Any:
        """Return the address to connect to, and the host name to expect in its certificate."""
        host, tls = super().build_connection_pool_key_attributes(*arguments, **named)
        there = {"scheme": self._target.scheme, "host": self._address, "port": self._target.port}
        expected = {"server_hostname": self._target.name} if self._target.scheme == "https" else {}
        return {**host, **there}, {**tls, **expected}

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        """Return a pool whose connections register their sockets."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **named)
        kind = _Https if self._target.scheme == "https" else _Http
        pool.ConnectionCls = type(kind.__name__, (kind,), {"line": self._line})
        return pool


def _status_text(status: int) -> str:
    if 300 <= status <= 399:
        return f"HTTP {status}: redirects are not followed"
    return f"HTTP {status}"


def _error_text(error: BaseException) -> str:
    """Return the reason of a failed connection, without the library's text, which contains the whole URL."""
    for one in _causes(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"TLS: {one.verify_message}"
        if isinstance(one, ssl.SSLError):
            return f"TLS: {(one.reason or 'handshake failed').replace('_', ' ').lower()}"
    for one in _causes(error):
        if isinstance(one, OSError) and one.errno and one.strerror:
            return one.strerror.lower()
    return "the connection was lost"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors in its causes, contexts and arguments."""
    pending, known = [error], set[int]()
    while pending:
        one = pending.pop(0)
        if id(one) in known:
            continue
        known.add(id(one))
        yield one
        nested = [one.__cause__, one.__context__, *one.args, getattr(one, "reason", None)]
        pending += [other for other in nested if isinstance(other, BaseException)]
