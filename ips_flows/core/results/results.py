"""Results per image and node.

A *chunk* is the set of results in one ConfigMap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ips_flows.core.results.reasons import Result

MESSAGE_LIMIT = 300  # characters of a message that are stored
FILTER_GROUP = -1  # group of the results that filter writes: skipped and warm nodes
FINISH_GROUP = 1_000_000  # group of the results that finish writes: nodes that were never started


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The result of an image on a node.

    `reason` is a FailureReason, a SkipReason or empty; `seconds` and `bytes` are None if unknown;
    `tries` counts the failed pulls that were observed.
    """

    result: Result
    reason: str = ""
    message: str = ""
    seconds: float | None = None
    bytes: int | None = None
    digest: str | None = None
    tries: int = 0

    @property
    def ok(self) -> bool:
        """Return whether the image is on the node."""
        return self.result in (Result.PULLED, Result.PRESENT)


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The results of all images on a node, in the order of the request. `at` is RFC 3339 UTC."""

    images: tuple[ImageResult, ...]
    at: str

    @property
    def ok(self) -> bool:
        """Return whether every image is on the node."""
        return all(image.ok for image in self.images)

    @property
    def skipped(self) -> bool:
        """Return whether every image was skipped."""
        return all(image.result is Result.SKIPPED for image in self.images)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Results that are stored together. For a node in several chunks, the later attempt counts."""

    group: int  # a group of the plan, FILTER_GROUP or FINISH_GROUP
    attempt: int
    nodes: Mapping[str, NodeResult] = field(default_factory=dict)
    started: str = ""  # start of the attempt, RFC 3339 UTC


def fold(chunks: Iterable[Chunk]) -> dict[str, NodeResult]:
    """Return one result per node. A later attempt wins over an earlier one; every attempt wins over finish."""
    folded: dict[str, NodeResult] = {}
    for chunk in sorted(chunks, key=lambda one: (one.group, one.attempt)):
        if chunk.group == FINISH_GROUP:
            folded.update({name: node for name, node in chunk.nodes.items() if name not in folded})
        else:
            folded.update(chunk.nodes)
    return folded


def same_for_all(images: int, result: ImageResult, at: str) -> NodeResult:
    """Return the result of a node on which every image has the same result."""
    return NodeResult((result,) * images, at)
