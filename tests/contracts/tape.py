"""Replacement for the Kubernetes client library: keeps objects in memory, and records each call."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ips_flows.kube.client import Kube
from tests.contracts.wording import unfolded, without_text
from tests.fakes.apiserver_semantics import field_selects, json_patch, merge_patch, selects

Json = dict[str, Any]

CREATED = "2026-01-31T12:00:00Z"
# The end of a collection's path; the names of our objects do not end like this.
_PLURALS = (
    "clusterworkflowtemplates",
    "configmaps",
    "cronjobs",
    "cronworkflows",
    "customresourcedefinitions",
    "daemonsets",
    "deployments",
    "events",
    "jobs",
    "nodes",
    "pods",
    "replicasets",
    "secrets",
    "serviceaccounts",
    "statefulsets",
    "workflows",
    "workflowtemplates",
)


class Tape:
    """A recorded cluster without a network. `objects` are by API path; uids and versions are counters."""

    def __init__(self) -> None:
        self.configuration = SimpleNamespace(host="https://192.0.2.1:6443")
        self.rest_client = self
        self.objects: dict[str, Json] = {}
        self.reviews: dict[str, Json] = {}  # kind of review → its status
        self._reads: set[str] = set()
        self._writes: list[Json] = []
        self._made = 0

    def kube(self, namespace: str = "warm") -> Kube:
        """Return a connection to this cluster."""
        return Kube(self, namespace)

    def calls(self) -> Json:
        """Return the calls since the last use of this method: each read once, sorted, and the writes in their order."""
        told = {"reads": sorted(self._reads), "writes": self._writes}
        self._reads, self._writes = set(), []
        return told

    def put(self, path: str, thing: Json) -> Json:
        """Store an object under its path; add uid and version if it has none."""
        self._made += 1
        kept = copy.deepcopy(thing)
        metadata = kept.setdefault("metadata", {})
        metadata.setdefault("name", path.rpartition("/")[2])
        metadata.setdefault("uid", f"00000000-0000-4000-8000-{self._made:012d}")
        metadata.setdefault("creationTimestamp", CREATED)
        if "/namespaces/" in path:
            metadata.setdefault("namespace", path.split("/namespaces/")[1].partition("/")[0])
        metadata["resourceVersion"] = str(self._made)
        self.objects[path] = kept
        return kept

    # -- methods of the client library

    def update_params_for_auth(self, *_: Any) -> None:
        """Add no credentials."""

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Any = None, **_: Any
    ) -> SimpleNamespace:
        """Record a call; return its response."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        if method == "GET":
            self._reads.add(_read(parts.path, query, headers))
        else:
            told = {"call": f"{method} {parts.path}", "query": query, "contentType": headers["Content-Type"]}
            self._writes.append({**told, "sends": without_text(unfolded(copy.deepcopy(body)))})
        status, answer = self._answer(method, parts.path, query, body, headers)
        response = SimpleNamespace(status=status, data=json.dumps(answer).encode(), headers={})
        response.stream = _stream
        response.close = lambda: None
        return SimpleNamespace(response=response)

    def _answer(
        self, method: str, path: str, query: Mapping[str, str], body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Json]:
        if method == "POST":
            return self._create(path, query, body)
        if method == "GET" and path not in self.objects and path.endswith(_PLURALS):
            return HTTPStatus.OK, {"metadata": {"resourceVersion": "1"}, "items": self._items(path, query)}
        if method == "DELETE" and path.endswith(_PLURALS) and path not in self.objects:
            for item in self._items(path, query):
                del self.objects[f"{path}/{item['metadata']['name']}"]
            return HTTPStatus.OK, {}
        found = self.objects.get(path.removesuffix("/status"))
        if found is None:
            return HTTPStatus.NOT_FOUND, {"reason": "NotFound", "message": f"{path} not found"}
        if method == "DELETE":
            del self.objects[path]
        elif method == "PATCH":
            by_json = headers["Content-Type"] == "application/json-patch+json"
            changed = json_patch(found, body) if by_json else merge_patch(found, body)
            return HTTPStatus.OK, self.put(path.removesuffix("/status"), changed)
        return HTTPStatus.OK, found

    def _create(self, path: str, query: Mapping[str, str], body: Json) -> tuple[int, Json]:
        name = body.get("metadata", {}).get("name", "unnamed")
        if f"{path}/{name}" in self.objects:
            return HTTPStatus.CONFLICT, {"reason": "AlreadyExists", "message": f"{name} exists"}
        if path.endswith("reviews"):
            return HTTPStatus.CREATED, {**body, "status": self.reviews.get(body["kind"], {})}
        if "dryRun" in query:
            return HTTPStatus.CREATED, body
        return HTTPStatus.CREATED, self.put(f"{path}/{name}", body)

    def _items(self, path: str, query: Mapping[str, str]) -> list[Json]:
        return [
            item
            for place, item in sorted(self.objects.items())
            if place.rpartition("/")[0] == path
            and selects(query.get("labelSelector", ""), item["metadata"].get("labels") or {})
            and field_selects(query.get("fieldSelector", ""), item)
        ]


def _read(path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Return a read as one line. Duration and start version of a watch are no contract."""
    shown = {key: value for key, value in query.items() if key not in ("resourceVersion", "timeoutSeconds")}
    asked = "&".join(f"{key}={value}" for key, value in sorted(shown.items()))
    whole = "" if headers["Accept"] == "application/json" else f" as {headers['Accept']}"
    return f"{path}{'?' if asked else ''}{asked}{whole}"


def _stream(**_: Any) -> Iterator[bytes]:
    """Yield the events of a watch: every object was deleted."""
    yield json.dumps({"type": "DELETED", "object": {"metadata": {}}}).encode() + b"\n"
