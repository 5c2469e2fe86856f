"""Static files: the page and the API description, with a strict Content-Security-Policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from ips_flows.core.rest.openapi import document
from ips_flows.core.rest.responses import encode_json

_HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # revalidate by ETag, so that an upgrade shows immediately
}
_DOCS = ("docs.css", "docs.js")


class StaticPages:
    """Routes `/`, `/web/`, `/docs` and `/openapi.json`. `config` becomes /web/config.json, which the page reads first."""

    def __init__(self, web: Path = _HERE / "web", *, config: Mapping[str, str | None] | None = None) -> None:
        self._config = encode_json(dict(config)) if config else b""
        self._web = web

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        app.add_api_route("/", _to_the_page, response_model=None)
        app.add_api_route("/web", _to_the_page, response_model=None)
        app.add_api_route("/docs", _docs, response_model=None)
        app.add_api_route("/docs/{name}", _docs, response_model=None)
        app.add_api_route("/openapi.json", _openapi, response_model=None)
        if self._config:
            app.add_api_route("/web/config.json", self._tell_config, response_model=None)
        if self._web.is_dir():
            app.mount("/web", _Guarded(directory=self._web, html=True))

    async def _tell_config(self) -> Response:
        return Response(self._config, media_type="application/json", headers={"Cache-Control": "no-store"})


class _Guarded(StaticFiles):
    """Static files with the security headers of a page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return one file, or 304 if it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_HEADERS)
        return response


async def _to_the_page() -> Response:
    return RedirectResponse("/web/", 307)


async def _docs(name: str = "index.html") -> Response:
    if name != "index.html" and name not in _DOCS:
        return RedirectResponse("/docs", 307)
    return FileResponse(_HERE / "docs" / name, headers=dict(_HEADERS))


async def _openapi() -> Response:
    return Response(
        encode_json(document()), media_type="application/json", headers={"Cache-Control": "no-cache"}
    )
