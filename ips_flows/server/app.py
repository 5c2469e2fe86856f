"""The FastAPI application: routes, health, metrics, error responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ips_flows.core.errors import IpsFlowError
from ips_flows.core.escape import escape
from ips_flows.core.rest.responses import ApiResponse, error_response
from ips_flows.core.version import __version__
from ips_flows.server.middleware import REQUEST_ID

_TROUBLE = (500, 503)  # codes that every route may return

Exposition = Callable[[str], tuple[str, bytes]]  # an Accept header → content type and text of /metrics


class Health(Protocol):
    """Health of the background work."""

    def alive(self) -> bool:
        """Return whether the work still runs; if not, the process must be restarted."""
        ...

    def not_ready(self) -> str | None:
        """Return why it is not in sync with the API server, or None."""
        ...

    def degraded(self) -> str | None:
        """Return what works only in part although it is in sync, or None."""
        ...


class Router(Protocol):
    """A group of routes."""

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        ...


def create_app(state: Health, *parts: Router, exposition: Exposition | None = None) -> FastAPI:
    """Return the application. `exposition` makes the response of /metrics."""
    app = FastAPI(title="IPS Flow", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.router.redirect_slashes = False
    _add_health(app, state)
    if exposition:
        _add_metrics(app, exposition)
    for part in parts:
        part.add_to(app)
    app.add_exception_handler(IpsFlowError, _on_error)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    return app


def _add_health(app: FastAPI, state: Health) -> None:
    @app.get("/health")
    @app.get("/healthz")
    async def health() -> JSONResponse:
        """Return 200 while the background work runs, else 503."""
        alive = state.alive()
        return JSONResponse({"status": "ok" if alive else "stuck"}, 200 if alive else 503)

    @app.get("/readyz")
    async def ready() -> JSONResponse:
        """Return 200 while in sync with the API server, else 503 with the reason."""
        why, short = state.not_ready(), state.degraded()
        if why:
            return JSONResponse({"status": "not ready", "reason": why}, 503)
        return JSONResponse({"status": "degraded", "reason": short} if short else {"status": "ok"})


def known_responses(app: FastAPI) -> list[tuple[str, str, int]]:
    """Return the responses whose series exist from the start: (method, route template, code)."""
    return [
        (method, route.path, code)
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
        for code in (route.status_code or 200, *_TROUBLE)
    ]


def _add_metrics(app: FastAPI, exposition: Exposition) -> None:
    @app.get("/metrics")
    def metrics(request: Request) -> Response:
        """Return the metrics as Prometheus text or OpenMetrics."""
        content_type, body = exposition(request.headers.get("Accept", ""))
        return Response(body, headers={"Content-Type": content_type})


def _respond(request: Request, answer: ApiResponse) -> Response:
    body = answer.body(request.scope.get(REQUEST_ID, ""))
    return Response(body, answer.status, media_type="application/json", headers=dict(answer.headers))


async def _on_error(request: Request, error: Any) -> Response:
    return _respond(request, error_response(error))


async def _on_http(request: Request, error: Any) -> Response:
    """Respond to an unknown route or a wrong method."""
    text, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == 404:
        text = f"no route {escape(request.url.path[:300])}"
    elif error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
        text = f"got method {request.method}; allowed: {headers['Allow']}"
    return _respond(request, ApiResponse(error.status_code, {"error": text}, headers))


def _methods(request: Request) -> list[str]:
    """Return the methods that all routes of a path allow together."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


async def _on_bug(request: Request, _: Any) -> Response:
    """Respond to an unexpected exception. The log has the traceback and the request ID."""
    return _respond(request, ApiResponse(500, {"error": "internal error; the server log has the traceback"}))
