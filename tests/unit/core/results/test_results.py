from __future__ import annotations

import hashlib

from ips_flows.core.results.reasons import FailureReason, Result, SkipReason
from ips_flows.core.results.results import (
    FILTER_GROUP,
    FINISH_GROUP,
    MESSAGE_LIMIT,
    Chunk,
    ImageResult,
    NodeResult,
    fold,
    same_for_all,
)
from ips_flows.core.results.stored_results import decode, encode, split

AT = "2026-01-01T00:00:00Z"
PULLED = ImageResult(Result.PULLED, seconds=1.25, bytes=10, digest="sha256:" + "a" * 64, tries=1)
PRESENT = ImageResult(Result.PRESENT)
FAILED = ImageResult(Result.FAILED, FailureReason.NOT_FOUND, "manifest unknown – “here”", tries=3)


def one(image: ImageResult) -> NodeResult:
    return NodeResult((image,), AT)


def test_results_survive_their_storage() -> None:
    """Results are read back unchanged, including unknown values."""
    chunk = Chunk(
        2,
        1,
        {
            "n1": NodeResult((PULLED, PRESENT, FAILED), AT),
            "n2": same_for_all(3, ImageResult(Result.SKIPPED, SkipReason.CORDONED), AT),
            "n3": one(PULLED),
        },
    )
    assert decode(encode(chunk)) == chunk


def test_storage_depends_on_the_results_only() -> None:
    """The same results have the same bytes in any order."""
    first = Chunk(0, 0, {"n1": one(PULLED), "n2": one(FAILED)})
    reversed_ = Chunk(0, 0, {"n2": one(FAILED), "n1": one(PULLED)})
    assert encode(first) == encode(reversed_)


def test_long_messages_are_cut() -> None:
    """A stored message is cut at the limit."""
    chunk = Chunk(0, 0, {"n1": one(ImageResult(Result.FAILED, "Unknown", "x" * 1000))})
    (image,) = decode(encode(chunk)).nodes["n1"].images
    assert image.message == "x" * MESSAGE_LIMIT


def noise(seed: int) -> ImageResult:
    """Return a result that is hard to compress."""
    text = "".join(hashlib.sha256(f"{seed}-{part}".encode()).hexdigest() for part in range(4))
    return ImageResult(Result.FAILED, FailureReason.UNKNOWN, text)


def test_large_results_are_split() -> None:
    """Each piece is stored within the limit; together the pieces have all nodes in order."""
    chunk = Chunk(3, 2, {f"n{number}": one(noise(number)) for number in range(200)})
    limit = 8000
    pieces = split(chunk, limit)
    assert len(pieces) > 4
    assert all(len(encode(piece)["results.json.gz"]) <= limit for piece in pieces)
    assert {(piece.group, piece.attempt) for piece in pieces} == {(3, 2)}
    assert [name for piece in pieces for name in piece.nodes] == list(chunk.nodes)
    assert fold(pieces) == chunk.nodes


def test_small_results_stay_together() -> None:
    """A chunk within the limit is not split, and neither is a chunk with one node."""
    chunk = Chunk(0, 0, {"n1": one(PULLED), "n2": one(PULLED)})
    assert split(chunk) == [chunk]
    single = Chunk(0, 0, {"n1": one(noise(1))})
    assert split(single, 10) == [single]


def test_a_later_attempt_counts() -> None:
    """In any order of chunks, the later attempt wins, and finish counts only for nodes without an attempt."""
    skipped = ImageResult(Result.SKIPPED, SkipReason.CORDONED)
    missing = ImageResult(Result.SKIPPED, SkipReason.NOT_REACHED)
    chunks = [
        Chunk(FINISH_GROUP, 0, {"n1": one(missing), "n4": one(missing)}),
        Chunk(0, 1, {"n1": one(PULLED)}),
        Chunk(0, 0, {"n1": one(FAILED), "n2": one(PRESENT)}),
        Chunk(FILTER_GROUP, 0, {"n3": one(skipped)}),
    ]
    expected = {"n1": one(PULLED), "n2": one(PRESENT), "n3": one(skipped), "n4": one(missing)}
    assert fold(chunks) == expected
    assert fold(reversed(chunks)) == expected


def test_a_done_or_skipped_node() -> None:
    """A node is ok if every image is on it, and skipped if every image was skipped."""
    skipped = ImageResult(Result.SKIPPED, SkipReason.EXCLUDED)
    assert NodeResult((PULLED, PRESENT), AT).ok
    assert not NodeResult((PULLED, FAILED), AT).ok
    assert not NodeResult((PULLED, skipped), AT).ok
    assert NodeResult((skipped, skipped), AT).skipped
    assert not NodeResult((PULLED, skipped), AT).skipped
