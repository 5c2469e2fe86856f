"""Who may do what: Kubernetes itself says so, or nobody is asked and the browser's own guards are checked."""

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
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  (where to listen, and no name of a server)

_TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105  (a path)
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ips-flow"'}
_HOW = "Send a token of the cluster: `Authorization: Bearer $(kubectl create token ACCOUNT)`."


class Authorizer(Protocol):
    """Decides on requests; raises HttpError. `kind` is what `--auth` calls it."""

    kind: Literal["kubernetes", "none"]

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse what no page or program of ours sends."""
        ...

    async def authorize(self, headers: Mapping[str, str], verb: Verb) -> str:
        """The name of who may do this with the tasks of the namespace."""
        ...


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """What was decided: the user's name, or why not."""

    user: str = ""
    status: int = 0  # of the refusal
    message: str = ""


class DecisionCache:
    """Decisions for a short while, at most so many; the least used one goes first."""

    def __init__(self, most: int = MOST_REMEMBERED, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[tuple[bytes, str], tuple[float, AccessDecision]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: tuple[bytes, str]) -> AccessDecision | None:
        """What was decided lately."""
        found = self._kept.get(key)
        if found is None:
            return None
        if self._clock() >= found[0]:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: tuple[bytes, str], decision: AccessDecision) -> None:
        """Remember a decision."""
        seconds = REFUSED_SECONDS if decision.status else GOOD_SECONDS
        self._kept[key] = (self._clock() + seconds, decision)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


class KubernetesAuthorizer:
    """Bearer tokens, judged by TokenReview and SubjectAccessReview on the Workflows of the namespace."""

    kind: Literal["kubernetes", "none"] = "kubernetes"

    def __init__(self, kube: Kube, namespace: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._namespace = namespace
        self._decisions = DecisionCache(clock=clock)
        self._asking: dict[tuple[bytes, str], asyncio.Future[AccessDecision]] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="auth")

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """Nothing: no browser sends a bearer token on its own."""

    async def authorize(self, headers: Mapping[str, str], verb: Verb) -> str:
        """The user behind the token, if RBAC allows the verb."""
        token = _bearer(headers)
        key = (hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), verb)
        decision = self._decisions.get(key)
        if decision is None:
            asking = self._asking.get(key)
            if asking is None:  # of those who ask at the same time one does
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
        except ForbiddenError:  # that we may not ask is told as it is
            raise
        except ApiError as error:
            raise HttpError(
                503, f"the cluster can't be asked who may do this: {error.message}", error.hint
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
            return AccessDecision(
                status=401, message="the cluster does not know this token, or it has expired"
            )
        user = status.get("user") or {}
        name = str(user.get("username") or "")
        allowed = self._kube.create(_ACCESS_REVIEWS, _access_review(user, self._namespace, verb))
        if not (allowed.get("status") or {}).get("allowed"):
            message = f"{name} may not {verb} workflows.argoproj.io in namespace {self._namespace}"
            return AccessDecision(status=403, message=message)
        return AccessDecision(name)


class NoAuthorizer:
    """Nobody is asked. Guards keep other sites' pages from using a browser that can reach the server.

    Allowed are this machine's own names and `hosts`, of which 0.0.0.0 and :: are none.
    """

    kind: Literal["kubernetes", "none"] = "none"

    def __init__(self, hosts: Iterable[str]) -> None:
        named = (one.lower().strip("[]") for one in hosts)
        self._allowed = frozenset(one for one in named if one not in _EVERYWHERE)

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """The Host must be one of ours; a write is JSON, and from no other site's page."""
        host = headers.get("host", "")
        if not self._is_allowed(host):
            raise HttpError(
                421,
                f"host {host!r} is not served here",
                "Start the server with --allowed-host for each further name that it goes by.",
            )
        if method in ("GET", "HEAD", "OPTIONS"):
            return
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host.lower():
            raise HttpError(403, f"origin {origin[:200]!r} is another site's: writes come from this one only")
        site = headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none"):
            raise HttpError(403, f"a {site[:40]!r} request: writes come from this site only")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method != "DELETE" and kind != "application/json":  # no form and no plain fetch can send either
            raise HttpError(415, f"content type {kind[:100]!r}: writes need `Content-Type: application/json`")

    async def authorize(self, headers: Mapping[str, str], verb: Verb) -> str:  # noqa: ARG002
        """Whoever comes through."""
        return ""

    def _is_allowed(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._allowed or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
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
