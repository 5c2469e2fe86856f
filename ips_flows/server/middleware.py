"""ASGI middleware: request ID, request log, headers common to all responses."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ips_flows.core.escape import escape
from ips_flows.core.rest.responses import HttpError, error_response
from ips_flows.jsonlog import info
from ips_flows.server.auth import Authorizer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "ips.request-id"  # in the scope
USER = "ips.user"  # in the scope, once authorized
PROBES = frozenset({"/health", "/healthz", "/readyz", "/metrics"})  # probes use any Host

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")


class Middleware:
    """ASGI application that wraps another one."""

    def __init__(
        self,
        app: App,
        authorizer: Authorizer,
        *,
        draining: Callable[[], bool],
        served: Callable[[str, str, int, float], None],
    ) -> None:
        self._app = app
        self._authorizer = authorizer
        self._draining = draining
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        asked = headers.get("x-request-id", "")
        request_id = asked if _SANE_ID.fullmatch(asked) else secrets.token_hex(8)
        scope[REQUEST_ID] = request_id
        began = time.perf_counter()
        status, sent = 500, 0

        async def told(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(request_id)]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            try:
                if scope["path"] not in PROBES:
                    self._authorizer.check_origin(scope["method"], headers)
            except HttpError as error:
                await _refuse(error, request_id, told)
            else:
                await self._app(scope, receive, told)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "")
            self._served(scope["method"], route, status, seconds)
            if status >= 400 or scope["path"] not in PROBES:
                info(
                    "request",
                    requestId=request_id,
                    method=scope["method"],
                    path=escape(scope["path"])[:300],
                    status=status,
                    bytes=sent,
                    seconds=round(seconds, 4),
                    client=(scope.get("client") or ("",))[0],
                    user=scope.get(USER, ""),
                )

    def _headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]
        if self._draining():  # the client must connect to another server for its next request
            headers.append((b"connection", b"close"))
        return headers


async def _refuse(error: HttpError, request_id: str, send: Send) -> None:
    answer = error_response(error)
    body = answer.body(request_id)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **answer.headers}
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [(key.lower().encode(), value.encode()) for key, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
