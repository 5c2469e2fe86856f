"""The application: the routes put together, and what is answered where none fits."""

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

_TROUBLE = (500, 503)  # what each route may answer as well

Exposition = Callable[[str], tuple[str, bytes]]  # an Accept header → content type and text of /metrics


class Health(Protocol):
    """How the work behind the server is."""

    def alive(self) -> bool:
        """Whether it goes on; if not, the process is to be started anew."""
        ...

    def not_ready(self) -> str | None:
        """Why it is not in step with the API server; None when it is."""
        ...

    def degraded(self) -> str | None:
        """What does not go as it should although it is in step; None when all does."""
        ...


class Router(Protocol):
    """Some of the routes."""

    def add_to(self, app: FastAPI) -> None:
        """Serve them."""
        ...


def create_app(state: Health, *parts: Router, exposition: Exposition | None = None) -> FastAPI:
    """The application. `exposition` makes what /metrics answers."""
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
        """200 while the work goes on, else 503."""
        alive = state.alive()
        return JSONResponse({"status": "ok" if alive else "stuck"}, 200 if alive else 503)

    @app.get("/readyz")
    async def ready() -> JSONResponse:
        """200 while in step with the API server, else 503 and why."""
        why, short = state.not_ready(), state.degraded()
        if why:
            return JSONResponse({"status": "not ready", "reason": why}, 503)
        return JSONResponse({"status": "degraded", "reason": short} if short else {"status": "ok"})


def known_responses(app: FastAPI) -> list[tuple[str, str, int]]:
    """Method, template of the route and code of the answers that are to be counted from the start."""
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
        """Prometheus' text, or OpenMetrics."""
        content_type, body = exposition(request.headers.get("Accept", ""))
        return Response(body, headers={"Content-Type": content_type})


def _respond(request: Request, answer: ApiResponse) -> Response:
    body = answer.body(request.scope.get(REQUEST_ID, ""))
    return Response(body, answer.status, media_type="application/json", headers=dict(answer.headers))


async def _on_error(request: Request, error: Any) -> Response:
    return _respond(request, error_response(error))


async def _on_http(request: Request, error: Any) -> Response:
    """No such route, or not by this method."""
    text, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == 404:
        text = f"there is nothing at {escape(request.url.path[:300])}"
    elif error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
        text = f"{request.method} is not allowed here; allowed: {headers['Allow']}"
    return _respond(request, ApiResponse(error.status_code, {"error": text}, headers))


def _methods(request: Request) -> list[str]:
    """What may be done with a path, of which each route knows a part."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


async def _on_bug(request: Request, _: Any) -> Response:
    """What we did not think of: the log has the trace, under the request's id."""
    return _respond(
        request, ApiResponse(500, {"error": "this should not have happened; the server's log has more"})
    )
