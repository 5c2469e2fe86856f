"""Resolve a reference to its digest and to the content that nodes of each architecture would pull."""

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

_DEEPEST = 3  # an index may contain indexes; real images do not nest them deeper


class Fetched(NamedTuple):
    """A manifest as it was received. `digest` is that of the body; a node pulls the manifest by it."""

    body: bytes
    content_type: str
    digest: str


class ResolveError(Exception):
    """A registry did not return the requested content.

    `certain` is True if a node would get the same response. A node may reach a registry that this host can't reach.
    """

    def __init__(self, failure: FailureReason, message: str, *, certain: bool) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.certain = certain


class Fetcher(Protocol):
    """One repository of a registry. Both methods raise ResolveError."""

    def manifest(self, reference: str) -> Fetched:
        """Get the manifest of a tag or digest."""

    def blob(self, blob: Descriptor) -> bytes:
        """Get a small blob, such as the config of an image."""


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """The content that nodes of an architecture pull. `blobs` maps digests to sizes in bytes, config included.

    `made_for` is the image's platform if it differs from the nodes'. `foreign` counts layers outside the registry.
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
    """An image that exists. `contents` maps each architecture to its content, or to None if the image has none."""

    digest: str
    platforms: Sequence[Platform]
    contents: Mapping[str, PlatformImage | None]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """The reason that an image does not exist or could not be checked. See ResolveError."""

    failure: FailureReason
    message: str
    certain: bool


def resolve(fetcher: Fetcher, reference: str, architectures: Iterable[str]) -> Resolved | Unresolved:
    """Resolve a tag or digest, and the content that nodes of these architectures would pull."""
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
                raise ManifestError("an index whose entry for a platform is another index")
            found[architecture] = _platform_image(best.digest, manifest, architecture, best.platform)
        else:
            found[architecture] = None
    platforms = sorted({one.platform for one in entries if one.platform})
    return Resolved(fetched.digest, platforms, found)


def _leaf_entries(fetcher: Fetcher, index: Index, depth: int) -> Iterable[Descriptor]:
    """Yield the entries with their platforms. For an entry without a platform it reads the manifest, as a node does."""
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
            raise ManifestError(f"indexes nested more than {_DEEPEST} levels deep")


def _best_entry(entries: Sequence[Descriptor], architecture: str) -> Descriptor | None:
    fitting = [
        (fit, number)
        for number, entry in enumerate(entries)
        if entry.platform is not None and (fit := match_rank(architecture, entry.platform)) is not None
    ]
    return entries[min(fitting)[1]] if fitting else None


def _platform(fetcher: Fetcher, manifest: ImageManifest) -> Platform | None:
    """Return the platform in an image's config; None for another artifact, which has no such config."""
    return read_config(fetcher.blob(manifest.config)) if manifest.runs else None


def _platform_image(
    digest: str, manifest: ImageManifest, architecture: str, platform: Platform | None
) -> PlatformImage:
    """Return the content of a manifest. Without an index, nodes of every platform pull it."""
    blobs = {part.digest: part.size for part in (manifest.config, *manifest.layers)}
    fits = platform is None or match_rank(architecture, platform) is not None
    return PlatformImage(
        digest,
        blobs,
        len(manifest.layers),
        sum(layer.foreign for layer in manifest.layers),
        None if fits else platform,
    )
