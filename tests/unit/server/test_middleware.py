"""Common to all requests: ids, limits, shape of errors, log line."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator

import pytest

from ips_flows.core.rest import schemas
from ips_flows.jsonlog import JsonLines
from ips_flows.kube.client import Kube
from ips_flows.kube.list_watch import Event
from tests.fakes.apiserver import ApiServer
from tests.support.rest_harness import Rest, serving

ROOT = "/api/v1/tasks"
MIB = 1024 * 1024


@pytest.fixture
def rest(server: ApiServer, kube: Kube) -> Iterator[Rest]:
    with serving(server, kube) as one:
        yield one


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-1.2:3_4", True), ("a b", False), ("x" * 101, False), ("é", False)]
)
def test_a_request_has_an_id(rest: Rest, sent: str, *, kept: bool) -> None:
    """A valid id is kept, an invalid one is replaced; header and error body have it."""
    found = rest.call("GET", "/nowhere", headers={"X-Request-Id": sent.encode().decode("latin-1")})
    given = found.headers["x-request-id"]
    assert found.json["requestId"] == given
    assert (given == sent) == kept
    assert re.fullmatch(r"[A-Za-z0-9._:-]+", given)


def test_unknown_paths_and_methods(rest: Rest) -> None:
    """404 and 405 are JSON too; 405 lists the allowed methods."""
    nowhere = rest.get("/api/v2/tasks")
    assert (nowhere.status, nowhere.json["error"]) == (404, "no route /api/v2/tasks")
    assert rest.get(f"{ROOT}/").status == 404
    for path, allowed in ((ROOT, "GET, POST"), (f"{ROOT}/a", "DELETE, GET"), (f"{ROOT}/a/retry", "POST")):
        found = rest.call("PUT", path)
        assert (found.status, found.headers["allow"]) == (405, allowed)
        assert found.json["error"] == f"got method PUT; allowed: {allowed}"
        schemas.Error.model_validate_json(found.body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body: got an empty text; allowed: a mapping with the field images, or a list of images"),
        (b'{"images": ["a"],}', "body:1:18: not valid JSON: expecting property name enclosed in double quotes"),
        (b"images: [a]", "body:1:1: not valid JSON: expecting value"),
        (b'{"images": ["a"]} {}', "body:1:19: not valid JSON: extra data"),
        (b'{"images": ["a"], "images": ["b"]}', "body:1:19: images: duplicate key, first used in line 1"),
        (b'{"images": ["NaN"],\n "priority": NaN}', "body:2:14: not valid JSON: got NaN; allowed: a number, or null"),
        (b'{"images": ["a"], "priority": -Infinity}', "body:1:31: not valid JSON: got -Infinity; allowed: a number, or null"),
        (b'{"images":\n ["caf\xe9"]}', "body:2:7: got the byte 0xe9; allowed: text in UTF-8"),
        (b"5", "body:1:1: got 5; allowed: a mapping with the field images, or a list of images"),
        (b"[" * 100_000, "body: got more than 20 levels of nesting; allowed: at most 20"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_json(rest: Rest, server: ApiServer, body: bytes, said: str) -> None:
    """400 with line and column; no request reaches the cluster."""
    found = rest.call("POST", ROOT, body)
    assert (found.status, found.json["error"]) == (400, said)
    schemas.Error.model_validate_json(found.body)
    assert not [call for call in server.calls if call.startswith("POST") and "reviews" not in call]


def test_a_body_that_is_too_large(rest: Rest) -> None:
    """413, with Content-Length or in chunks; a body of exactly the limit is accepted."""
    for body in (b" " * (MIB + 1), iter([b" " * 65536] * 17)):
        found = rest.call("POST", ROOT, body)
        assert found.status == 413
        assert found.json["error"] == "got a body of more than 1 MiB; allowed: at most 1 MiB"
    just = b'{"images": ["busybox:1"]}'
    assert rest.call("POST", ROOT, just + b" " * (MIB - len(just))).status == 201
    assert rest.call("POST", ROOT, iter([just[:5], just[5:]])).status == 201


def test_a_body_that_is_compressed(rest: Rest) -> None:
    """415: content encodings are not supported."""
    found = rest.call("POST", ROOT, b"x", {"Content-Encoding": "gzip"})
    assert (found.status, found.json["error"]) == (415, "got content encoding 'gzip'; allowed: none")


def test_each_request_is_a_line_of_the_log(rest: Rest, caplog: pytest.LogCaptureFixture) -> None:
    """With id, user, status and time; never with token or query. Paths are escaped. Probes are not logged."""
    with caplog.at_level(logging.INFO, "ips_flows.server"):
        rest.call("GET", f"{ROOT}?status=secret", headers={"X-Request-Id": "one"})
        rest.get("/a%0Ab%1B")
        rest.get("/health")
    lines = [JsonLines().format(record) for record in caplog.records if record.message == "request"]
    first, second = (json.loads(line) for line in lines)
    assert first["requestId"] == "one"
    assert (first["method"], first["path"], first["status"], first["user"]) == ("GET", ROOT, 400, "bob")
    assert first["seconds"] >= 0
    assert second["path"] == "/a\\nb\\x1b"
    assert not [line for line in lines if "bobs" in line or "secret" in line or "\n" in line]


def test_an_unexpected_exception(
    server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 in the common shape; only the log has the traceback."""

    def broken(*_: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("ips_flows.server.routes.tasks.get_task", broken)
    with serving(server, kube) as rest:
        found = rest.get(f"{ROOT}/a")
    assert found.status == 500
    assert found.json["error"] == "internal error; the server log has the traceback"
    assert found.json["requestId"] == found.headers["x-request-id"]
    assert "the secret reason" in caplog.text


def test_no_list_before_the_first_sync(server: ApiServer, kube: Kube) -> None:
    """Until the tasks are listed once, the list and /readyz return 503; the server is alive."""
    server.fail("GET .*/workflows", 403, "Forbidden", "no right")
    with serving(server, kube) as rest:
        server.await_call("GET .*/workflows")
        end = time.monotonic() + 30
        while "no right" not in rest.get("/readyz").json["reason"]:
            assert time.monotonic() < end
        found = rest.get(ROOT)
        assert (found.status, found.headers["retry-after"]) == (503, "5")
        assert "not listed yet: live, done" in found.json["error"]
        assert "(no right)" in found.json["error"]
        ready = rest.get("/readyz")
        assert (ready.status, ready.json["status"]) == (503, "not ready")
        assert rest.get("/healthz").status == 200


def test_a_server_that_is_shutting_down(rest: Rest) -> None:
    """It is not ready, still responds, and closes each connection."""
    rest.await_list(lambda _: True)
    assert "connection" not in rest.get("/health").headers
    rest.state.draining = True
    ready = rest.get("/readyz")
    assert (ready.status, ready.json["reason"]) == (503, "the server is shutting down")
    found = rest.get(ROOT)
    assert (found.status, found.headers["connection"]) == (200, "close")


class Counter:
    """Metrics that record their calls."""

    def __init__(self) -> None:
        self.collections: set[str] = set()
        self.requests: list[tuple[str, str, int]] = []
        self.expected: set[tuple[str, str]] = set()

    def handle(self, collection: str, event: Event) -> None:
        """Record the collection."""
        assert event
        self.collections.add(collection)

    def expect(self, routes: Iterable[tuple[str, str, int]]) -> None:
        """Record the routes."""
        self.expected = {(method, route) for method, route, _ in routes}

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        """Record a request."""
        assert seconds >= 0
        self.requests.append((method, route, code))

    def exposition(self, accept: str = "") -> tuple[str, bytes]:
        """Return a fixed text."""
        return f"text/{'plain' if 'plain' in accept else 'other'}", b"ips_test 1\n"


def test_metrics_count_requests_and_are_served(server: ApiServer, kube: Kube) -> None:
    """A request is counted by its route, never by task name. /metrics needs no token."""
    metrics = Counter()
    with serving(server, kube, metrics=metrics) as rest:
        rest.await_list(lambda _: True)
        metrics.requests.clear()
        rest.get(f"{ROOT}/nobody")
        rest.get("/nowhere")
        found = rest.call("GET", "/metrics", headers={"Authorization": None, "Accept": "text/plain"})
        assert (found.status, found.body, found.headers["content-type"]) == (
            200,
            b"ips_test 1\n",
            "text/plain",
        )
    assert {("GET", f"{ROOT}/{{task_id}}"), ("POST", ROOT), ("GET", "/metrics")} <= metrics.expected
    assert metrics.collections == {"live", "done", "jobs", "results"}
    assert metrics.requests == [
        ("GET", f"{ROOT}/{{task_id}}", 404),
        ("GET", "", 404),
        ("GET", "/metrics", 200),
    ]


def test_without_metrics_there_is_no_such_route(rest: Rest) -> None:
    """/metrics returns 404."""
    assert rest.get("/metrics").status == 404
