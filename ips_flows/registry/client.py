"""Client of image registries. It reads manifests and configs.

It uses `requests` directly, because the existing libraries do not fit: python-dxf rejects credentials over plain HTTP
and does not handle 429; oras-py has no timeouts and no types.
https://github.com/opencontainers/distribution-spec and https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self
from urllib.parse import urlencode, urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from ips_flows.core import clock
from ips_flows.core.forecast.resolve import Fetched, ResolveError
from ips_flows.core.images.auth_challenge import read_challenge
from ips_flows.core.images.keyring import Credential
from ips_flows.core.images.manifest import ACCEPT, Descriptor
from ips_flows.core.images.reference import DEFAULT_REGISTRY, Reference
from ips_flows.core.results.reasons import FailureReason
from ips_flows.core.results.results import MESSAGE_LIMIT
from ips_flows.core.version import __version__

_HUB = "registry-1.docker.io"
_MAX_BYTES = 4 * 1024 * 1024  # of a manifest or config; registries and runtimes have the same limit
_CHUNK_BYTES = 64 * 1024
_TIMEOUT = (5.0, 15.0)  # to connect, and for each read
_PAUSES = (0.5, 1.0, 2.0)  # seconds before each retry
# HTTP status → class of failure, and whether a node with these credentials gets the same response.
_BY_STATUS = {
    401: (FailureReason.UNAUTHORIZED, True),
    403: (FailureReason.UNAUTHORIZED, True),
    404: (FailureReason.NOT_FOUND, True),
    429: (FailureReason.RATE_LIMITED, False),
}


@dataclass(frozen=True, slots=True)
class RegistryIO:
    """Clock of a Repository; tests pass their own. `seconds` limits all requests for one image."""

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = clock.now
    seconds: float = 60.0


class _RegistryResponse(NamedTuple):
    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    body: bytes


class _Authorization(AuthBase):
    """Sets the Authorization header. With an `auth` object `requests` does not read credentials from ~/.netrc."""

    def __init__(self, header: str) -> None:
        self.header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the header of a request; `requests` removes it on a redirect to another host."""
        if self.header:
            request.headers["Authorization"] = self.header
        return request


class ManifestCache:
    """Cache of manifests by repository and digest. A manifest with a given digest never changes."""

    def __init__(self) -> None:
        self._known: dict[str, Fetched] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Fetched | None:
        """Return the manifest of a repository and digest; None if it is not cached."""
        with self._lock:
            return self._known.get(key)

    def put(self, key: str, fetched: Fetched) -> Fetched:
        """Store a manifest."""
        with self._lock:
            self._known[key] = fetched
        return fetched


class Repository:
    """Reads one repository as a node with these credentials does. Use it in a `with`, in one thread."""

    def __init__(
        self,
        reference: Reference,
        credentials: Sequence[Credential],
        *,
        insecure: Collection[str] = (),
        cache: ManifestCache | None = None,
        io: RegistryIO | None = None,
    ) -> None:
        self._io = io or RegistryIO()
        self._end = self._io.monotonic() + self._io.seconds
        self._cache = cache or ManifestCache()
        self._name = reference.repository
        host = _HUB if reference.registry == DEFAULT_REGISTRY else reference.registry
        self._plain = is_plain(host, insecure)
        self._base = f"{'http' if self._plain else 'https'}://{host}/v2/{self._name}"
        # A kubelet that has credentials always sends them.
        self._credentials: list[Credential | None] = list(credentials) or [None]
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"ips-flow/{__version__}"
        self._authorization = _Authorization("")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def manifest(self, reference: str) -> Fetched:
        """Get the manifest of a tag or digest. Raises ResolveError."""
        pinned = ":" in reference
        known = self._cache.get(f"{self._base}@{reference}") if pinned else None
        if known is not None:
            return known
        response = self._get(f"/manifests/{reference}", ACCEPT)
        algorithm = reference.partition(":")[0] if pinned else "sha256"
        digest = _digest(response.body, algorithm)
        if pinned and digest != reference:
            raise ResolveError(
                FailureReason.INVALID_IMAGE, f"the registry returned {digest} for {reference}", certain=False
            )
        fetched = Fetched(response.body, response.headers.get("Content-Type", ""), digest)
        return self._cache.put(f"{self._base}@{digest}", fetched)

    def blob(self, blob: Descriptor) -> bytes:
        """Get a small blob. Raises ResolveError."""
        body = self._get(f"/blobs/{blob.digest}", "*/*").body
        if _digest(body, blob.digest.partition(":")[0]) != blob.digest:
            raise ResolveError(
                FailureReason.INVALID_IMAGE,
                f"the registry returned other content for blob {blob.digest}",
                certain=False,
            )
        return body

    def _get(self, path: str, accept: str) -> _RegistryResponse:
        """Send a GET with the first credentials that the registry accepts, and keep them for the next request."""
        while True:
            response = self._request(f"{self._base}{path}", accept)
            if response.status == 401 and not self._authorization.header and self._authorize(response):
                response = self._request(f"{self._base}{path}", accept)
            if response.status == 200:
                return response
            if response.status not in (401, 403, 404) or len(self._credentials) == 1:
                raise self._error(response)
            del self._credentials[0]
            self._authorization = _Authorization("")

    def _error(self, response: _RegistryResponse) -> ResolveError:
        other = FailureReason.REGISTRY_UNAVAILABLE if response.status >= 500 else FailureReason.UNKNOWN
        failure, certain = _BY_STATUS.get(response.status, (other, False))
        text = _error_text(response)
        credential = self._credentials[0]
        if failure is FailureReason.UNAUTHORIZED:
            text += f" (user: {credential.user})" if credential else " (no credentials sent)"
        return ResolveError(failure, text, certain=certain)

    def _authorize(self, response: _RegistryResponse) -> bool:
        """Authenticate as the registry's challenge requires. Return False if it does not accept the credentials."""
        challenge = read_challenge(response.headers.get("WWW-Authenticate", ""))
        credential = self._credentials[0]
        if challenge is None:
            return False
        if challenge.scheme == "basic":
            if credential is None:
                return False
            self._authorization = _Authorization(_basic(credential))
            return True
        realm = challenge.parameters.get("realm", "")
        if urlsplit(realm).scheme != "https" and not (self._plain and urlsplit(realm).scheme == "http"):
            raise ResolveError(
                FailureReason.UNAUTHORIZED,
                f"the registry's token URL is {realm or 'missing'}; expected https",
                certain=False,
            )
        # Request the scope that a kubelet requests: to pull from this repository.
        query = {"scope": challenge.parameters.get("scope") or f"repository:{self._name}:pull"}
        if "service" in challenge.parameters:
            query["service"] = challenge.parameters["service"]
        self._authorization = _Authorization(_basic(credential) if credential else "")
        joint = "&" if urlsplit(realm).query else "?"
        token_response = self._request(f"{realm}{joint}{urlencode(query)}", "application/json")
        self._authorization = _Authorization("")
        if token_response.status in (401, 403):
            return False
        token = _token(token_response) if token_response.status == 200 else ""
        if not token:
            raise ResolveError(
                FailureReason.REGISTRY_UNAVAILABLE,
                f"token server {urlsplit(realm).netloc} returned no token: {_error_text(token_response)}",
                certain=False,
            )
        self._authorization = _Authorization(f"Bearer {token}")
        return True

    def _request(self, url: str, accept: str) -> _RegistryResponse:
        """Send a GET. Retry 429, 5xx and connection errors until the time limit."""
        pauses = iter(_PAUSES)
        while True:
            pause = next(pauses, None)
            try:
                response = self._request_once(url, accept)
            except (requests.RequestException, HTTPError) as error:
                if pause is None or not _is_transient(error) or not self._pause(pause):
                    raise _unreachable(url, error) from error
                continue
            if response.status != 429 and response.status < 500:
                return response
            retry_after = clock.retry_after(response.headers.get("Retry-After", ""), self._io.now())
            if pause is None or not self._pause(max(pause, retry_after)):
                return response

    def _request_once(self, url: str, accept: str) -> _RegistryResponse:
        with self._session.get(
            url,
            headers={"Accept": accept},
            auth=self._authorization,
            timeout=_TIMEOUT,
            stream=True,
        ) as http_response:
            body = b""
            # read1 returns the bytes that have arrived, so the time limit is checked between reads.
            while chunk := http_response.raw.read1(_CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ResolveError(
                        FailureReason.INVALID_IMAGE,
                        f"the registry returned more than {_MAX_BYTES >> 20} MiB",
                        certain=False,
                    )
                if self._io.monotonic() > self._end:
                    raise ResolveError(
                        FailureReason.REGISTRY_UNAVAILABLE,
                        f"the requests to the registry took more than {self._io.seconds:.0f} s",
                        certain=False,
                    )
            return _RegistryResponse(http_response.status_code, http_response.headers, body)

    def _pause(self, seconds: float) -> bool:
        """Wait before a retry. Return False without waiting if the time limit would pass."""
        if self._io.monotonic() + seconds >= self._end:
            return False
        self._io.sleep(seconds)
        return True


def is_plain(host: str, insecure: Collection[str]) -> bool:
    """Return whether to use plain HTTP: for a loopback address with a port, as containerd does, or if in `insecure`."""
    parts = urlsplit(f"//{host}")
    name = parts.hostname or ""
    if host in insecure or name in insecure:
        return True
    if parts.port in (None, 443):
        return False
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _basic(credential: Credential) -> str:
    pair = f"{credential.user}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _digest(body: bytes, algorithm: str) -> str:
    if algorithm not in ("sha256", "sha384", "sha512"):
        raise ResolveError(
            FailureReason.INVALID_IMAGE, f"unknown digest algorithm {algorithm}", certain=False
        )
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def _token(response: _RegistryResponse) -> str:
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return ""
    return (
        str(document.get("token") or document.get("access_token") or "") if isinstance(document, dict) else ""
    )


def _error_text(response: _RegistryResponse) -> str:
    """Return the status and errors of a response: `HTTP 404: MANIFEST_UNKNOWN: manifest unknown`."""
    try:
        errors = json.loads(response.body)["errors"]
        text = ", ".join(": ".join(filter(None, (one.get("code"), one.get("message")))) for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text = " ".join(response.body[:MESSAGE_LIMIT].decode("utf-8", "replace").split())
    return f"HTTP {response.status}" + (f": {text[:MESSAGE_LIMIT]}" if text else "")


def _is_transient(error: Exception) -> bool:
    """Return whether a retry may succeed. It does not for an unknown host name or an untrusted certificate."""
    broken = isinstance(error, requests.ConnectionError | requests.Timeout | HTTPError)
    return (
        broken and not isinstance(error, requests.exceptions.SSLError) and "NameResolution" not in str(error)
    )


def _unreachable(url: str, error: Exception) -> ResolveError:
    host = urlsplit(url).netloc
    if isinstance(error, requests.exceptions.SSLError):
        hint = (
            "; if it uses plain HTTP, pass it to --insecure-registry" if "WRONG_VERSION" in str(error) else ""
        )
        why = f"TLS with {host} failed{hint}: {_cause(error)}"
    elif isinstance(error, requests.Timeout):
        why = f"{host} did not respond in time"
    else:
        why = f"{host} can't be reached: {_cause(error)}"
    return ResolveError(FailureReason.REGISTRY_UNAVAILABLE, why[:MESSAGE_LIMIT], certain=False)


def _cause(error: BaseException) -> str:
    """Return the text of the innermost error, without the object names that urllib3 adds in front."""
    inner: object = error
    while isinstance(inner, BaseException):
        deeper = getattr(inner, "reason", None) or next(iter(inner.args), None)
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    return " ".join(str(inner).rpartition(">: ")[2].split())
