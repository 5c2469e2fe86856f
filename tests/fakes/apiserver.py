"""A small Kubernetes API server on loopback HTTP: a generic store with versions, lists, watches and patches.

It knows no schemas. Objects are created through `put` or over HTTP, faults are injected with `fail`.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.fakes.apiserver_semantics import field_selects, json_patch, merge_patch, selects

Json = dict[str, Any]

_PATH = re.compile(
    r"^(?P<root>/api/v1|/apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?/(?P<kind>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)
_BUILT_IN_GROUPS = (
    "apiextensions.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "admissionregistration.k8s.io",
)
KINDS = {
    "workflows": "Workflow",
    "workflowtemplates": "WorkflowTemplate",
    "cronworkflows": "CronWorkflow",
    "jobs": "Job",
    "configmaps": "ConfigMap",
    "pods": "Pod",
    "namespaces": "Namespace",
    "nodes": "Node",
}
RETRY_AFTER = 1  # seconds, sent with a response 429


@dataclass(slots=True)
class Fault:
    """A response that replaces the real one for matching calls."""

    matches: Callable[[str, str], bool]
    status: int
    body: Any
    times: int


@dataclass(slots=True)
class Store:
    """All objects, and the history of their changes."""

    objects: dict[tuple[str, str, str], Json] = field(default_factory=dict)  # kind, namespace, name
    history: list[tuple[int, str, str, Json]] = field(default_factory=list)  # version, type, kind, object
    version: int = 100
    oldest: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)


class ApiServer:
    """The server, a context manager. `url` is its address, `calls` the recorded requests, `METHOD path` each."""

    def __init__(self) -> None:
        self.store = Store()
        self.calls: list[str] = []
        self.logs: dict[str, list[str]] = {}
        self.faults: list[Fault] = []
        self.groups = {"argoproj.io", "batch", "apps", *_BUILT_IN_GROUPS}
        self.documents: dict[str, Json] = {}  # path → response to GET, for paths that are no objects
        self.admit: Callable[[str, Json], Json] = lambda _kind, item: item  # returns the object to store
        self.may: Callable[[Json], bool] = lambda _spec: True  # decides access reviews
        self.users: dict[str, Json] = {}  # token → user, for token reviews
        self.page_limit = 0  # the largest page, whatever `limit` a client sends; 0: no limit
        self.refused = 0  # calls rejected by `throttle`
        self._bucket: _Bucket | None = None
        self.on_change: Callable[[str, Json], None] | None = None
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with self.store.changed:
            self.store.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    @property
    def closing(self) -> bool:
        """Return whether watches should end."""
        return self._closing.is_set()

    def kubeconfig(self, folder: Path, namespace: str = "warm") -> Path:
        """Write a kubeconfig for this server."""
        file = folder / "kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": "t0ken"}}],
            "contexts": [
                {"name": "fake", "context": {"cluster": "fake", "user": "me", "namespace": namespace}}
            ],
            "current-context": "fake",
        }
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return file

    def fail(
        self, pattern: str, status: int, reason: str = "", message: str = "", *, times: int = 1_000_000
    ) -> None:
        """Return an error for calls whose `METHOD path` matches the pattern. Status 0 breaks the connection."""
        expression = re.compile(pattern)
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message or f"injected {status}",
            "reason": reason,
            "code": status,
        }
        self.faults.append(
            Fault(lambda method, path: bool(expression.search(f"{method} {path}")), status, body, times)
        )

    def throttle(self, *, per_second: float, burst: int) -> None:
        """Return 429 for calls above this rate, as API Priority and Fairness does."""
        self._bucket = _Bucket(per_second, burst)

    def admits(self) -> bool:
        """Return whether a call is within the rate of `throttle`; count it if not."""
        if self._bucket is None or self._bucket.take():
            return True
        self.refused += 1
        return False

    def forbid(
        self, pattern: str, verb: str, resource: str, group: str = "", namespace: str = "warm"
    ) -> None:
        """Return the error of RBAC for calls that match the pattern."""
        self.fail(
            pattern,
            403,
            "Forbidden",
            f'{resource}{"." + group if group else ""} is forbidden: User "me" cannot {verb} resource '
            f'"{resource}" in API group "{group}" in the namespace "{namespace}"',
        )

    def await_call(self, pattern: str, seconds: float = 60.0) -> None:
        """Wait for a call whose `METHOD path` matches the pattern."""
        expression, end = re.compile(pattern), time.monotonic() + seconds
        with self.store.changed:
            while not any(expression.search(call) for call in list(self.calls)):
                assert time.monotonic() < end, self.calls[-20:]
                self.store.changed.wait(0.01)  # a call without a change sends no notification

    def put(self, kind: str, item: Json, namespace: str = "warm") -> Json:
        """Create or replace an object unchanged, with a new resourceVersion."""
        item = copy.deepcopy(item)
        metadata = item.setdefault("metadata", {})
        if namespace:
            metadata.setdefault("namespace", namespace)
        namespace = metadata.get("namespace", "")
        with self.store.changed:
            key = (kind, namespace, metadata["name"])
            before = self.store.objects.get(key)
            self.store.version += 1
            metadata["resourceVersion"] = str(self.store.version)
            metadata["uid"] = (before or item)["metadata"].get("uid") or str(uuid.uuid4())
            metadata.setdefault("creationTimestamp", _now())
            item.setdefault("kind", KINDS.get(kind, kind))
            item.setdefault("apiVersion", "v1")
            self.store.objects[key] = item
            self._record("MODIFIED" if before else "ADDED", kind, item)
        if self.on_change:
            self.on_change(kind, copy.deepcopy(item))
        return copy.deepcopy(item)

    def get(self, kind: str, name: str, namespace: str = "warm") -> Json:
        """Return the current state of an object."""
        return copy.deepcopy(self.store.objects[kind, namespace, name])

    def change(self, kind: str, name: str, patch: Json, namespace: str = "warm") -> Json:
        """Merge-patch an object, as a controller would."""
        with self.store.changed:
            return self.put(kind, merge_patch(self.get(kind, name, namespace), patch), namespace)

    def remove(self, kind: str, name: str, namespace: str = "warm") -> Json:
        """Delete an object."""
        with self.store.changed:
            item = self.store.objects.pop((kind, namespace, name))
            self.store.version += 1
            item = copy.deepcopy(item)
            item["metadata"]["resourceVersion"] = str(self.store.version)
            self._record("DELETED", kind, item)
        return item

    def forget_history(self) -> None:
        """Make every older resourceVersion too old for a watch."""
        with self.store.changed:
            self.store.version += 1
            self.store.oldest = self.store.version

    def _record(self, event: str, kind: str, item: Json) -> None:
        self.store.history.append((self.store.version, event, kind, copy.deepcopy(item)))
        self.store.changed.notify_all()


class _Bucket:
    """A token bucket: a number of calls per second, with a burst."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second, self._burst = per_second, burst
        self._level, self._at = float(burst), time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a token; return False if there is none."""
        with self._lock:
            at = time.monotonic()
            self._level = min(self._burst, self._level + (at - self._at) * self._per_second)
            self._at = at
            if self._level < 1:
                return False
            self._level -= 1
            return True


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _metadata_only(item: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        api = server

    return Handler


class _StatusError(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second must not wait for an ACK

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Get, list or watch."""
        self._serve("GET")

    def do_POST(self) -> None:
        """Create."""
        self._serve("POST")

    def do_PATCH(self) -> None:
        """Patch."""
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        """Delete."""
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            parts = urlsplit(self.path)
            self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length)
            self.api.calls.append(f"{method} {self.path}")
            try:
                self._fault(method, self.path)
                self._route(method, parts.path)
            except _StatusError as error:
                self._send(
                    error.code,
                    {
                        "kind": "Status",
                        "apiVersion": "v1",
                        "status": "Failure",
                        "message": error.message,
                        "reason": error.reason,
                        "code": error.code,
                    },
                )
            except _Dropped:
                self.close_connection = True

    def _fault(self, method: str, path: str) -> None:
        if not self.api.admits():
            raise _StatusError(429, "TooManyRequests", "too many requests, please try again later")
        for fault in self.api.faults:
            if fault.times > 0 and fault.matches(method, path):
                fault.times -= 1
                if not fault.status:
                    raise _Dropped
                raise _StatusError(fault.status, fault.body["reason"], fault.body["message"])

    def _route(self, method: str, path: str) -> None:
        if method == "GET" and path in self.api.documents:
            self._send(200, self.api.documents[path])
            return
        match = _PATH.match(path)
        if not match or (match["group"] and match["group"] not in self.api.groups):
            self._send_bytes(404, b"404 page not found\n", "text/plain")
            return
        kind, namespace, name = match["kind"], match["namespace"] or "", match["name"] or ""
        if match["sub"] == "log":
            self._log(namespace, name)
        elif method == "GET" and name:
            self._send(200, self._shaped(self._existing(kind, namespace, name)))
        elif method == "GET" and self.query.get("watch") == "true":
            self._watch(kind, namespace)
        elif method == "GET":
            self._list(kind, namespace)
        elif method == "POST":
            self._create(kind, namespace)
        elif method == "PATCH":
            self._patch(kind, namespace, name)
        else:
            self._delete(kind, namespace, name)

    def _existing(self, kind: str, namespace: str, name: str) -> Json:
        found = self.api.store.objects.get((kind, namespace, name))
        if found is None:
            raise _StatusError(404, "NotFound", f'{kind} "{name}" not found')
        return copy.deepcopy(found)

    def _shaped(self, item: Json) -> Json:
        return _metadata_only(item) if "as=PartialObjectMetadata" in self.headers["Accept"] else item

    def _fits(self, kind: str, namespace: str, item: Json, of: str) -> bool:
        metadata = item["metadata"]
        return (
            kind == of
            and (not namespace or metadata.get("namespace") == namespace)
            and selects(self.query.get("labelSelector", ""), metadata.get("labels") or {})
            and field_selects(self.query.get("fieldSelector", ""), item)
        )

    def _list(self, kind: str, namespace: str) -> None:
        with self.api.store.changed:
            found = [
                item
                for (of, _, _), item in sorted(self.api.store.objects.items())
                if self._fits(kind, namespace, item, of)
            ]
            version = str(self.api.store.version)
            start = int(self.query.get("continue") or 0)
            limit = int(self.query.get("limit") or 0) or len(found)
            if self.api.page_limit:
                limit = min(limit, self.api.page_limit)
            page, rest = copy.deepcopy(found[start : start + limit]), found[start + limit :]
        metadata: Json = {"resourceVersion": version}
        if rest:
            metadata |= {"continue": str(start + limit), "remainingItemCount": len(rest)}
        items: list[Json] | None = [self._shaped(one) for one in page]
        if not page and "as=PartialObjectMetadataList" in self.headers["Accept"]:
            items = None  # as the real API server does
        self._send(200, {"kind": "List", "metadata": metadata, "items": items})

    def _watch(self, kind: str, namespace: str) -> None:
        since = int(self.query.get("resourceVersion") or 0)
        deadline = time.monotonic() + float(self.query.get("timeoutSeconds") or 60)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        store = self.api.store
        if since < store.oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            self._chunk({"type": "ERROR", "object": gone})
            self._end_chunks()
            return
        while not self.api.closing:
            with store.changed:
                fresh = [one for one in store.history if one[0] > since]
                if not fresh:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
                    store.changed.wait(min(left, 0.5))
                    if since < store.oldest:
                        break
                    continue
            for version, event, of, item in fresh:
                since = version
                if self._fits(kind, namespace, item, of):
                    self._chunk({"type": event, "object": self._shaped(item)})
                elif of == kind and event == "MODIFIED" and self._fits_name(namespace, item):
                    self._chunk({"type": "DELETED", "object": self._shaped(item)})
        self._end_chunks()

    def _fits_name(self, namespace: str, item: Json) -> bool:
        """Return whether an object matches all but the label selector. A changed one has then left the selection."""
        return (not namespace or item["metadata"].get("namespace") == namespace) and field_selects(
            self.query.get("fieldSelector", ""), item
        )

    def _create(self, kind: str, namespace: str) -> None:
        item = json.loads(self.body)
        if kind in ("subjectaccessreviews", "selfsubjectaccessreviews"):
            self._send(201, item | {"status": {"allowed": self.api.may(item["spec"])}})
            return
        if kind == "tokenreviews":
            user = self.api.users.get(item["spec"]["token"])
            self._send(201, item | {"status": {"authenticated": True, "user": user} if user else {}})
            return
        metadata = item["metadata"]
        name = metadata.setdefault("name", metadata.get("generateName", "") + uuid.uuid4().hex[:5])
        item = self.api.admit(kind, item)
        if namespace and ("namespaces", "", namespace) not in self.api.store.objects:
            raise _StatusError(404, "NotFound", f'namespaces "{namespace}" not found')
        if (kind, namespace, name) in self.api.store.objects:
            raise _StatusError(409, "AlreadyExists", f'{kind} "{name}" already exists')
        if self.query.get("dryRun"):
            self._send(201, item)
            return
        self._send(201, self.api.put(kind, item, namespace))

    def _patch(self, kind: str, namespace: str, name: str) -> None:
        with self.api.store.changed:  # no other write between read and change
            self._send(200, self._patched(kind, namespace, name))

    def _patched(self, kind: str, namespace: str, name: str) -> Json:
        patch = json.loads(self.body)
        apply = self.headers["Content-Type"] == "application/apply-patch+yaml"
        if apply and (kind, namespace, name) not in self.api.store.objects:
            return self.api.put(kind, patch, namespace)
        before = self._existing(kind, namespace, name)
        if self.headers["Content-Type"] == "application/json-patch+json":
            try:
                after = json_patch(before, patch)
            except (ValueError, KeyError, IndexError) as error:
                raise _StatusError(422, "Invalid", str(error)) from error
        else:
            after = merge_patch(before, patch)
        if after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            raise _StatusError(
                409, "Conflict", f'Operation cannot be fulfilled on {kind} "{name}": it changed'
            )
        if after["metadata"].get("managedFields") == [{}]:  # an empty entry removes the field
            del after["metadata"]["managedFields"]
        # A patch without a change gives no new resourceVersion, as in the real API server.
        return before if after == before else self.api.put(kind, after, namespace)

    def _delete(self, kind: str, namespace: str, name: str) -> None:
        if not name:
            for (of, space, one), item in list(self.api.store.objects.items()):
                if self._fits(kind, namespace, item, of):
                    self.api.remove(kind, one, space)
            self._send(200, {"kind": "Status", "status": "Success"})
            return
        found = self._existing(kind, namespace, name)
        wanted = (json.loads(self.body or b"{}").get("preconditions") or {}).get("uid")
        if wanted and wanted != found["metadata"]["uid"]:
            raise _StatusError(409, "Conflict", "the UID in the precondition does not match")
        self.api.remove(kind, name, namespace)
        self._send(200, {"kind": "Status", "status": "Success"})

    def _log(self, namespace: str, name: str) -> None:
        self._existing("pods", namespace, name)
        text = "".join(f"{line}\n" for line in self.api.logs.get(name, []))
        self._send_bytes(200, text.encode(), "text/plain")

    def _send(self, code: int, document: Json) -> None:
        self._send_bytes(code, json.dumps(document).encode(), "application/json")

    def _send_bytes(self, code: int, data: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if code == 429:
            self.send_header("Retry-After", str(RETRY_AFTER))
        self.end_headers()
        self.wfile.write(data)

    def _chunk(self, document: Json) -> None:
        data = json.dumps(document).encode() + b"\n"
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _end_chunks(self) -> None:
        self.wfile.write(b"0\r\n\r\n")


class _Dropped(Exception):  # noqa: N818
    """Break the connection without a response."""


@contextlib.contextmanager
def running() -> Iterator[ApiServer]:
    """Run a server with a namespace `warm` in which IPS Flow is installed."""
    with ApiServer() as server:
        server.put("namespaces", {"metadata": {"name": "warm"}}, namespace="")
        server.put(
            "workflowtemplates",
            {"metadata": {"name": "ips-prewarm", "annotations": {"ips-flow.io/version": "0.1.0"}}},
        )
        server.put("configmaps", {"metadata": {"name": "ips-config"}, "data": {"max-concurrent-tasks": "3"}})
        yield server
