"""The registry client against Debian's docker-registry and against a registry with token authentication."""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from localcluster.registry import HTPASSWD
from urllib3.util import Retry

from ips_flows.core.forecast.resolve import Resolved, Unresolved, resolve
from ips_flows.core.images.keyring import Credential
from ips_flows.core.images.platform import Platform
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.results.reasons import FailureReason
from ips_flows.registry.client import ManifestCache, RegistryIO, Repository, is_plain
from tests.fakes import token_registry as fake
from tests.fakes.silent_server import Tarpit
from tests.fakes.token_registry import Hub, Ware, push

ROBOT = ("robot", "local-only")
FOREVER = RegistryIO(seconds=30.0)


@contextmanager
def docker_registry(folder: Path, htpasswd: str = "", *, certificate: bool = False) -> Iterator[str]:
    """Run Debian's docker-registry as a process and yield its `host:port`.

    With `certificate` it uses TLS for registry.test, and writes the certificate to `tls.pem` in the folder.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    configuration: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": address},
    }
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd)
        configuration["auth"] = {"htpasswd": {"realm": "private", "path": str(folder / "htpasswd")}}
    scheme, trusted = "http", ""
    if certificate:
        scheme, trusted = "https", str(folder / "tls.pem")
        made = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=registry.test"
        names = ["-addext", "subjectAltName=DNS:registry.test,IP:127.0.0.1"]
        key = str(folder / "tls.key")
        subprocess.run(
            [*made.split(), *names, "-keyout", key, "-out", trusted], check=True, capture_output=True
        )
        configuration["http"]["tls"] = {"certificate": trusted, "key": key}
    file = folder / "registry.yml"
    file.write_text(json.dumps(configuration))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        session = requests.Session()
        session.mount(f"{scheme}://", requests.adapters.HTTPAdapter(max_retries=_patience()))
        there = session.get(f"{scheme}://{address}/v2/", timeout=10, verify=trusted or True)
        assert there.status_code in (200, 401)
        yield address
    finally:
        process.kill()
        process.wait()


def _patience() -> Retry:
    return Retry(total=40, backoff_factor=0.02, backoff_max=0.3)


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry without authentication."""
    with docker_registry(tmp_path_factory.mktemp("open")) as address:
        yield address


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that requires a password."""
    with docker_registry(tmp_path_factory.mktemp("closed"), HTPASSWD) as address:
        yield address


def ask(
    image: str, *architectures: str, credentials: tuple[Credential, ...] = (), **settings: Any
) -> Resolved | Unresolved:
    reference = parse_reference(image)
    with Repository(reference, credentials, io=settings.pop("io", FOREVER), **settings) as source:
        return resolve(source, reference.digest or reference.tag or "latest", architectures)


def refused(image: str, **settings: Any) -> tuple[FailureReason, bool, str]:
    found = ask(image, "amd64", **settings)
    assert isinstance(found, Unresolved), found
    return found.failure, found.certain, found.message


def robot(address: str, password: str = "local-only") -> Credential:  # noqa: S107  (a fixture)
    return Credential(address, "robot", password)


def test_an_index_of_two_platforms(open_registry: str) -> None:
    """The digest is the index's; each architecture has its own image, and an unsupported architecture has none."""
    shared = fake.layer(1000, "shared", "application/vnd.oci.image.layer.v1.tar+zstd")
    amd = fake.image(shared, fake.layer(500, "amd"), platform="linux/amd64")
    arm = fake.image(shared, platform="linux/arm64/v8")
    attest = fake.image(fake.layer(9, "attest"), platform="unknown/unknown")
    both = fake.index(("linux/amd64", amd), ("linux/arm64/v8", arm), ("unknown/unknown", attest))
    image = push(open_registry, "team/two", "1", both)
    found = ask(image, "amd64", "arm64", "s390x")
    assert isinstance(found, Resolved), found
    assert found.digest == both.digest
    assert found.platforms == [Platform("linux", "amd64"), Platform("linux", "arm64")]
    contents = found.contents
    assert contents["s390x"] is None
    assert contents["amd64"]
    assert contents["arm64"]
    assert (contents["amd64"].digest, contents["amd64"].bytes) == (amd.digest, amd.weight)
    assert (contents["arm64"].digest, contents["arm64"].bytes) == (arm.digest, arm.weight)
    assert shared.digest in contents["amd64"].blobs.keys() & contents["arm64"].blobs.keys()


@pytest.mark.parametrize("media_type", [fake.DOCKER_MANIFEST, fake.OCI_MANIFEST])
def test_an_image_without_an_index(open_registry: str, media_type: str) -> None:
    """Docker and OCI manifests are both read; the platform comes from the image's config."""
    config = (
        "application/vnd.docker.container.image.v1+json"
        if media_type == fake.DOCKER_MANIFEST
        else fake.OCI_CONFIG
    )
    kind = (
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
        if media_type == fake.DOCKER_MANIFEST
        else fake.LAYER
    )
    one = fake.image(
        fake.layer(700, "alone", kind), platform="linux/arm64", media_type=media_type, config_type=config
    )
    found = ask(push(open_registry, "team/alone", media_type[-7:-5], one), "amd64", "arm64")
    assert isinstance(found, Resolved), found
    assert found.digest == one.digest
    assert found.contents["arm64"]
    assert found.contents["arm64"].made_for is None
    assert found.contents["amd64"]
    assert found.contents["amd64"].made_for == Platform("linux", "arm64")
    pinned = ask(f"{open_registry}/team/alone@{one.digest}", "arm64")
    assert isinstance(pinned, Resolved)
    assert pinned.digest == one.digest


def test_missing_images(open_registry: str) -> None:
    """A missing tag, repository or digest is certain, and has the registry's message."""
    push(open_registry, "team/there", "1", fake.image(fake.layer(1)))
    failure, certain, message = refused(f"{open_registry}/team/there:2")
    assert (failure, certain) == (FailureReason.NOT_FOUND, True)
    assert message == "HTTP 404: MANIFEST_UNKNOWN: manifest unknown"
    assert refused(f"{open_registry}/team/nowhere:1")[:2] == (FailureReason.NOT_FOUND, True)
    assert refused(f"{open_registry}/team/there@sha256:{'0' * 64}")[:2] == (FailureReason.NOT_FOUND, True)


def test_a_registry_with_passwords(closed_registry: str) -> None:
    """Missing or wrong credentials are Unauthorized; after wrong credentials the next ones are tried."""
    one = fake.image(fake.layer(300, "private"))
    image = push(closed_registry, "team/private", "1", one, ROBOT)
    failure, certain, message = refused(image)
    assert (failure, certain) == (FailureReason.UNAUTHORIZED, True)
    assert message == "HTTP 401: UNAUTHORIZED: authentication required (no credentials sent)"
    wrong = robot(closed_registry, "wrong")
    failure, certain, message = refused(image, credentials=(wrong,))
    assert (failure, certain) == (FailureReason.UNAUTHORIZED, True)
    assert message.endswith("(user: robot)")
    assert "wrong" not in message
    for credentials in ((robot(closed_registry),), (wrong, robot(closed_registry))):
        found = ask(image, "amd64", credentials=credentials)
        assert isinstance(found, Resolved), found
        assert found.digest == one.digest


@pytest.fixture
def tokens() -> Iterator[Hub]:
    """A registry that requires tokens, even for public repositories."""
    with fake.hub("token", users={"robot": "local-only"}, private=frozenset({"team/private"})) as one:
        yield one


def test_tokens(tokens: Hub) -> None:
    """A token is requested once per image, with or without credentials, only for its repository."""
    one = fake.index(("linux/amd64", fake.image(fake.layer(10))))
    public, private = tokens.put("team/public", "1", one), tokens.put("team/private", "1", one)
    assert isinstance(ask(public, "amd64"), Resolved)
    assert [path for path in tokens.asked if path.startswith("/token")] == [
        "/token?scope=repository%3Ateam%2Fpublic%3Apull&service=hub"
    ]
    assert refused(private)[:2] == (FailureReason.UNAUTHORIZED, True)
    assert refused(private, credentials=(robot(tokens.address, "wrong"),))[:2] == (
        FailureReason.UNAUTHORIZED,
        True,
    )
    assert isinstance(ask(private, "amd64", credentials=(robot(tokens.address),)), Resolved)


def test_a_password_is_sent_to_no_other_scheme(tokens: Hub) -> None:
    """A token URL gets credentials only if it is https, or http for a registry with plain HTTP."""
    tokens.realm = "ftp://elsewhere/token"
    image = tokens.put("team/app", "1", fake.image(fake.layer(1)))
    failure, certain, message = refused(image, credentials=(robot(tokens.address),))
    assert (failure, certain) == (FailureReason.UNAUTHORIZED, False)
    assert message == "the registry's token URL is ftp://elsewhere/token; expected https"


def test_a_token_server_without_a_token(tokens: Hub) -> None:
    """The message contains the response; nodes may get another result, so it is not certain."""
    image = tokens.put("team/app", "1", fake.image(fake.layer(1)))
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{tokens.address}/token?x=1"'}
    for body in (b"[]", b"<html>", b"{}"):
        tokens.replies = [(401, challenge, b""), (200, {}, body)]
        failure, certain, message = refused(image)
        assert (failure, certain) == (FailureReason.REGISTRY_UNAVAILABLE, False)
        assert message == f"token server {tokens.address} returned no token: HTTP 200: {body.decode()}"
    assert tokens.asked[-1] == "/token?x=1&scope=repository%3Ateam%2Fapp%3Apull"
    tokens.replies = [(401, {"WWW-Authenticate": "Negotiate"}, b"")]
    assert refused(image)[:2] == (FailureReason.UNAUTHORIZED, True)


class Clock:
    """A clock that advances only in `sleep`."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.slept: list[float] = []

    def io(self, seconds: float = 60.0) -> RegistryIO:
        """Return the client's settings with this clock."""
        return RegistryIO(self.sleep, lambda: self.passed, lambda: datetime(2026, 1, 1, tzinfo=UTC), seconds)

    def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.slept.append(seconds)
        self.passed += seconds


@pytest.mark.parametrize(
    ("wish", "wait"),
    [
        ("7", 7.0),
        ("Thu, 01 Jan 2026 00:00:09 GMT", 9.0),
        ("Thu, 01 Jan 2026 00:00:09 -0000", 9.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.5),
        ("soon", 0.5),
        ("\u00b2", 0.5),  # `str.isdigit` accepts it, but it is not a number
        ("Fri, 01 Jan 99999999999999999999 00:00:00 GMT", 0.5),
        ("", 0.5),
    ],
)
def test_retry_after_of_a_registry(wish: str, wait: float) -> None:
    """429 and 5xx are retried after the time in Retry-After."""
    clock = Clock()
    with fake.hub() as one:
        image = one.put("app", "1", fake.index())
        one.replies = [(429, {"Retry-After": wish}, b""), (503, {}, b"")]
        assert isinstance(ask(image, "amd64", io=clock.io()), Resolved)
    assert clock.slept == [wait, 1.0]


def test_a_registry_that_keeps_failing() -> None:
    """There are at most four tries within the time limit; nodes may get another result, so it is not certain."""
    clock = Clock()
    with fake.hub() as one:
        image = one.put("app", "1", fake.index())
        one.replies = [(503, {}, b"out of order")] * 9
        assert refused(image, io=clock.io()) == (
            FailureReason.REGISTRY_UNAVAILABLE,
            False,
            "HTTP 503: out of order",
        )
        assert (len(one.asked), clock.slept) == (4, [0.5, 1.0, 2.0])
        one.replies = [(429, {"Retry-After": "3600"}, b"")]
        assert refused(image, io=clock.io())[:2] == (FailureReason.RATE_LIMITED, False)
        one.replies = [(418, {}, b'{"errors": [1]}')]
        assert refused(image, io=clock.io()) == (
            FailureReason.UNKNOWN,
            False,
            'HTTP 418: {"errors": [1]}',
        )


def test_json_that_is_nested_too_deeply(tokens: Hub) -> None:
    """Deeply nested JSON is neither parsed as errors nor as a token."""
    deep = b'{"errors":' + b"[" * 100_000
    image = tokens.put("app", "1", fake.index())
    tokens.replies = [(404, {}, deep)]
    failure, certain, message = refused(image)
    assert (failure, certain) == (FailureReason.NOT_FOUND, True)
    assert message.startswith('HTTP 404: {"errors":[[[')
    challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.realm or f"http://{tokens.address}/token"}"'}
    tokens.replies = [(401, challenge, b""), (200, {}, deep)]
    assert refused(image)[:2] == (FailureReason.REGISTRY_UNAVAILABLE, False)


def test_other_content_than_requested() -> None:
    """Content that does not match its digest, is too large or is no manifest is InvalidImage."""
    one_image = fake.image(fake.layer(1))
    with fake.hub() as one:
        one.put("app", "1", one_image)
        one.wares["app", f"sha256:{'1' * 64}"] = one_image
        failure, certain, message = refused(f"{one.address}/app@sha256:{'1' * 64}")
        assert (failure, certain) == (FailureReason.INVALID_IMAGE, False)
        assert message == f"the registry returned {one_image.digest} for sha256:{'1' * 64}"
        one.wares["app", one_image.parts[0].digest] = fake.layer(3)
        assert "other content for blob" in refused(f"{one.address}/app:1")[2]
        one.replies = [(200, {}, b" " * (5 << 20))]
        assert refused(f"{one.address}/app:1")[2] == "the registry returned more than 4 MiB"
        one.put(
            "app",
            "old",
            Ware("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion": 1}'),
        )
        failure, certain, message = refused(f"{one.address}/app:old")
        assert (failure, certain) == (FailureReason.INVALID_IMAGE, True)
        assert "Docker schema 1" in message


def test_a_digest_of_another_kind() -> None:
    """SHA-512 is checked as SHA-512."""
    one_image = fake.image(fake.layer(1))
    digest = f"sha512:{hashlib.sha512(one_image.body).hexdigest()}"
    with fake.hub() as one:
        one.put("app", digest, one_image)
        found = ask(f"{one.address}/app@{digest}", "amd64")
        assert isinstance(found, Resolved)
        assert found.digest == digest
        strange = fake.image(fake.layer(1))
        body = strange.body.replace(strange.parts[0].digest.encode(), b"md5:" + b"0" * 32)
        one.put("app", "md5", Ware(strange.media_type, body))
        one.wares["app", "md5:" + "0" * 32] = strange.parts[0]
        assert refused(f"{one.address}/app:md5")[2] == "unknown digest algorithm md5"


def test_a_manifest_is_requested_once() -> None:
    """A manifest that was requested by its tag is not requested again by its digest."""
    cache = ManifestCache()
    one_image = fake.index(("linux/amd64", fake.image(fake.layer(1))))
    with fake.hub() as one:
        image = one.put("app", "1", one_image)
        ask(image, "amd64", cache=cache)
        before = len(one.asked)
        ask(f"{image}@{one_image.digest}", "amd64", cache=cache)
        assert len(one.asked) == before


def test_the_cache_is_per_repository() -> None:
    """A digest that is cached for one repository is still requested from other repositories and registries."""
    cache = ManifestCache()
    one_image = fake.index(("linux/amd64", fake.image(fake.layer(1))))
    with fake.hub() as one, fake.hub() as other:
        there = f"{one.put('app', '1', one_image)}@{one_image.digest}"
        assert isinstance(ask(there, "amd64", cache=cache), Resolved)
        for lacking in (f"{one.address}/b@{one_image.digest}", f"{other.address}/app@{one_image.digest}"):
            assert refused(lacking, cache=cache)[:2] == (FailureReason.NOT_FOUND, True)
        assert isinstance(ask(there, "amd64", cache=cache), Resolved)


def test_an_unreachable_registry() -> None:
    """The failure is not certain, because nodes may be able to reach the registry."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        failure, certain, message = refused(f"{address}/app:1", io=Clock().io())
    assert (failure, certain) == (FailureReason.REGISTRY_UNAVAILABLE, False)
    assert message.startswith(f"{address} can't be reached: ")
    assert "Connection refused" in message
    assert "object at" not in message


def test_an_unknown_host_name() -> None:
    """An unknown host name is not retried."""
    clock = Clock()
    failure, certain, message = refused("registry.invalid/app:1", io=clock.io())
    assert (failure, certain, clock.slept) == (FailureReason.REGISTRY_UNAVAILABLE, False, [])
    assert message.startswith("registry.invalid can't be reached: ")


def test_redirects() -> None:
    """A redirect to another host is followed without credentials; a redirect loop is an error."""
    one_image = fake.index()
    with fake.hub("basic", users={"robot": "local-only"}) as one, fake.hub() as storage:
        image = one.put("app", "1", one_image)
        storage.put("app", "1", one_image)
        challenge = (401, {"WWW-Authenticate": 'Basic realm="hub"'}, b"")
        one.replies = [challenge, (307, {"Location": f"http://{storage.address}/v2/app/manifests/1"}, b"")]
        assert isinstance(ask(image, "amd64", credentials=(robot(one.address),)), Resolved)
        assert one.shown[-1].startswith("Basic ")
        assert storage.shown == [""]
        one.replies = [(307, {"Location": f"http://{one.address}/"}, b"")] * 40
        assert refused(image) == (
            FailureReason.REGISTRY_UNAVAILABLE,
            False,
            f"{one.address} can't be reached: Exceeded 30 redirects.",
        )


def test_a_registry_that_takes_too_long() -> None:
    """A response after the time limit is an error."""
    moments = itertools.count(0.0, 40.0)
    with fake.hub() as one:
        image = one.put("app", "1", fake.index())
        assert refused(image, io=RegistryIO(monotonic=lambda: next(moments), seconds=30.0)) == (
            FailureReason.REGISTRY_UNAVAILABLE,
            False,
            "the requests to the registry took more than 30 s",
        )


def test_a_registry_that_never_responds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that sends no response is RegistryUnavailable after the read timeout."""
    monkeypatch.setattr("ips_flows.registry.client._TIMEOUT", (0.2, 0.2))
    with Tarpit("127.0.0.1", [0]) as address:
        failure, certain, message = refused(f"{address}/app:1", io=Clock().io(0.1))
    assert (failure, certain) == (FailureReason.REGISTRY_UNAVAILABLE, False)
    assert message == f"{address} did not respond in time"


@contextmanager
def known_as(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    """Resolve a name to this machine, so that it does not count as local."""
    look_up: Callable[..., Any] = socket.getaddrinfo

    def resolved(host: str, *arguments: Any, **more: Any) -> Any:
        return look_up("127.0.0.1" if host == name else host, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolved)
        yield


def test_plain_http_only_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS is used for a registry on another machine, unless it is listed as insecure."""
    with fake.hub() as one, known_as(monkeypatch, "registry.test"):
        one.put("app", "1", fake.index())
        address = one.address.replace("127.0.0.1", "registry.test")
        failure, certain, message = refused(f"{address}/app:1")
        assert (failure, certain) == (FailureReason.REGISTRY_UNAVAILABLE, False)
        assert message.startswith(
            f"TLS with {address} failed; if it uses plain HTTP, pass it to --insecure-registry: "
        )
        for named in (address, "registry.test"):
            assert isinstance(ask(f"{address}/app:1", "amd64", insecure={named}), Resolved)


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrusted certificate is an error, unless it is in REQUESTS_CA_BUNDLE; plain HTTP to a TLS port fails."""
    with docker_registry(tmp_path, certificate=True) as there, known_as(monkeypatch, "registry.test"):
        address = there.replace("127.0.0.1", "registry.test")
        failure, certain, message = refused(f"{address}/app:1")
        assert (failure, certain) == (FailureReason.REGISTRY_UNAVAILABLE, False)
        assert message.startswith(f"TLS with {address} failed: ")
        assert "certificate verify failed" in message
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "tls.pem"))
        assert refused(f"{address}/app:1")[:2] == (FailureReason.NOT_FOUND, True)
        failure, certain, message = refused(f"{address}/app:1", insecure={address})
        assert (failure, certain) == (FailureReason.UNKNOWN, False)
        assert message == "HTTP 400: Client sent an HTTP request to an HTTPS server."


def test_which_registries_are_plain() -> None:
    """Registries on ports of this machine, in any notation, and listed registries, with one port or all, are plain."""
    ours = ("localhost:5000", "127.0.0.1:1", "127.9.9.9:80", "[::1]:5000")
    assert all(is_plain(host, ()) for host in ours)
    assert all(is_plain(host, ("a.example", "b:5000")) for host in ("a.example", "a.example:1", "b:5000"))
    others = ("localhost", "localhost:443", "10.0.0.1:5000", "b", "b:5001")
    assert not any(is_plain(host, ("b:5000",)) for host in others)


def test_the_host_of_docker_hub() -> None:
    """The registry of the name `docker.io` is registry-1.docker.io."""
    with Repository(parse_reference("busybox:1"), ()) as source:
        assert source._base == "https://registry-1.docker.io/v2/library/busybox"
