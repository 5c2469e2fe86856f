"""Manifests and indexes in the formats of the OCI image specification and Docker schema 2.

https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ips_flows.core.images.platform import Platform, read_platform

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_FIRST_SCHEMA = "application/vnd.docker.distribution.manifest.v1"
ACCEPT = ", ".join((*_INDEXES, *_MANIFESTS))


class ManifestError(ValueError):
    """The response of a registry is not a usable manifest. The message describes the content."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob or to another manifest. `foreign` is True if the content is fetched from another URL."""

    digest: str
    size: int
    media_type: str
    platform: Platform | None = None
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """The images of several platforms under one name, without entries that are not images (attestations)."""

    entries: Sequence[Descriptor]


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """One image: its config, and its layers from the lowest to the highest."""

    config: Descriptor
    layers: Sequence[Descriptor]

    @property
    def runs(self) -> bool:
        """Return whether this is a container image, and not another artifact such as a Helm chart."""
        return self.config.media_type in _CONFIGS


def read_manifest(body: bytes, content_type: str) -> Index | ImageManifest:
    """Parse the manifest or index that a registry returned for a tag or digest. Raises ManifestError."""
    document = _json(body)
    sent = content_type.partition(";")[0].strip()
    kind = str(document.get("mediaType") or sent)
    if document.get("schemaVersion") == 1 or kind.startswith(_FIRST_SCHEMA):
        raise ManifestError("a manifest of Docker schema 1, which containerd 2 and CRI-O do not support")
    if kind in _INDEXES or (kind not in _MANIFESTS and "manifests" in document):
        entries = [_descriptor(entry) for entry in _list(document, "manifests")]
        return Index([one for one in entries if one.platform is None or one.platform.os != "unknown"])
    if kind in _MANIFESTS or "layers" in document:
        return ImageManifest(
            _descriptor(_mapping(document, "config")),
            [_descriptor(layer) for layer in _list(document, "layers")],
        )
    raise ManifestError(f"not an image: its media type is {kind or 'missing'}")


def read_config(body: bytes) -> Platform:
    """Return the platform in an image's config. Raises ManifestError."""
    return read_platform(_json(body))


def _descriptor(document: Any) -> Descriptor:
    if not isinstance(document, dict):
        raise ManifestError("a manifest with a descriptor that is not a mapping")
    digest, size = document.get("digest"), document.get("size")
    if not isinstance(digest, str) or ":" not in digest:
        raise ManifestError("a manifest with a descriptor without a digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestError(f"a manifest with a descriptor without a size: {digest}")
    platform = document.get("platform")
    return Descriptor(
        digest,
        size,
        str(document.get("mediaType") or ""),
        read_platform(platform) if isinstance(platform, dict) else None,
        foreign=bool(document.get("urls")),
    )


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ManifestError("not JSON") from error
    if not isinstance(document, dict):
        raise ManifestError("JSON that is not a mapping")
    return document


def _mapping(document: Mapping[str, Any], name: str) -> Any:
    if name not in document:
        raise ManifestError(f"a manifest without {name}")
    return document[name]


def _list(document: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = document.get(name)
    if not isinstance(found, list):
        raise ManifestError(f"a manifest without {name}")
    return found
