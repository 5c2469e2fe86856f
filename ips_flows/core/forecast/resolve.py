"""Resolve a reference: its digest, and the content that nodes of each architecture would fetch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ips_flows.core.images.manifest import (
    Descriptor,
    ImageManifest,
    Index,
    ManifestError,
    read_config,
    read_manifest,
)
from ips_flows.core.images.platform import Platform, match_rank
from ips_flows.core.results.reasons import FailureReason

_DEEPEST = 3  # an index may hold indexes; no one nests them deeper


class Fetched(NamedTuple):
    """A manifest as it was received. `digest` is that of the body, by which a node fetches it."""

    body: bytes
    content_type: str
    digest: str


class ResolveError(Exception):
    """A registry did not return what was asked for.

    `certain` is whether a node would get the same answer: it may reach a registry that can't be reached from here.
    """

    def __init__(self, failure: FailureReason, message: str, *, certain: bool) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.certain = certain


class Fetcher(Protocol):
    """One repository of a registry. Both methods raise ResolveError."""

    def manifest(self, reference: str) -> Fetched:
        """The manifest of a tag or digest."""

    def blob(self, blob: Descriptor) -> bytes:
        """A small blob, such as the config of an image."""


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """The content that nodes of an architecture fetch. `blobs` maps digests to sizes in bytes, config included.

    `made_for` is the platform if it is not the nodes' own; `foreign` counts the layers that are not in the registry.
    """

    digest: str
    blobs: Mapping[str, int]
    layers: int
    foreign: int = 0
    made_for: Platform | None = None

    @property
    def bytes(self) -> int:
        """The compressed size."""
        return sum(self.blobs.values())


@dataclass(frozen=True, slots=True)
class Resolved:
    """An image that exists. `contents` maps architectures to their content, None if there is none for them."""

    digest: str
    platforms: Sequence[Platform]
    contents: Mapping[str, PlatformImage | None]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why an image does not exist, or is unknown. See ResolveError."""

    failure: FailureReason
    message: str
    certain: bool


def resolve(fetcher: Fetcher, reference: str, architectures: Iterable[str]) -> Resolved | Unresolved:
    """Resolve a tag or digest, and the content that nodes of some architectures would fetch."""
    try:
        fetched = fetcher.manifest(reference)
        return _resolved(fetcher, fetched, sorted(set(architectures)))
    except ManifestError as error:
        return Unresolved(FailureReason.INVALID_IMAGE, f"the registry has {error}", certain=True)
    except ResolveError as error:
        return Unresolved(error.failure, error.message, certain=error.certain)


def _resolved(fetcher: Fetcher, fetched: Fetched, architectures: Sequence[str]) -> Resolved:
    top = read_manifest(fetched.body, fetched.content_type)
    if isinstance(top, ImageManifest):
        platform = _platform(fetcher, top)
        contents = {one: _platform_image(fetched.digest, top, one, platform) for one in architectures}
        return Resolved(fetched.digest, [platform] if platform else [], contents)
    entries = list(_leaf_entries(fetcher, top, 1))
    found: dict[str, PlatformImage | None] = {}
    for architecture in architectures:
        best = _best_entry(entries, architecture)
        if best is not None:
            inner = fetcher.manifest(best.digest)
            manifest = read_manifest(inner.body, inner.content_type)
            if isinstance(manifest, Index):
                raise ManifestError("an index whose entry for a platform is an index itself")
            found[architecture] = _platform_image(best.digest, manifest, architecture, best.platform)
        else:
            found[architecture] = None
    platforms = sorted({one.platform for one in entries if one.platform})
    return Resolved(fetched.digest, platforms, found)


def _leaf_entries(fetcher: Fetcher, index: Index, depth: int) -> Iterable[Descriptor]:
    """The entries, each with its platform. For an entry without one the manifest is read, as a node does."""
    for entry in index.entries:
        if entry.platform is not None:
            yield entry
            continue
        fetched = fetcher.manifest(entry.digest)
        inner = read_manifest(fetched.body, fetched.content_type)
        if isinstance(inner, ImageManifest):
            platform = _platform(fetcher, inner)
            yield Descriptor(entry.digest, entry.size, entry.media_type, platform)
        elif depth < _DEEPEST:
            yield from _leaf_entries(fetcher, inner, depth + 1)
        else:
            raise ManifestError(f"indexes in one another, more than {_DEEPEST} deep")


def _best_entry(entries: Sequence[Descriptor], architecture: str) -> Descriptor | None:
    fitting = [
        (fit, number)
        for number, entry in enumerate(entries)
        if entry.platform is not None and (fit := match_rank(architecture, entry.platform)) is not None
    ]
    return entries[min(fitting)[1]] if fitting else None


def _platform(fetcher: Fetcher, manifest: ImageManifest) -> Platform | None:
    """The platform in an image's config; None for another artifact, which has no such config."""
    return read_config(fetcher.blob(manifest.config)) if manifest.runs else None


def _platform_image(
    digest: str, manifest: ImageManifest, architecture: str, platform: Platform | None
) -> PlatformImage:
    """The content of a manifest. Without an index, every node fetches it, whatever platform it is for."""
    blobs = {part.digest: part.size for part in (manifest.config, *manifest.layers)}
    fits = platform is None or match_rank(architecture, platform) is not None
    return PlatformImage(
        digest,
        blobs,
        len(manifest.layers),
        sum(layer.foreign for layer in manifest.layers),
        None if fits else platform,
    )
