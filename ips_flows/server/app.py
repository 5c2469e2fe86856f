"""The routes of the server. It has no state of its own: what they tell comes from whoever is handed in."""

from __future__ import annotations

from typing import Protocol

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse

from ips_flows import __version__


class Condition(Protocol):
    """How the work behind the server is."""

    def alive(self) -> bool:
        """Whether it goes on; if not, the process is to be started anew."""
        ...

    def not_ready(self) -> str:
        """Why it is not in step with the API server; '' when it is."""
        ...


def create_app(condition: Condition) -> FastAPI:
    """The application: one router for each part."""
    app = FastAPI(title="IPS Flow", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_health(condition))
    return app


def _health(condition: Condition) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    @router.get("/healthz")
    def health() -> JSONResponse:
        """200 while the work goes on, else 503."""
        alive = condition.alive()
        return JSONResponse({"status": "ok" if alive else "stuck"}, 200 if alive else 503)

    @router.get("/readyz")
    def ready() -> JSONResponse:
        """200 while in step with the API server, else 503 and why."""
        why = condition.not_ready()
        return JSONResponse(
            {"status": "not ready", "reason": why} if why else {"status": "ok"}, 503 if why else 200
        )

    return router
