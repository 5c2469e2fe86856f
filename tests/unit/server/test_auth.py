"""Authorization: decisions by Kubernetes and their cache, and the origin checks of `--auth none`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ips_flows.cli.main import run
from ips_flows.core.rest.responses import HttpError
from ips_flows.kube.client import Kube
from ips_flows.server import auth
from ips_flows.server.auth import (
    AccessDecision,
    DecisionCache,
    KubernetesAuthorizer,
    NoAuthorizer,
    is_loopback,
)
from tests.fakes.apiserver import ApiServer
from tests.support.rest_harness import Rest, serving

ROOT = "/api/v1/tasks"
EVERYWHERE = "0.0.0.0"  # noqa: S104
CALLS = [
    ("GET", ROOT, "list"),
    ("POST", ROOT, "create"),
    ("GET", f"{ROOT}/a", "get"),
    ("DELETE", f"{ROOT}/a", "delete"),
    ("POST", f"{ROOT}/a/retry", "create"),
    ("GET", f"{ROOT}/a/events", "get"),
]
OPEN = ["/health", "/healthz", "/readyz", "/docs", "/docs/docs.js", "/openapi.json", "/"]


@pytest.fixture
def rest(server: ApiServer, kube: Kube) -> Iterator[Rest]:
    with serving(server, kube) as one:
        yield one


def reviews(server: ApiServer) -> list[str]:
    return [call.rpartition("/")[2].partition("?")[0] for call in server.calls if "reviews" in call]


@pytest.mark.parametrize(("method", "path", "verb"), CALLS)
def test_each_route_needs_its_verb(rest: Rest, server: ApiServer, method: str, path: str, verb: str) -> None:
    """The SubjectAccessReview is about Workflows of the namespace; 403 names the missing verb."""
    asked: list[Any] = []

    def refuse(spec: Any) -> bool:
        asked.append(spec)
        return False

    server.may = refuse
    found = rest.call(method, path, {"images": ["a"]} if method == "POST" else None)
    assert found.status == 403
    assert found.json["error"] == f"bob may not {verb} workflows.argoproj.io in namespace warm"
    resource = {"namespace": "warm", "verb": verb, "group": "argoproj.io", "resource": "workflows"}
    assert asked == [{"user": "bob", "groups": ["team"], "resourceAttributes": resource}]


@pytest.mark.parametrize(("method", "path", "verb"), CALLS)
@pytest.mark.parametrize(
    "header", [None, "Basic Ym9iOmJvYg==", "Bearer", "Bearer  ", "Bearer someone", "Bearer " + "x" * 20_000]
)
def test_a_token_is_required(rest: Rest, method: str, path: str, verb: str, header: str | None) -> None:  # noqa: ARG001
    """Every route of the API returns 401 with the challenge."""
    found = rest.call(method, path, {} if method == "POST" else None, {"Authorization": header})
    assert (found.status, found.headers["www-authenticate"]) == (401, 'Bearer realm="ips-flow"')
    assert set(found.json) == {"error", "hint", "requestId"}


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open(rest: Rest, server: ApiServer, path: str) -> None:
    """Probes, page and API description need no token."""
    assert rest.call("GET", path, headers={"Authorization": None}).status != 401
    assert reviews(server) == []


def test_a_token_that_may_read_only(rest: Rest, server: ApiServer) -> None:
    """It can list but not cancel."""
    server.may = lambda spec: spec["resourceAttributes"]["verb"] in ("get", "list")
    rest.await_list(lambda _: True)
    assert rest.get(f"{ROOT}/a").status == 404
    assert rest.call("DELETE", f"{ROOT}/a").status == 403
    assert rest.call("POST", ROOT, {"images": ["a"]}).status == 403


def test_a_review_that_fails(rest: Rest, server: ApiServer) -> None:
    """A failed review is a 503, not a refusal, and is not cached."""
    server.fail("POST .*/subjectaccessreviews", 500, "InternalError", "etcd is away", times=1)
    found = rest.get(f"{ROOT}/a")
    assert (found.status, found.headers["retry-after"]) == (503, "5")
    assert "the cluster can't check the access of this request" in found.json["error"]
    assert rest.get(f"{ROOT}/a").status == 404


def test_the_server_may_not_create_reviews(rest: Rest, server: ApiServer) -> None:
    """The server is refused, not the user: 502, with the error of the cluster."""
    server.fail("POST .*/tokenreviews", 403, "Forbidden", "ips-flow-server may not create tokenreviews")
    found = rest.get(f"{ROOT}/a")
    assert found.status == 502
    assert "ips-flow-server may not create tokenreviews" in found.json["error"]


class Clock:
    """A clock with a settable time."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


def admitted(authorizer: KubernetesAuthorizer, token: str, verb: auth.Verb = "get") -> str:
    try:
        return asyncio.run(authorizer.authorize({"authorization": f"Bearer {token}"}, verb))
    except HttpError as error:
        return str(error.status)


def test_decisions_are_cached_for_a_few_seconds(server: ApiServer, kube: Kube) -> None:
    """Grants for 10 s, refusals for 2 s, each verb separately. A revoked token is refused after that."""
    clock = Clock()
    authorizer = KubernetesAuthorizer(kube, "warm", clock=clock)
    server.users["t"] = {"username": "bob"}
    assert [admitted(authorizer, "t"), admitted(authorizer, "t")] == ["bob", "bob"]
    assert reviews(server) == ["tokenreviews", "subjectaccessreviews"]
    admitted(authorizer, "t", "delete")
    assert len(reviews(server)) == 4
    del server.users["t"]
    clock.now += 9.9
    assert admitted(authorizer, "t") == "bob"
    clock.now += 0.1
    assert admitted(authorizer, "t") == "401"
    server.users["t"] = {"username": "bob"}
    clock.now += 1.9
    assert admitted(authorizer, "t") == "401"
    clock.now += 0.1
    assert admitted(authorizer, "t") == "bob"


def test_concurrent_requests_share_a_review(server: ApiServer, kube: Kube) -> None:
    """Fifty concurrent requests cost two reviews; each request gets the decision."""
    server.users["t"] = {"username": "bob"}
    authorizer = KubernetesAuthorizer(kube, "warm")

    async def crowd() -> list[str]:
        return await asyncio.gather(
            *(authorizer.authorize({"authorization": "Bearer t"}, "list") for _ in range(50))
        )

    assert asyncio.run(crowd()) == ["bob"] * 50
    assert reviews(server) == ["tokenreviews", "subjectaccessreviews"]


def test_a_client_that_disconnects_does_not_cancel_the_review(server: ApiServer, kube: Kube) -> None:
    """The other requests that share the review still get the decision."""
    server.users["t"] = {"username": "bob"}
    authorizer = KubernetesAuthorizer(kube, "warm")

    async def two() -> str:
        first = asyncio.ensure_future(authorizer.authorize({"authorization": "Bearer t"}, "list"))
        second = asyncio.ensure_future(authorizer.authorize({"authorization": "Bearer t"}, "list"))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(two()) == "bob"


def test_the_cache_is_bounded_and_holds_no_token(server: ApiServer, kube: Kube) -> None:
    """The least recently used decision is dropped first; the key is a hash of the token."""
    kept = DecisionCache(3)
    for number in range(3):
        kept.put((bytes([number]), "get"), AccessDecision("bob"))
    assert kept.get((b"\0", "get"))
    kept.put((b"\x09", "get"), AccessDecision("bob"))
    assert (len(kept), kept.get((b"\x01", "get"))) == (3, None)
    assert kept.get((b"\0", "get"))
    server.users["s3cret"] = {"username": "bob"}
    authorizer = KubernetesAuthorizer(kube, "warm")
    admitted(authorizer, "s3cret")
    assert len(authorizer._decisions) == 1
    assert "s3cret" not in repr(authorizer._decisions._kept)


def test_a_token_goes_to_the_cluster_only(rest: Rest, server: ApiServer) -> None:
    """The token is in the body of a review, never in a path, which logs show."""
    rest.get(f"{ROOT}/a")
    assert "bobs" not in json.dumps(server.calls)


# --auth none


def refused(authorizer: NoAuthorizer, method: str, **headers: str) -> int:
    try:
        authorizer.check_origin(method, {key.replace("_", "-"): value for key, value in headers.items()})
    except HttpError as error:
        return error.status
    return 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 0),
        ("localhost:8080", 0),
        ("LOCALHOST:1", 0),
        ("127.0.0.1:8080", 0),
        ("127.9.9.9", 0),
        ("[::1]:8080", 0),
        ("10.0.0.5:8080", 0),
        ("ips.example.com", 0),
        ("IPS.example.com:443", 0),
        ("evil.example.com", 421),
        ("localhost.evil.example.com", 421),
        ("127.0.0.1.evil.example.com:8080", 421),
        ("user@localhost.evil", 421),
        ("", 421),
        ("[::1", 421),
        ("10.0.0.6", 421),
        ("0.0.0.0:8080", 421),
    ],
)
def test_the_host_must_be_allowed(host: str, status: int) -> None:
    """A foreign name that resolves to this server (DNS rebinding) is refused, for reads too."""
    authorizer = NoAuthorizer((EVERYWHERE, "10.0.0.5", "ips.example.com"))
    assert refused(authorizer, "GET", host=host) == status
    assert refused(authorizer, "POST", host=host, content_type="application/json") == status


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 0),
        ({"origin": "http://localhost:8080"}, 0),
        ({"origin": "https://localhost:8080"}, 0),  # a proxy terminates TLS
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "http://["}, 403),
        ({"sec_fetch_site": "same-origin"}, 0),
        ({"sec_fetch_site": "none"}, 0),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
    ],
)
def test_a_write_comes_from_this_site(method: str, headers: dict[str, str], status: int) -> None:
    """A page of another site or port can't write through a browser that can reach the server."""
    given = {"host": "localhost:8080", "content_type": "application/json", **headers}
    assert refused(NoAuthorizer(()), method, **given) == status
    assert refused(NoAuthorizer(()), "GET", **given) == 0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 0),
        ("Application/JSON; charset=utf-8", 0),
        ("", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("application/jsonp", 415),
    ],
)
def test_a_write_is_json(kind: str, status: int) -> None:
    """Content types that a form can send are refused. A DELETE needs none: no form can send it."""
    assert refused(NoAuthorizer(()), "POST", host="localhost", content_type=kind) == status
    assert refused(NoAuthorizer(()), "DELETE", host="localhost", content_type=kind) == 0


def test_the_checks_cover_every_route(server: ApiServer, kube: Kube) -> None:
    """Over HTTP the errors have the common shape. Probes may use any Host."""
    with serving(server, kube, NoAuthorizer(())) as rest:
        none: dict[str, str | None] = {"Authorization": None}
        good = rest.call("POST", ROOT, {"images": ["busybox:1"]}, none)
        assert good.status == 201
        foreign = {**none, "Host": "evil.example.com"}
        for path in (ROOT, f"{ROOT}/a", "/", "/docs", "/openapi.json", "/web/"):
            found = rest.call("GET", path, headers=foreign)
            assert (found.status, found.json["error"]) == (421, "host 'evil.example.com' is not allowed")
            assert found.json["requestId"] == found.headers["x-request-id"]
        for path in ("/health", "/healthz", "/readyz"):
            assert rest.call("GET", path, headers=foreign).status == 200
        before = len(server.calls)
        for headers, status in (
            ({"Origin": "http://evil.example.com"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Content-Type": "text/plain"}, 415),
        ):
            body = {"images": ["busybox:1"]}
            assert rest.call("POST", ROOT, body, {**none, **headers}).status == status
        assert not [call for call in server.calls[before:] if call.startswith("POST")]
        assert "access-control-allow-origin" not in rest.call("GET", ROOT, headers=none).headers
        assert rest.call("OPTIONS", ROOT, headers=none).status == 405


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        (EVERYWHERE, False),
        ("::", False),
        ("10.1.2.3", False),
        ("example.com", False),
    ],
)
def test_loopback(host: str, *, own: bool) -> None:
    """Loopback names and addresses only."""
    assert is_loopback(host) == own


@pytest.mark.parametrize(
    ("flags", "authorizer"),
    [
        (["--auth", "none"], NoAuthorizer),
        (["--auth", "none", "--host", EVERYWHERE, "--allow-unauthenticated"], NoAuthorizer),
        ([], KubernetesAuthorizer),
        (["--host", EVERYWHERE], KubernetesAuthorizer),
    ],
)
def test_the_options(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], authorizer: type
) -> None:
    """The options choose the authorizer; the default is Kubernetes."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    seen: list[Any] = []

    def serve(*_: Any, authorizer: Any, **__: Any) -> None:
        seen.append(authorizer)

    monkeypatch.setattr("ips_flows.server.main.serve", serve)
    assert run(["serve", *flags]) == 0
    assert [type(one) for one in seen] == [authorizer]


def test_a_public_address_without_auth_needs_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """With `--auth none` an address other than loopback needs --allow-unauthenticated."""
    assert run(["serve", "--auth", "none", "--host", EVERYWHERE]) == 2
    told = capsys.readouterr().err
    assert "--auth none on 0.0.0.0 gives access to every client that can connect" in told
    assert "--allow-unauthenticated" in told
