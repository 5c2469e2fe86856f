"""Static files and API description: no third-party code, and no drift from the routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from ips_flows.core.request.model import parse_json
from ips_flows.core.rest import schemas
from ips_flows.core.rest.openapi import REQUEST_EXAMPLE, document
from ips_flows.core.rest.responses import encode_json
from ips_flows.kube.client import Kube
from ips_flows.server import static
from ips_flows.server.app import create_app
from ips_flows.server.auth import NoAuthorizer
from ips_flows.server.routes import TaskRoutes
from ips_flows.server.static import POLICY, StaticPages
from tests.fakes.apiserver import ApiServer
from tests.support.rest_harness import Rest, serving

DOCS = Path(static.__file__).parent / "docs"


@pytest.fixture
def rest(server: ApiServer, kube: Kube) -> Iterator[Rest]:
    with serving(server, kube, NoAuthorizer(())) as one:
        yield one


def test_the_root_leads_to_the_page(rest: Rest) -> None:
    """`/` redirects to the page."""
    for path in ("/", "/web"):
        found = rest.get(path)
        assert (found.status, found.headers["location"]) == (307, "/web/")


def test_the_description_needs_nothing_from_elsewhere(rest: Rest) -> None:
    """/docs loads files of this server only; the policy blocks everything else."""
    found = rest.get("/docs")
    assert (found.status, found.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert found.headers["content-security-policy"] == POLICY
    assert found.headers["x-frame-options"] == "DENY"
    assert found.headers["x-content-type-options"] == "nosniff"
    loaded = re.findall(rb'(?:src|href)="([^"]*)"', found.body)
    assert loaded
    for name in loaded:
        if not name.startswith(b"data:"):
            assert rest.get("/" + name.decode()).status == 200
    for file in DOCS.iterdir():
        text = file.read_text()
        assert not re.search(r"https?://|innerHTML|\son\w+=|style=|eval\(", text), file
    assert b"<script>" not in found.body
    assert b"<style" not in found.body


def test_only_the_files_of_the_description(rest: Rest) -> None:
    """Any other name redirects to /docs and never returns another file."""
    for name in ("..%2fpages.py", "app.js", "%2e%2e"):
        found = rest.get(f"/docs/{name}")
        assert found.status in (307, 404)
        assert b"def " not in found.body


def test_files_of_the_page(
    server: ApiServer, kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Index and files of the page have the policy and are revalidated; parent folders are not served."""
    web = tmp_path / "web"
    web.mkdir()
    (web / "index.html").write_text("<!doctype html><title>x</title>")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr("ips_flows.server.main.StaticPages", lambda **_: StaticPages(web))
    with serving(server, kube, NoAuthorizer(())) as rest:
        found = rest.get("/web/")
        assert (found.status, found.body) == (200, b"<!doctype html><title>x</title>")
        assert found.headers["content-security-policy"] == POLICY
        assert found.headers["cache-control"] == "no-cache"
        same = rest.call("GET", "/web/", headers={"If-None-Match": found.headers["etag"]})
        assert (same.status, same.headers["content-security-policy"]) == (304, POLICY)
        for name in ("nothing.js", "..%2fsecret", "%2e%2e/secret"):
            missing = rest.get(f"/web/{name}")
            assert (missing.status, missing.headers["content-type"]) == (404, "application/json")


def routes(app: FastAPI) -> set[tuple[str, str]]:
    return {(route.path, method.lower()) for route in app.routes for method in getattr(route, "methods", ())}  # type: ignore[attr-defined]


def test_the_description_names_each_route() -> None:
    """The description has every route and no other."""
    parts: Any = TaskRoutes(None, "warm", None, None, None)  # type: ignore[arg-type]
    served = routes(create_app(None, parts, StaticPages(), exposition=lambda _: ("", b"")))  # type: ignore[arg-type]
    for_people = {
        ("/", "get"),
        ("/web", "get"),
        ("/docs", "get"),
        ("/docs/{name}", "get"),
        ("/openapi.json", "get"),
    }
    told = {
        (path, method)
        for path, found in document()["paths"].items()
        for method in found
        if method != "parameters"
    }
    assert told == served - for_people


def test_the_description_is_complete(rest: Rest) -> None:
    """It is served unchanged, each reference resolves, and its example is a valid request."""
    found = rest.get("/openapi.json").json
    assert found == document()
    names = found["components"]["schemas"]
    references = set(re.findall(r'"\$ref":"([^"]*)"', encode_json(found).decode()))
    assert {f"#/components/schemas/{name}" for name in names} >= references
    assert len(references) > 5
    assert parse_json(encode_json(REQUEST_EXAMPLE).decode(), "example").name == "app-1-2"


def test_responses_match_the_description(rest: Rest) -> None:
    """Probes and errors only. The tests of task JSON check tasks."""
    for path in ("/health", "/healthz", "/readyz"):
        schemas.Condition.model_validate_json(rest.get(path).body)
    for path in ("/nowhere", "/api/v1/tasks/nobody", "/api/v1/tasks?limit=0"):
        schemas.Error.model_validate_json(rest.get(path).body)
