"""Container images without a container engine: built in memory, stored as OCI layouts, pushed over HTTP.

Specifications: https://github.com/opencontainers/image-spec and https://github.com/opencontainers/distribution-spec
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import http.client
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .errors import LocalClusterError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
# Not compressed: on one machine, compression only costs time, and random data does not get smaller.
LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclasses.dataclass(frozen=True)
class Blob:
    """Content with its digest, either in memory or in a file."""

    media_type: str
    digest: str
    size: int
    content: bytes | Path

    @classmethod
    def of(cls, media_type: str, content: bytes | Path) -> Blob:
        """Return the blob of some content."""
        if isinstance(content, bytes):
            digest, size = hashlib.sha256(content).hexdigest(), len(content)
        else:
            with content.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = content.stat().st_size
        return cls(media_type, f"sha256:{digest}", size, content)

    def descriptor(self) -> dict[str, object]:
        """Return its descriptor for a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def open(self) -> BinaryIO:
        """Return a stream of the content."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


@dataclasses.dataclass(frozen=True)
class Image:
    """A manifest with the blobs that it refers to."""

    manifest: Blob
    parts: tuple[Blob, ...]

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return self.manifest.digest


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file of a layer: content and mode, a symbolic link (``target``) or a directory (neither)."""

    path: str
    content: bytes | Path | None = None
    target: str = ""
    mode: int = 0o644


def layer(entries: Iterable[Entry]) -> Blob:
    """Build a layer; the same entries give the same digest on every machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.mode = entry.mode
            if entry.target:
                info.type, info.linkname = tarfile.SYMTYPE, entry.target
                archive.addfile(info)
            elif entry.content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                content = entry.content if isinstance(entry.content, bytes) else entry.content.read_bytes()
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return Blob.of(LAYER, buffer.getvalue())


def image(layers: Sequence[Blob], **settings: object) -> Image:
    """Build an image of uncompressed layers; ``settings`` are fields of the config such as ``Cmd`` and ``User``."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": settings,
        # Image builders take the number of layers from the history.
        "history": [{"created_by": "ips-flow local cluster"} for _ in layers],
        "rootfs": {"type": "layers", "diff_ids": [part.digest for part in layers]},
    }
    config = Blob.of(CONFIG, json.dumps(document).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [part.descriptor() for part in layers],
    }
    return Image(Blob.of(MANIFEST, json.dumps(manifest).encode()), (config, *layers))


def save(made: Image, folder: Path) -> None:
    """Store an image as an OCI layout; the index is written last, so an incomplete layout is not loaded."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for part in (*made.parts, made.manifest):
        target = blobs / part.digest.removeprefix("sha256:")
        if target.exists() and target.stat().st_size == part.size:
            continue
        with part.open() as source, target.open("wb") as sink:
            while piece := source.read(1 << 20):
                sink.write(piece)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [made.manifest.descriptor()]}
    (folder / "index.json").write_text(json.dumps(index))


def load(folder: Path) -> Image | None:
    """Return the image that is stored in an OCI layout, or None if there is none."""
    index = folder / "index.json"
    if not index.is_file():
        return None

    def blob(descriptor: dict[str, Any]) -> Blob:
        path = folder / "blobs" / "sha256" / str(descriptor["digest"]).removeprefix("sha256:")
        return Blob(str(descriptor["mediaType"]), str(descriptor["digest"]), int(descriptor["size"]), path)

    manifest = blob(json.loads(index.read_text())["manifests"][0])
    with manifest.open() as stream:
        document = json.load(stream)
    parts = tuple(blob(descriptor) for descriptor in [document["config"], *document["layers"]])
    if any(isinstance(part.content, Path) and not part.content.is_file() for part in parts):
        return None
    return Image(manifest, parts)


class Registry:
    """A plain-HTTP registry."""

    def __init__(self, address: str, *, user: str = "", password: str = "") -> None:
        """Use the registry at ``address`` (host:port)."""
        self.address = address
        self._headers: dict[str, str] = {}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def has(self, name: str, reference: str, digest: str = "") -> bool:
        """Return whether the registry has that tag or digest; if ``digest`` is given, with that digest."""
        headers = {"Accept": f"{MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"}
        status, answer = self._request("HEAD", f"/v2/{name}/manifests/{reference}", headers=headers)
        return status == http.HTTPStatus.OK and digest in ("", answer.get("Docker-Content-Digest", ""))

    def push(self, made: Image, name: str, tag: str) -> bool:
        """Upload the missing blobs of an image and tag it; return whether the tag is new or was moved."""
        if self.has(name, tag, made.digest):
            return False
        for part in made.parts:
            status, _ = self._request("HEAD", f"/v2/{name}/blobs/{part.digest}")
            if status == http.HTTPStatus.OK:
                continue
            status, answer = self._request("POST", f"/v2/{name}/blobs/uploads/")
            self._expect(status, http.HTTPStatus.ACCEPTED, f"start an upload to {name}")
            location = answer["Location"]
            path = location.split(self.address, 1)[-1]
            path += ("&" if "?" in path else "?") + f"digest={part.digest}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(part.size)}
            with part.open() as stream:
                status, _ = self._request("PUT", path, headers=headers, body=stream)
            self._expect(status, http.HTTPStatus.CREATED, f"upload {part.digest} to {name}")
        with made.manifest.open() as stream:
            body = stream.read()
        headers = {"Content-Type": made.manifest.media_type}
        status, _ = self._request("PUT", f"/v2/{name}/manifests/{tag}", headers=headers, body=body)
        self._expect(status, http.HTTPStatus.CREATED, f"tag {name}:{tag}")
        return True

    def responds(self) -> bool:
        """Return whether a registry responds at the address (also with 401)."""
        try:
            status, _ = self._request("GET", "/v2/")
        except LocalClusterError:
            return False
        return status in (http.HTTPStatus.OK, http.HTTPStatus.UNAUTHORIZED)

    def _request(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: BinaryIO | bytes | None = None,
    ) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body=body, headers={**self._headers, **(headers or {})})
            answer = connection.getresponse()
            answer.read()
            return answer.status, dict(answer.getheaders())
        except OSError as error:
            raise LocalClusterError(
                f"registry {self.address}: {method} {path}: {error}",
                hint="check with deploy/local/status whether it is running",
            ) from error
        finally:
            connection.close()

    def _expect(self, got: int, wanted: int, what: str) -> None:
        if got != wanted:
            raise LocalClusterError(f"registry {self.address}: can't {what}: HTTP {got}, expected {wanted}")
