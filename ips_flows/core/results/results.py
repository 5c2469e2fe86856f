"""Results per image and node.

A *chunk* is the results that one ConfigMap stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ips_flows.core.results.reasons import Result

MESSAGE_LIMIT = 300  # characters of a message that are stored
FILTER_GROUP = -1  # of the results that filter writes: skipped and warm nodes
FINISH_GROUP = 1_000_000  # of those that finish writes: nodes that were never reached


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One image on one node.

    `reason` is a FailureReason, a SkipReason or empty; `seconds` and `bytes` are None if they are unknown;
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
        """Whether the image is on the node."""
        return self.result in (Result.PULLED, Result.PRESENT)


@dataclass(frozen=True, slots=True)
class NodeResult:
    """All images on one node, in the order of the request. `at` is RFC 3339 UTC."""

    images: tuple[ImageResult, ...]
    at: str

    @property
    def ok(self) -> bool:
        """Whether every image is on the node."""
        return all(image.ok for image in self.images)

    @property
    def skipped(self) -> bool:
        """Whether every image was skipped."""
        return all(image.result is Result.SKIPPED for image in self.images)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Results that are stored together. Of two results for one node the later attempt counts."""

    group: int  # of the plan, or FILTER_GROUP, or FINISH_GROUP
    attempt: int
    nodes: Mapping[str, NodeResult] = field(default_factory=dict)
    started: str = ""  # when the attempt began, RFC 3339 UTC


def fold(chunks: Iterable[Chunk]) -> dict[str, NodeResult]:
    """One result per node: a later attempt's result wins over an earlier one's, and any over that of finish."""
    folded: dict[str, NodeResult] = {}
    for chunk in sorted(chunks, key=lambda one: (one.group, one.attempt)):
        if chunk.group == FINISH_GROUP:
            folded.update({name: node for name, node in chunk.nodes.items() if name not in folded})
        else:
            folded.update(chunk.nodes)
    return folded


def same_for_all(images: int, result: ImageResult, at: str) -> NodeResult:
    """A node on which every image has the same result."""
    return NodeResult((result,) * images, at)
