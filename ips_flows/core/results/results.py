"""What became of each image on each node, and how it is stored.

A *chunk* is one ConfigMap's worth of results: compressed JSON in `binaryData`, never above the API's limits.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ips_flows.core import stored_format

MESSAGE_LIMIT = 300
# What `decode` raises of a ConfigMap that someone else labelled as results.
NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, OSError, EOFError, RecursionError, zlib.error)
CHUNK_BYTES = 900_000  # a ConfigMap holds 1 MiB, base64 and metadata included


class Result(StrEnum):
    """What became of an image on a node."""

    PULLED = "pulled"
    PRESENT = "present"
    FAILED = "failed"
    SKIPPED = "skipped"


class FailureReason(StrEnum):
    """Why an image is not on a node although it was asked for."""

    NOT_FOUND = "NotFound"
    UNAUTHORIZED = "Unauthorized"
    RATE_LIMITED = "RateLimited"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    NO_SPACE = "NoSpace"
    WRONG_PLATFORM = "WrongPlatform"
    INVALID_IMAGE = "InvalidImage"
    TIMEOUT = "Timeout"
    UNSCHEDULABLE = "Unschedulable"
    NODE_LOST = "NodeLost"
    WORKER_IMAGE = "WorkerImage"
    CANCELLED = "Cancelled"
    UNKNOWN = "Unknown"


class SkipReason(StrEnum):
    """Why a node was not touched."""

    NOT_READY = "NotReady"
    CORDONED = "Cordoned"
    TAINT_NOT_TOLERATED = "TaintNotTolerated"
    NOT_SELECTED = "NotSelected"
    EXCLUDED = "Excluded"
    WRONG_PLATFORM = "WrongPlatform"
    VIRTUAL = "Virtual"
    BREAKER_OPEN = "BreakerOpen"  # a whole first window brought no image to any node
    NOT_REACHED = "NotReached"  # the task ended before this node's turn


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One image on one node.

    `reason` is a Failure or a Skip, `seconds` and `bytes` are None where nobody said them,
    `tries` counts pulls that were seen to fail.
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
        """Whether the node was left alone."""
        return all(image.result is Result.SKIPPED for image in self.images)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Results that were stored together. Of two results for one node the later attempt counts."""

    group: int  # -1: written by filter (skipped and warm nodes); MAX: by finish
    attempt: int
    nodes: Mapping[str, NodeResult] = field(default_factory=dict)
    started: str = ""  # when the attempt began, RFC 3339 UTC


_FRAMES = re.compile(
    r'^(?:Failed to pull image "[^"]*": |rpc error: code = \w+ desc = '
    r'|failed to (?:pull and unpack|resolve|copy|unpack)(?: image| reference)?(?: "[^"]*")?: )+'
)
FILTER_GROUP = -1
FINISH_GROUP = 1_000_000


def encode(chunk: Chunk) -> dict[str, str]:
    """The `binaryData` of a ConfigMap."""
    document = {
        "version": stored_format.FORMAT,
        "needs": stored_format.NEEDED,
        "group": chunk.group,
        "attempt": chunk.attempt,
        "started": chunk.started,
        "nodes": {name: _pack(node) for name, node in chunk.nodes.items()},
    }
    return pack("results.json.gz", document)


def decode(binary: Mapping[str, str]) -> Chunk:
    """Read what `encode` wrote. Raises NewerFormatError where a newer program wrote it."""
    document = unpack("results.json.gz", binary)
    stored_format.check_format(document, "results are", "version")
    return Chunk(
        group=document["group"],
        attempt=document["attempt"],
        nodes={name: _unpack(node) for name, node in document["nodes"].items()},
        started=document.get("started", ""),
    )


def split(chunk: Chunk, limit: int = CHUNK_BYTES) -> list[Chunk]:
    """The same results in as many chunks as their stored size needs."""
    size = sum(len(value) for value in encode(chunk).values())
    if size <= limit or len(chunk.nodes) <= 1:
        return [chunk]
    names = list(chunk.nodes)
    half = len(names) // 2
    parts = (names[:half], names[half:])
    return [
        piece
        for part in parts
        for piece in split(replace(chunk, nodes={name: chunk.nodes[name] for name in part}), limit)
    ]


def fold(chunks: Iterable[Chunk]) -> dict[str, NodeResult]:
    """One result per node: a later attempt's beats an earlier one's.

    Finish speaks for nodes never reached, so of a node of which an attempt said something it has no say.
    """
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


def strip_runtime_frames(message: str) -> str:
    """A pull error without the frames that kubelet and containerd put around the registry's words.

    `… desc = failed to pull and unpack image "X": failed to resolve reference "X": X: not found` → `X: not found`.
    """
    return _FRAMES.sub("", message) or message


def pack(key: str, document: Any) -> dict[str, str]:
    """A JSON document as compressed `binaryData`. The bytes depend on the document only."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return {key: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()}


def unpack(key: str, binary: Mapping[str, str]) -> Any:
    """Read what `pack` wrote."""
    return json.loads(gzip.decompress(base64.b64decode(binary[key])))


def _pack(node: NodeResult) -> dict[str, Any]:
    images: Sequence[ImageResult] = node.images
    if len(set(images)) == 1:  # skipped nodes: one entry stands for all
        return {"at": node.at, "count": len(images), "images": [_pack_image(images[0])]}
    return {"at": node.at, "images": [_pack_image(image) for image in images]}


def _pack_image(image: ImageResult) -> list[Any]:
    return [
        image.result.value,
        image.reason,
        image.message[:MESSAGE_LIMIT],
        image.seconds,
        image.bytes,
        image.digest,
        image.tries,
    ]


def _unpack(node: Mapping[str, Any]) -> NodeResult:
    images = tuple(ImageResult(Result(row[0]), *row[1:]) for row in node["images"])
    return NodeResult(images * node.get("count", 1), node["at"])
