"""Webhooks without a network: the requests as the product passes them to the HTTP library."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import requests
from requests.adapters import HTTPAdapter

from ips_flows.webhook.delivery import DeliveryIO
from tests.contracts.examples import NOW


def _resolve(_host: str, _port: int) -> list[str]:
    return ["203.0.113.7"]


@dataclass
class Posted:
    """The requests sent, in order, and the product's objects for sending."""

    requests: list[requests.PreparedRequest] = field(default_factory=list)
    io: DeliveryIO = field(default_factory=lambda: DeliveryIO(resolve=_resolve, now=lambda: NOW))


@contextlib.contextmanager
def hooked(body: bytes = b"ok") -> Iterator[Posted]:
    """Record requests instead of sending them; the response is 200 with this body."""
    posted = Posted()

    def send(_: HTTPAdapter, request: requests.PreparedRequest, **_settings: Any) -> Any:
        posted.requests.append(request)
        raw = SimpleNamespace(read=lambda *_, **__: body)
        return contextlib.nullcontext(SimpleNamespace(status_code=200, headers={}, raw=raw))

    with mock.patch.object(HTTPAdapter, "send", send):
        yield posted
