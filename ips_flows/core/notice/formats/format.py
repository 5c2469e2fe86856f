"""Interface of a webhook format: render an event, sign a request, check a response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from ips_flows.core.notice import signature
from ips_flows.core.notice.event import Event, compact_json


@dataclass(frozen=True, slots=True)
class Payload:
    """A request body and its content type."""

    body: bytes
    content_type: str


class Signed(NamedTuple):
    """The URL of a request, and the headers with its ID, time and signature."""

    url: str
    headers: dict[str, str]


class Signer(Protocol):
    """A function that signs a request."""

    def __call__(self, url: str, body: bytes, *, message_id: str, at: datetime, secret: str) -> Signed:
        """Sign one try of a request. An empty `secret` leaves it unsigned."""


def standard_webhooks(url: str, body: bytes, *, message_id: str, at: datetime, secret: str) -> Signed:
    """Sign in the headers of Standard Webhooks. ValueError if the secret is not a valid key."""
    key = signature.signing_key(secret) if secret else None
    return Signed(url, signature.headers(body, message_id=message_id, at=at, key=key))


def accept_2xx(_status: int, _body: bytes) -> None:
    """Accept every 2xx response."""


@dataclass(frozen=True, slots=True)
class Format:
    """One webhook format.

    `meaning` is the description in the README. `rejection` returns why a 2xx response (status, body) is still a
    refusal; None if the receiver accepted the message.
    """

    meaning: str
    render: Callable[[Event], Payload]
    sign: Signer = standard_webhooks
    rejection: Callable[[int, bytes], str | None] = accept_2xx


def json_payload(document: Any, content_type: str = "application/json") -> Payload:
    """Return a document as compact JSON."""
    return Payload(compact_json(document), content_type)
