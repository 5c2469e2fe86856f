"""Authorization of requests: by Kubernetes, or without users but with checks against cross-site requests."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from ips_flows.core.errors import ApiError, ForbiddenError
from ips_flows.core.rest.responses import HttpError
from ips_flows.kube.client import Kube

Verb = Literal["list", "get", "create", "delete"]

GOOD_SECONDS, REFUSED_SECONDS = 10.0, 2.0
MOST_REMEMBERED = 1000
_LONGEST_TOKEN = 16_384
_AT_ONCE = 8
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  (addresses to listen on, not host names)

_TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105  (a path)
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ips-flow"'}
_HOW = "Send a Kubernetes token: `Authorization: Bearer $(kubectl create token SERVICEACCOUNT)`."


class Authorizer(Protocol):
    """Access check for requests. Raises HttpError on refusal. `kind` is the value of `--auth`."""

    kind: Literal["kubernetes", "none"]

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse cross-site requests."""
        ...

    async def authorize(self, headers: Mapping[str, str], verb: Verb) -> str:
        """Return the user name, if the user may do this with the tasks of the namespace."""
        ...


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """Result of an access check: the user name, or the reason for refusal."""

    user: str = ""
    status: int = 0  # of the refusal
    message: str = ""


class DecisionCache:
    """LRU cache of decisions with a short lifetime."""

    def __init__(self, most: int = MOST_REMEMBERED, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[tuple[bytes, str], tuple[float, AccessDecision]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: tuple[bytes, str]) -> AccessDecision | None:
        """Return the decision for a key, unless it has expired."""
        found = self._kept.get(key)
        if found is None:
            return None
        if self._clock() >= found[0]:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: tuple[bytes, str], decision: AccessDecision) -> None:
        """Store a decision."""
        seconds = REFUSED_SECONDS if decision.status else GOOD_SECONDS
        self._kept[key] = (self._clock() + seconds, decision)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


class KubernetesAuthorizer:
    """Check bearer tokens by TokenReview, and users by SubjectAccessReview on the Workflows of the namespace."""

    kind: Literal["kubernetes", "none"] = "kubernetes"

    def __init__(self, kube: Kube, namespace: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._namespace = namespace
        self._decisions = DecisionCache(clock=clock)
        self._asking: dict[tuple[bytes, str], asyncio.Future[AccessDecision]] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="auth")

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """Accept any origin: a browser never adds a bearer token by itself."""

    async def authorize(self, headers: Mapping[str, str], verb: Verb) -> str:
        """Return the user name of the token, if RBAC allows the verb."""
        token = _bearer(headers)
        key = (hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), verb)
        decision = self._decisions.get(key)
        if decision is None:
            asking = self._asking.get(key)
            if asking is None:  # concurrent requests with the same token share one review
                asking = asyncio.ensure_future(self._ask(token, key, verb))
                self._asking[key] = asking
            decision = await asyncio.shield(asking)
        if decision.status:
            headers_back = _CHALLENGE if decision.status == 401 else {}
            hint = _HOW if decision.status == 401 else ""
            raise HttpError(decision.status, decision.message, hint, headers=headers_back)
        return decision.user

    async def _ask(self, token: str, key: tuple[bytes, str], verb: Verb) -> AccessDecision:
        try:
            decision = await asyncio.get_running_loop().run_in_executor(self._pool, self._review, token, verb)
        except ForbiddenError:  # the server itself may not create reviews; its own error explains that
            raise
        except ApiError as error:
            raise HttpError(
                503, f"the cluster can't check the access of this request: {error.message}", error.hint
            ) from error
        finally:
            del self._asking[key]
        self._decisions.put(key, decision)
        return decision

    def _review(self, token: str, verb: Verb) -> AccessDecision:
        review = self._kube.create(
            _TOKEN_REVIEWS,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}},
        )
        status = review.get("status") or {}
        if not status.get("authenticated"):
            return AccessDecision(status=401, message="the bearer token is invalid or has expired")
        user = status.get("user") or {}
        name = str(user.get("username") or "")
        allowed = self._kube.create(_ACCESS_REVIEWS, _access_review(user, self._namespace, verb))
        if not (allowed.get("status") or {}).get("allowed"):
            message = f"{name} may not {verb} workflows.argoproj.io in namespace {self._namespace}"
            return AccessDecision(status=403, message=message)
        return AccessDecision(name)


class NoAuthorizer:
    """Allow every user. Host and origin checks block other sites' pages in a browser that can reach the server.

    Allowed hosts are loopback names and `hosts`, except 0.0.0.0 and ::.
    """

    kind: Literal["kubernetes", "none"] = "none"

    def __init__(self, hosts: Iterable[str]) -> None:
        named = (one.lower().strip("[]") for one in hosts)
        self._allowed = frozenset(one for one in named if one not in _EVERYWHERE)

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """Require an allowed Host. A write must be JSON and must not come from another site's page."""
        host = headers.get("host", "")
        if not self._is_allowed(host):
            raise HttpError(
                421,
                f"host {host!r} is not allowed",
                "Start the server with `--allowed-host NAME` for each further host name.",
            )
        if method in ("GET", "HEAD", "OPTIONS"):
            return
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host.lower():
            raise HttpError(403, f"got a write from origin {origin[:200]!r}; allowed: only this site")
        site = headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none"):
            raise HttpError(403, f"got a write with Sec-Fetch-Site {site[:40]!r}; allowed: same-origin")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        # Forms and simple fetches can send neither DELETE nor JSON.
        if method != "DELETE" and kind != "application/json":
            raise HttpError(415, f"got content type {kind[:100]!r}; allowed: application/json")

    async def authorize(self, headers: Mapping[str, str], verb: Verb) -> str:  # noqa: ARG002
        """Return an empty user name: there are no users."""
        return ""

    def _is_allowed(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._allowed or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise HttpError(401, "no bearer token was sent", _HOW, headers=_CHALLENGE)
    if len(token) > _LONGEST_TOKEN:
        raise HttpError(401, "the bearer token is too long", _HOW, headers=_CHALLENGE)
    return token


def _access_review(user: Mapping[str, Any], namespace: str, verb: Verb) -> dict[str, Any]:
    spec = {key: user[key] for key in ("uid", "groups", "extra") if user.get(key)}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            **spec,
            "user": user.get("username") or "",
            "resourceAttributes": {
                "namespace": namespace,
                "verb": verb,
                "group": "argoproj.io",
                "resource": "workflows",
            },
        },
    }
