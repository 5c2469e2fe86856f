"""Replace tags by digests, so that every node gets the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ips_flows.core.images.reference import parse_reference
from ips_flows.core.request.model import ImageSpec, PrewarmRequest


@dataclass(frozen=True, slots=True)
class Pinned:
    """A request in which every image has a digest. `tags` maps each unpinned image to its pinned reference.

    `doubled` lists the images that were removed as duplicates of another image of the request.
    """

    request: PrewarmRequest
    tags: Mapping[str, str]
    doubled: Sequence[str] = ()


def unpinned(request: PrewarmRequest) -> list[str]:
    """Return the images without a digest."""
    return [spec.image for spec in request.images if not parse_reference(spec.image).pinned]


def pin(request: PrewarmRequest, digests: Mapping[str, str]) -> Pinned:
    """Pin a request. `digests` maps every unpinned image to a digest: that of its index, if it has an index."""
    seen: set[str] = set()
    specs: list[ImageSpec] = []
    tags: dict[str, str] = {}
    doubled: list[str] = []
    for spec in request.images:
        reference = parse_reference(spec.image)
        text = spec.image if reference.pinned else f"{spec.image}@{digests[spec.image]}"
        identity = parse_reference(text).identity
        if not reference.pinned:
            tags[spec.image] = text
        if identity in seen:
            doubled.append(spec.image)
            continue
        seen.add(identity)
        specs.append(spec.model_copy(update={"image": text}))
    return Pinned(request.model_copy(update={"images": tuple(specs)}), tags, doubled)
