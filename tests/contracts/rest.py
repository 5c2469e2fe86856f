"""The REST API: its OpenAPI document, its response in each situation, and its server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from ips_flows.core.errors import IpsFlowError
from ips_flows.core.rest.responses import error_response
from ips_flows.core.rest.task_store import COLLECTIONS, LIVE
from ips_flows.core.rest.trim import trim_workflow
from ips_flows.kube.client import workflows
from ips_flows.kube.list_watch import Replaced
from ips_flows.server.sse import TaskStreams
from tests.contracts.examples import FULL_REQUEST, NAMESPACE, STARTED, TASK, standing_still
from tests.contracts.exits import ERRORS
from tests.contracts.serving import Reply, Served, served
from tests.contracts.wording import without_text

if TYPE_CHECKING:
    from ips_flows.server.task_cache import TaskCache

Json = dict[str, Any]

_ROOT = "/api/v1/tasks"
_HOST = {"Host": "localhost"}
_JSON = {**_HOST, "Content-Type": "application/json"}
_TOKEN = {**_JSON, "Authorization": "Bearer token"}
# Headers whose value differs in each response.
_VARYING = ("content-length", "etag", "last-modified", "x-request-id", "date")


def openapi() -> Json:
    """Return the OpenAPI document that the server serves, without its prose."""
    document: Json = without_text(served().call("GET", "/openapi.json", headers=_HOST).document)
    return document


def rest() -> Json:
    """Return the document: situation → response, errors → status, and the events of a followed task."""
    one = served()
    with standing_still():
        return {
            "answers": {**_probes(one), **_tasks(one), **_refusals(one)},
            "with tokens": _with_tokens(),
            "errors": {
                name: _error(error) for name, error in ERRORS.items() if isinstance(error, IpsFlowError)
            },
            "events": asyncio.run(_events()),
        }


def _probes(one: Served) -> Json:
    paths = ("/health", "/healthz", "/readyz", "/metrics", "/", "/web", "/docs", "/docs/no", "/openapi.json")
    told = {
        path: _told(one.call("GET", path, headers=_HOST)) for path in (*paths, "/web/", "/web/config.json")
    }
    told["/openapi.json"].pop("body")
    return {
        **{f"GET {path}": answer for path, answer in told.items()},
        f"GET {_ROOT} before all was listed": _told(one.call("GET", _ROOT, headers=_HOST)),
    }


def _tasks(one: Served) -> Json:
    """Call the routes of tasks in order: each depends on the calls before it."""
    body = json.dumps(FULL_REQUEST).encode()
    other = json.dumps({"images": ["busybox:1.37"], "name": TASK}).encode()
    told: Json = {}

    def answer(name: str, method: str, path: str, sent: bytes = b"") -> None:
        told[name] = _told(one.call(method, path, body=sent, headers=_JSON))

    answer("submit", "POST", _ROOT, body)
    answer("submit the same again", "POST", _ROOT, body)
    answer("submit another under the same name", "POST", _ROOT, other)
    answer("get", "GET", f"{_ROOT}/{TASK}")
    answer("retry a task that has not ended", "POST", f"{_ROOT}/{TASK}/retry")
    one.tape.objects[workflows(NAMESPACE, TASK)]["status"] = {"phase": "Running", "startedAt": STARTED}
    answer("cancel", "DELETE", f"{_ROOT}/{TASK}")
    one.tape.objects[workflows(NAMESPACE, TASK)]["status"]["phase"] = "Failed"
    answer("cancel a task that has ended", "DELETE", f"{_ROOT}/{TASK}")
    answer("retry", "POST", f"{_ROOT}/{TASK}/retry")
    answer("get a task that is not there", "GET", f"{_ROOT}/none")
    _show_lists(one)
    answer("list", "GET", f"{_ROOT}?status=cancelled&search=app&limit=1&offset=0")
    answer("list, the query is wrong", "GET", f"{_ROOT}?status=none&limit=0&offset=-1&other=1")
    answer("ready", "GET", "/readyz")
    return told


def _refusals(one: Served) -> Json:
    situations: dict[str, tuple[str, str, bytes, Mapping[str, str]]] = {
        "the body is no JSON": ("POST", _ROOT, b"{", _JSON),
        "fields are wrong": ("POST", _ROOT, b'{"images":["A:1"],"priority":11,"prio":1}', _JSON),
        "the body is too large": ("POST", _ROOT, b" " * (1024 * 1024 + 1), _JSON),
        "the body is compressed": ("POST", _ROOT, b"{}", {**_JSON, "Content-Encoding": "gzip"}),
        "the body is not said to be JSON": ("POST", _ROOT, b"{}", {**_HOST, "Content-Type": "text/plain"}),
        "no such route": ("GET", "/api/v2", b"", _HOST),
        "no such method": ("PUT", f"{_ROOT}/{TASK}", b"{}", _JSON),
        "another host": ("GET", _ROOT, b"", {"Host": "example.com"}),
        "another site's origin": ("POST", _ROOT, b"{}", {**_JSON, "Origin": "https://example.com"}),
        "a cross-site request": ("POST", _ROOT, b"{}", {**_JSON, "Sec-Fetch-Site": "cross-site"}),
    }
    told = {
        name: _told(one.call(method, path, body=body, headers=headers))
        for name, (method, path, body, headers) in situations.items()
    }
    asked = one.call("GET", "/health", headers={**_HOST, "X-Request-Id": "mine"})
    return {**told, "the caller names the request": {"x-request-id": asked.headers["x-request-id"]}}


def _with_tokens() -> Json:
    one = served(auth=True)
    told: Json = {"no token": _told(one.call("GET", _ROOT, headers=_HOST))}
    told["an unknown token"] = _told(one.call("GET", _ROOT, headers=_TOKEN))
    one.tape.reviews["TokenReview"] = {"authenticated": True, "user": {"username": "bob", "groups": ["team"]}}
    verbs = {
        "get": ("GET", f"{_ROOT}/{TASK}"),
        "create": ("POST", _ROOT),
        "delete": ("DELETE", f"{_ROOT}/{TASK}"),
    }
    one.tape.calls()
    for verb, (method, path) in verbs.items():
        one_token = {**_TOKEN, "Authorization": f"Bearer {verb}"}
        told[f"the user may not {verb}"] = _told(one.call(method, path, body=b"{}", headers=one_token))
    told["reviews"] = one.tape.calls()["writes"]
    return told


def _told(reply: Reply) -> Json:
    """Return a response without values that differ each time and without human text."""
    document = reply.document
    if isinstance(document, dict) and "requestId" in document:
        document["requestId"] = "<id>"
    headers = {
        name: "<varies>" if name in _VARYING else value for name, value in sorted(reply.headers.items())
    }
    told: Json = {"status": reply.status, "headers": headers}
    return told if document is None else {**told, "body": without_text(document)}


def _error(error: IpsFlowError) -> Json:
    answer = error_response(error)
    return {"status": answer.status, "headers": dict(answer.headers), "keys": sorted(answer.document)}


def _show_lists(one: Served) -> None:
    """Update the server's lists with the existing tasks."""
    tasks = [trim_workflow(thing) for path, thing in one.tape.objects.items() if "/workflows/" in path]
    for name in COLLECTIONS:
        one.task_cache._handle(name, Replaced(tuple(tasks) if name == LIVE else ()))
    for _ in range(2):
        one.task_cache._fetch_missing()
        one.task_cache._publish()


async def _events() -> Json:
    """Return the frames of a stream: of a task that ends, of a deleted task, and at the server's shutdown."""
    row = SimpleNamespace(uid="u", body=lambda: b'{"n":2}', ended=True, final=True, status="failed")
    return {
        "a task that ends": await _followed({TASK: row}),
        "a task that is deleted": await _followed({TASK: SimpleNamespace(uid="another")}),
        "the server ends": await _followed({}, lambda updates: updates.close()),
    }


async def _followed(rows: Json, prepare: Callable[[TaskStreams], None] = lambda _: None) -> list[str]:
    """Return the frames of a stream, with lists that have these rows."""

    @contextmanager
    def listening(_: object) -> Iterator[None]:
        yield

    cache = SimpleNamespace(snapshot=SimpleNamespace(by_name=rows), listening=listening)
    streams = TaskStreams(cast("TaskCache", cache))
    prepare(streams)
    frames = [frame async for frame in streams.follow(TASK, "u", b'{"n":1}')]
    return [_without_comments(frame.decode()) for frame in frames]


def _without_comments(frame: str) -> str:
    """Return a frame without the text of comments, which is for people."""
    return "\n".join(": <text>" if line.startswith(":") else line for line in frame.strip().split("\n"))
