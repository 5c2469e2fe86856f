"""Client of the Kubernetes API. Sends and returns plain JSON and raises `ApiError` and its subclasses.

Objects are dicts as the API sends them. The kubernetes library provides kubeconfig, credentials and transport;
its model classes are not used, because they are slow for thousands of objects.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack
from urllib.parse import urlencode

from ips_flows.core.constants import FIELD_MANAGER
from ips_flows.core.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    KubeconfigError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from ips_flows.core.k8s.objects import Json

PatchKind = Literal["merge", "json", "apply", "strategic"]

_PATCH_TYPES: dict[PatchKind, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_CONNECTIONS = 32  # kept open; the library's default is too small for a driver on a small node
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0
# The server ends a watch after the requested time; the socket may stay silent this much longer before it is closed.
_WATCH_SLACK_SECONDS = 5.0

_RBAC = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
# Messages of the kubernetes library about a kubeconfig.
_MISSING_ENTRY = re.compile(
    r"Expected object with name (?P<name>.+) in \S.*/(?P<kind>context|cluster|user)s list$"
)
_MISSING_KEY = re.compile(r"Expected key (?P<key>\S+) in ")

_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
}


def collection(root: str, namespace: str, plural: str, name: str = "") -> str:
    """Return the API path of a collection, or of one object. An empty namespace means all; `root` is the API group's."""
    scope = f"namespaces/{namespace}/" if namespace else ""
    return f"{root}/{scope}{plural}" + (f"/{name}" if name else "")


def core(namespace: str, kind: str, name: str = "") -> str:
    """Return the path of a core object or collection: `core("a", "pods", "p")`. An empty namespace means all."""
    return collection("/api/v1", namespace, kind, name)


def jobs(namespace: str, name: str = "") -> str:
    """Return the path of the Jobs of a namespace, or of one Job. An empty namespace means all."""
    return collection("/apis/batch/v1", namespace, "jobs", name)


def workflows(namespace: str, name: str = "", kind: str = "workflows") -> str:
    """Return the path of the Argo objects of a namespace, or of one object. An empty namespace means all."""
    return collection("/apis/argoproj.io/v1alpha1", namespace, kind, name)


class ListOptions(TypedDict, total=False):
    """Options of a list: selectors, metadata only, and objects per page."""

    labels: str
    fields: str
    metadata_only: bool
    page: int


class Kube:
    """A connection to one cluster. `namespace` is that of the kubeconfig context or the pod, else `default`."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self.namespace = namespace
        self.host = str(client.configuration.host)

    @classmethod
    def connect(cls, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """Read the kubeconfig (option, `KUBECONFIG`, `~/.kube/config`), else the pod's ServiceAccount.

        Raises KubeconfigError if neither exists or the kubeconfig is invalid. Sends no request.
        """
        import yaml  # noqa: PLC0415
        from kubernetes import client, config  # noqa: PLC0415  (0.3 s: only for verbs that need a cluster)

        configuration = client.Configuration()
        configuration.retries = False  # callers decide which requests to retry
        configuration.connection_pool_maxsize = _CONNECTIONS
        namespace = "default"
        location = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        try:
            if kubeconfig is None and not _any_file(location) and _SERVICE_ACCOUNT_NAMESPACE.exists():
                config.load_incluster_config(client_configuration=configuration)
                namespace = _SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip() or namespace
            else:
                config.load_kube_config(
                    config_file=location,
                    context=context,
                    client_configuration=configuration,
                    persist_config=False,
                )
                contexts, active = config.list_kube_config_contexts(location)
                namespace = _context_namespace(contexts, active, context) or namespace
        except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
            raise KubeconfigError(
                _kubeconfig_problem(location, error),
                hint="Set --kubeconfig or KUBECONFIG to a kubeconfig file, and --context to one of its contexts.",
            ) from error
        return cls(client.ApiClient(configuration), namespace)

    def get(self, path: str, *, metadata_only: bool = False, **query: str | int | None) -> Json:
        """Get one object, or one page of a list."""
        return self._json("GET", path, query, accept=_METADATA if metadata_only else "application/json")

    def list(self, path: str, **chosen: Unpack[ListOptions]) -> Iterator[Json]:
        """List all objects of a collection, page by page. Raises GoneError if the continue token expires."""
        for body in self.pages(path, **chosen):
            yield from body["items"]

    def pages(
        self,
        path: str,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        page: int = 500,
    ) -> Iterator[Json]:
        """List the pages of a collection as the API sends them. A watch starts from `metadata.resourceVersion`."""
        token: str | None = None
        while True:
            query: dict[str, str | int | None] = {
                "labelSelector": labels or None,
                "fieldSelector": fields or None,
                "limit": page,
                "continue": token,
            }
            body = self._json(
                "GET", path, query, accept=_METADATA_LIST if metadata_only else "application/json"
            )
            body["items"] = body.get("items") or []  # null in an empty metadata list
            yield body
            token = body["metadata"].get("continue")
            if not token:
                return

    def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Create an object in a collection. Raises ConflictError if it exists."""
        return self._json("POST", path, {"dryRun": "All" if dry_run else None, **_MANAGED}, body=body)

    def patch(
        self,
        path: str,
        body: Any,
        *,
        kind: PatchKind = "merge",
        force: bool = False,
        dry_run: bool = False,
    ) -> Json:
        """Patch an object. A JSON patch is a list of operations; `apply` is a server-side apply."""
        query: dict[str, str | int | None] = {"dryRun": "All" if dry_run else None, **_MANAGED}
        if kind == "apply":
            query["force"] = "true" if force else None
        return self._json("PATCH", path, query, body=body, content_type=_PATCH_TYPES[kind])

    def delete(
        self, path: str, *, propagation: str = "Background", grace_seconds: int | None = None, uid: str = ""
    ) -> bool:
        """Delete an object. Return False if it does not exist, or has another uid."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self._json("DELETE", path, {}, body=options)
        except NotFoundError:
            return False
        except ConflictError:
            if uid:  # another object has this name now
                return False
            raise
        return True

    def delete_all(self, path: str, *, labels: str) -> None:
        """Delete the objects of a collection that carry these labels."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        self._json("DELETE", path, {"labelSelector": labels}, body=options)

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        seconds: float,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> Iterator[Json]:
        """Yield events `{"type", "object"}` after a resourceVersion, for at most `seconds` seconds.

        Raises GoneError if the version is too old, UnavailableError if the connection fails.
        """
        query: dict[str, str | int | None] = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": max(1, round(seconds)),
            "labelSelector": labels or None,
            "fieldSelector": fields or None,
        }
        accept = _METADATA if metadata_only else "application/json"
        response = self._send("GET", path, query, accept=accept, read_seconds=seconds + _WATCH_SLACK_SECONDS)
        try:
            for line in _lines(response, path):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 0), event["object"], "watch", path)
                yield event
        finally:
            # Close without draining: a watch that was not read to the end can't return its connection to the pool.
            response.close()

    def log(self, namespace: str, pod: str, container: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of a container's log."""
        query = {"container": container, "follow": "true" if follow else None}
        response = self._send("GET", core(namespace, "pods", f"{pod}/log"), query, read_seconds=3600.0)
        try:
            for line in _lines(response, pod):
                yield line.decode("utf-8", "replace")
        finally:
            response.close()

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | None],
        *,
        body: Any = None,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> Json:
        response = self._send(method, path, query, body=body, accept=accept, content_type=content_type)
        data = _read_body(response, f"{method} {path}")
        parsed: Json = json.loads(data) if data else {}
        return parsed

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | None],
        *,
        body: Any = None,
        accept: str = "application/json",
        content_type: str = "application/json",
        read_seconds: float = _READ_SECONDS,
    ) -> Any:
        """Send a request and return a 2xx response with its body unread. Raises ApiError for any other status."""
        from kubernetes.client import ApiException  # noqa: PLC0415  (lazy, as in connect)
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        client = self._client
        headers: dict[str, str] = {"Accept": accept, "User-Agent": FIELD_MANAGER}
        if body is not None:
            headers["Content-Type"] = content_type
        client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        asked = {key: value for key, value in query.items() if value is not None}
        url = f"{self.host}{path}" + (f"?{urlencode(asked)}" if asked else "")
        try:
            response = client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=(_CONNECT_SECONDS, read_seconds)
            ).response
        except (HTTPError, OSError, ApiException) as error:  # the library wraps TLS errors in ApiException
            raise _unreachable(self.host, error) from error
        if 200 <= response.status <= 299:
            return response
        text = _read_body(response, f"{method} {path}")
        try:
            status: Json = json.loads(text)
        except ValueError:
            status = {"message": text.decode("utf-8", "replace")[:300].strip()}
        if not isinstance(status, dict):
            status = {"message": str(status)}
        raise _error(response.status, status, method, path, response.headers.get("Retry-After"))


_MANAGED: dict[str, str | int | None] = {"fieldManager": FIELD_MANAGER}


def _read_body(response: Any, what: str) -> bytes:
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        data: bytes = response.data
    except (HTTPError, OSError) as error:
        raise UnavailableError(
            f"{what}: the connection was lost while reading the response: {error}"
        ) from error
    return data


def _lines(response: Any, what: str) -> Iterator[bytes]:
    """Yield the lines of a streamed response, each as soon as it is complete."""
    from urllib3.exceptions import HTTPError, ReadTimeoutError  # noqa: PLC0415

    rest = b""
    try:
        for chunk in response.stream(amt=None, decode_content=True):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
    except ReadTimeoutError as error:
        raise UnavailableError(f"{what}: no data received within the read timeout") from error
    except (HTTPError, OSError) as error:
        raise UnavailableError(f"{what}: the connection was lost: {error}") from error
    if rest.strip():
        yield rest


def _error(status: int, body: Json, method: str, path: str, retry_after: str | None = None) -> ApiError:
    message = str(body.get("message") or f"HTTP {status}")
    kind = _BY_STATUS.get(status, ApiError)
    if status == 429 or status >= 500:
        kind = UnavailableError
    hint = ""
    if status == 401:
        message = f"the cluster rejected the credentials: {message}"
        hint = "Log in to the cluster again, or use another --context."
    elif status == 403:
        message = _missing_right(message)
        hint = "Request these permissions, or use another --context; `ips-flow doctor` lists missing permissions."
    return kind(
        f"{method} {path}: {message}" if status >= 500 or not body.get("message") else message,
        hint,
        status=status,
        reason=str(body.get("reason") or ""),
        # The API server sends seconds. A proxy may send a date, which is ignored.
        retry_after=float(retry_after) if retry_after and retry_after.isdecimal() else 0,
    )


def _missing_right(message: str) -> str:
    """Shorten the message of an RBAC denial. Return any other message unchanged."""
    match = _RBAC.search(message)
    if not match:
        return message
    group = f".{match['group']}" if match["group"] else ""
    where = f"namespace {match['namespace']}" if match["namespace"] else "the whole cluster"
    return f"{match['user']} may not {match['verb']} {match['resource']}{group} in {where}"


def _unreachable(host: str, error: Exception) -> UnavailableError:
    text = str(getattr(error, "reason", None) or error)
    if text.startswith(("HTTPSConnection", "HTTPConnection", "<urllib3")) and ": " in text:
        text = text.split(": ", 1)[1]
    text = text.removeprefix("Failed to establish a new connection: ")
    return UnavailableError(
        f"cluster {host} can't be reached: {' '.join(text.split())[:300]}",
        hint="Check that the cluster is running, and that --context names the right one.",
    )


def _kubeconfig_problem(location: str, error: Exception) -> str:
    """Describe an invalid kubeconfig without the prefixes of the kubernetes library."""
    text = " ".join(str(error).split())
    if text.endswith("No configuration found.") and not _any_file(location):
        return f"kubeconfig {location} does not exist"
    if entry := _MISSING_ENTRY.search(text):
        return f"kubeconfig {location} has no {entry['kind']} named {entry['name']}"
    if key := _MISSING_KEY.search(text):
        return f"kubeconfig {location} has no {key['key']}"
    if text.endswith(" file is empty"):
        return f"kubeconfig {location} is empty"
    return f"kubeconfig {location}: {text.removeprefix('Invalid kube-config file. ')}"


def _any_file(location: str) -> bool:
    return any(Path(part).expanduser().is_file() for part in location.split(":") if part)


def _context_namespace(contexts: Any, active: Any, context: str | None) -> str:
    """Return the namespace of the named context, else of the current context."""
    entry = next((one for one in contexts if one["name"] == context), None) if context else active
    return str(((entry or {}).get("context") or {}).get("namespace") or "")
