"""Interface of a webhook format: how it writes an event, signs a request and reads an answer."""

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
    """The URL of a request, and the headers with its id, its time and its signature."""

    url: str
    headers: dict[str, str]


class Signer(Protocol):
    """A way to sign a request."""

    def __call__(self, url: str, body: bytes, *, message_id: str, at: datetime, secret: str) -> Signed:
        """Sign one try of a request. An empty `secret` leaves it unsigned."""


def standard_webhooks(url: str, body: bytes, *, message_id: str, at: datetime, secret: str) -> Signed:
    """Sign in the headers of Standard Webhooks. ValueError for a secret that is no key."""
    key = signature.signing_key(secret) if secret else None
    return Signed(url, signature.headers(body, message_id=message_id, at=at, key=key))


def accept_2xx(_status: int, _body: bytes) -> None:
    """Every 2xx answer means that the receiver took the message."""


@dataclass(frozen=True, slots=True)
class Format:
    """One webhook format.

    `meaning` is for the documents. `rejection` returns why a 2xx answer (status, body) is still a refusal; None if the
    receiver took the message.
    """

    meaning: str
    render: Callable[[Event], Payload]
    sign: Signer = standard_webhooks
    rejection: Callable[[int, bytes], str | None] = accept_2xx


def json_payload(document: Any, content_type: str = "application/json") -> Payload:
    """A document as compact JSON."""
    return Payload(compact_json(document), content_type)
