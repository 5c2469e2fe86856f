"""What a registry offers under a reference: its digest, and for each architecture of the nodes what they would fetch."""

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
    """A manifest as it came. `digest` is that of the body, under which a node fetches it."""

    body: bytes
    content_type: str
    digest: str


class ResolveError(Exception):
    """A registry did not give what it was asked for.

    `certain` is whether a node would fare the same: a registry that can't be reached from here may be reached there.
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
    """What nodes of an architecture fetch. `blobs` maps digests to sizes in bytes, config included.

    `made_for` is the platform, where it is another than the nodes'; `elsewhere` counts the layers that come from
    other places than the registry.
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
    """An image that is there. `contents` maps architectures to what they fetch, None where there is nothing for them."""

    digest: str
    platforms: Sequence[Platform]
    contents: Mapping[str, PlatformImage | None]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why nothing is known of an image, or why there is none. See ResolveError."""

    failure: FailureReason
    message: str
    certain: bool


def resolve(source: Fetcher, reference: str, architectures: Iterable[str]) -> Resolved | Unresolved:
    """Ask for a tag or digest, and for as much as tells what nodes of some architectures would fetch."""
    try:
        fetched = source.manifest(reference)
        return _offer(source, fetched, sorted(set(architectures)))
    except ManifestError as error:
        return Unresolved(FailureReason.INVALID_IMAGE, f"the registry has {error}", certain=True)
    except ResolveError as error:
        return Unresolved(error.failure, error.message, certain=error.certain)


def _offer(source: Fetcher, fetched: Fetched, architectures: Sequence[str]) -> Resolved:
    top = read_manifest(fetched.body, fetched.content_type)
    if isinstance(top, ImageManifest):
        platform = _platform(source, top)
        contents = {one: _content(fetched.digest, top, one, platform) for one in architectures}
        return Resolved(fetched.digest, [platform] if platform else [], contents)
    entries = list(_flat(source, top, 1))
    found: dict[str, PlatformImage | None] = {}
    for architecture in architectures:
        best = _best(entries, architecture)
        if best is not None:
            inner = source.manifest(best.digest)
            manifest = read_manifest(inner.body, inner.content_type)
            if isinstance(manifest, Index):
                raise ManifestError("an index whose entry for a platform is an index itself")
            found[architecture] = _content(best.digest, manifest, architecture, best.platform)
        else:
            found[architecture] = None
    platforms = sorted({one.platform for one in entries if one.platform})
    return Resolved(fetched.digest, platforms, found)


def _flat(source: Fetcher, index: Index, depth: int) -> Iterable[Descriptor]:
    """The entries with a platform each: an entry that tells none is asked for it, as a node would."""
    for entry in index.entries:
        if entry.platform is not None:
            yield entry
            continue
        fetched = source.manifest(entry.digest)
        inner = read_manifest(fetched.body, fetched.content_type)
        if isinstance(inner, ImageManifest):
            platform = _platform(source, inner)
            yield Descriptor(entry.digest, entry.size, entry.media_type, platform)
        elif depth < _DEEPEST:
            yield from _flat(source, inner, depth + 1)
        else:
            raise ManifestError(f"indexes in one another, more than {_DEEPEST} deep")


def _best(entries: Sequence[Descriptor], architecture: str) -> Descriptor | None:
    fitting = [
        (fit, number)
        for number, entry in enumerate(entries)
        if entry.platform is not None and (fit := match_rank(architecture, entry.platform)) is not None
    ]
    return entries[min(fitting)[1]] if fitting else None


def _platform(source: Fetcher, manifest: ImageManifest) -> Platform | None:
    """What an image is made for, by its config; None where it is another artifact, which has no such config."""
    return read_config(source.blob(manifest.config)) if manifest.runs else None


def _content(
    digest: str, manifest: ImageManifest, architecture: str, platform: Platform | None
) -> PlatformImage:
    """An image that stands alone is fetched by every node, whatever it is made for."""
    blobs = {part.digest: part.size for part in (manifest.config, *manifest.layers)}
    fits = platform is None or match_rank(architecture, platform) is not None
    return PlatformImage(
        digest,
        blobs,
        len(manifest.layers),
        sum(layer.foreign for layer in manifest.layers),
        None if fits else platform,
    )
