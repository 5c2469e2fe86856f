"""A registry in memory that requires tokens, as Docker Hub does. It can hold images that a real one rejects."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import requests

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

Auth = Literal["none", "basic", "token"]


@dataclass(frozen=True)
class Ware:
    """A blob or manifest with the parts that it references. `claimed` is a size that differs from that of the body."""

    media_type: str
    body: bytes
    parts: Sequence[Ware] = ()
    claimed: int | None = None

    @property
    def digest(self) -> str:
        """Return its digest, a SHA-256."""
        return f"sha256:{hashlib.sha256(self.body).hexdigest()}"

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """Return its descriptor in a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **more}

    @property
    def size(self) -> int:
        """Return its size in bytes in manifests."""
        return len(self.body) if self.claimed is None else self.claimed

    @property
    def weight(self) -> int:
        """Return the size of an image's config and layers in bytes."""
        return sum(part.size for part in self.parts)


def layer(size: int, seed: str = "", media_type: str = LAYER) -> Ware:
    """Return a layer of this size in bytes; the same seed gives the same layer."""
    return Ware(media_type, (hashlib.sha256(seed.encode()).digest() * (size // 32 + 1))[:size])


def claimed_layer(size: int, seed: str) -> Ware:
    """Return a layer that claims this size in bytes, for tests that read no layer."""
    return Ware(LAYER, seed.encode(), claimed=size)


def image(
    *layers: Ware,
    platform: str = "linux/amd64",
    author: str = "",
    media_type: str = OCI_MANIFEST,
    config_type: str = OCI_CONFIG,
    urls: Mapping[str, Sequence[str]] | None = None,
) -> Ware:
    """Return an image for a platform; `urls` are the URLs, by digest, of layers that are stored elsewhere.

    Images of one platform and author have the same config.
    """
    config = Ware(config_type, json.dumps(_told(platform) | ({"author": author} if author else {})).encode())
    entries = [
        one.descriptor(**({"urls": urls[one.digest]} if urls and one.digest in urls else {}))
        for one in layers
    ]
    document = {"schemaVersion": 2, "mediaType": media_type, "config": config.descriptor(), "layers": entries}
    return Ware(media_type, json.dumps(document).encode(), (config, *layers))


def index(*images: tuple[str, Ware], media_type: str = OCI_INDEX) -> Ware:
    """Return an index of images by platform; an empty platform is left out."""
    entries = [
        one.descriptor(**({"platform": _told(platform)} if platform else {})) for platform, one in images
    ]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return Ware(media_type, json.dumps(document).encode(), tuple(one for _, one in images))


def _told(platform: str) -> dict[str, str]:
    """Return a platform such as `linux/arm/v7` as the fields of an image or an index."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def push(address: str, repository: str, tag: str, ware: Ware, auth: tuple[str, str] | None = None) -> str:
    """Push an image with its parts to a real registry over plain HTTP; return its reference."""
    for part in ware.parts:
        if part.parts:
            push(address, repository, part.digest, part, auth)
            continue
        started = requests.post(f"http://{address}/v2/{repository}/blobs/uploads/", auth=auth, timeout=10)
        location = started.headers["Location"]
        put = requests.put(location, params={"digest": part.digest}, data=part.body, auth=auth, timeout=10)
        assert put.status_code == 201, put.text
    put = requests.put(
        f"http://{address}/v2/{repository}/manifests/{tag}",
        data=ware.body,
        headers={"Content-Type": ware.media_type},
        auth=auth,
        timeout=10,
    )
    assert put.status_code == 201, put.text
    return f"{address}/{repository}:{tag}"


@dataclass
class Hub:
    """The registry. `replies` (status, headers, body) are sent before all other responses; `asked` are the paths read.

    With `auth` "token" and no users every client gets a token for repositories that are not `private`.
    """

    auth: Auth = "none"
    users: Mapping[str, str] = field(default_factory=dict)
    private: frozenset[str] = frozenset()
    address: str = ""
    realm: str = ""  # URL that issues tokens; its own by default
    replies: list[tuple[int, Mapping[str, str], bytes]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)  # the Authorization header of each request
    wares: dict[tuple[str, str], Ware] = field(default_factory=dict)  # repository, tag or digest

    def put(self, repository: str, tag: str, ware: Ware) -> str:
        """Serve an image; return its reference."""
        self.wares[repository, tag] = ware
        self._put(repository, ware)
        return f"{self.address}/{repository}:{tag}"

    def _put(self, repository: str, ware: Ware) -> None:
        self.wares[repository, ware.digest] = ware
        for part in ware.parts:
            self._put(repository, part)

    def user_of(self, header: str) -> str | None:
        """Return the user of a Basic header: "" without one, None for a wrong password."""
        if not header.startswith("Basic "):
            return ""
        user, _, password = base64.b64decode(header[6:]).decode().partition(":")
        return user if self.users.get(user) == password else None

    def may(self, header: str, repository: str) -> bool:
        """Return whether an Authorization header gives access to a repository."""
        if self.auth == "none":
            return True
        if self.auth == "basic":
            return bool(self.user_of(header))
        user, _, scope = header.removeprefix("Bearer ").partition("|")
        return scope == f"repository:{repository}:pull" and (bool(user) or repository not in self.private)


@contextlib.contextmanager
def hub(auth: Auth = "none", **settings: Any) -> Iterator[Hub]:
    """Run a registry on a loopback port."""
    one = Hub(auth, **settings)

    class Handler(_Handler):
        registry = one

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    one.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    registry: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Send a token, a manifest or a blob."""
        hub, parts = self.registry, urlsplit(self.path)
        hub.asked.append(self.path)
        hub.shown.append(self.headers.get("Authorization", ""))
        if hub.replies:
            self._send(*hub.replies.pop(0))
        elif parts.path == "/token":
            self._token(parse_qs(parts.query))
        else:
            self._ware(parts.path)

    def _token(self, query: Mapping[str, Sequence[str]]) -> None:
        user = self.registry.user_of(self.headers.get("Authorization", ""))
        if user is None:
            self._error(401, "UNAUTHORIZED", "incorrect username or password")
        else:
            token = f"{user}|{query['scope'][0]}"
            self._send(200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())

    def _ware(self, path: str) -> None:
        hub = self.registry
        repository, kind, reference = path.removeprefix("/v2/").rsplit("/", 2)
        if not hub.may(self.headers.get("Authorization", ""), repository):
            realm = hub.realm or f"http://{hub.address}/token"
            wanted = f'Bearer realm="{realm}",service="hub",scope="repository:{repository}:pull"'
            self._error(
                401,
                "UNAUTHORIZED",
                "authentication required",
                {"WWW-Authenticate": 'Basic realm="hub"' if hub.auth == "basic" else wanted},
            )
            return
        ware = hub.wares.get((repository, reference))
        if ware is None:
            self._error(404, "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN", "not known")
            return
        self._send(200, {"Content-Type": ware.media_type}, ware.body)

    def _error(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self._send(status, {"Content-Type": "application/json", **(headers or {})}, body)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
