"""Stored results: chunks as compressed JSON in ConfigMaps, within the size limit of the API."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ips_flows.core import stored_format
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.results import MESSAGE_LIMIT, Chunk, ImageResult, NodeResult

# The errors of `decode` for a ConfigMap that another program labelled as results.
NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, OSError, EOFError, RecursionError, zlib.error)
CHUNK_BYTES = 900_000  # a ConfigMap holds 1 MiB, base64 and metadata included


def encode(chunk: Chunk) -> dict[str, str]:
    """Return a chunk as the `binaryData` of a ConfigMap."""
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
    """Parse the output of `encode`. Raises NewerFormatError if a newer program wrote it."""
    document = unpack("results.json.gz", binary)
    stored_format.check_format(document, "results are", "version")
    return Chunk(
        group=document["group"],
        attempt=document["attempt"],
        nodes={name: _unpack(node) for name, node in document["nodes"].items()},
        started=document.get("started", ""),
    )


def split(chunk: Chunk, limit: int = CHUNK_BYTES) -> list[Chunk]:
    """Split a chunk into chunks whose stored size is within the limit."""
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


def pack(key: str, document: Any) -> dict[str, str]:
    """Return a JSON document as compressed `binaryData`. The bytes depend only on the document."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return {key: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()}


def unpack(key: str, binary: Mapping[str, str]) -> Any:
    """Parse the output of `pack`."""
    return json.loads(gzip.decompress(base64.b64decode(binary[key])))


def _pack(node: NodeResult) -> dict[str, Any]:
    images: Sequence[ImageResult] = node.images
    if len(set(images)) == 1:  # skipped nodes: one entry represents all images
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
