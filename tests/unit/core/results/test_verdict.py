from __future__ import annotations

from collections.abc import Mapping

import pytest

from ips_flows.core.results.reasons import FailureReason, Result, SkipReason
from ips_flows.core.results.records import PlanSummary, Verdict, failure_lines
from ips_flows.core.results.results import ImageResult, NodeResult, same_for_all
from ips_flows.core.results.verdict import decide_verdict, digest_drift, status_line, summarize
from tests.support.kube_objects import GOOD, OTHER, summary

AT = "2026-01-01T00:10:00Z"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PULLED = ImageResult(Result.PULLED, seconds=1.0, bytes=100, digest=A)
PRESENT = ImageResult(Result.PRESENT, digest=A)
MISSING = ImageResult(Result.FAILED, FailureReason.NOT_FOUND, "manifest unknown")
CANCELLED = ImageResult(Result.FAILED, FailureReason.CANCELLED)
GOOD_NODE = NodeResult((PULLED, PRESENT), AT)
BAD_NODE = NodeResult((PULLED, MISSING), AT)
LEFT_OUT = same_for_all(2, ImageResult(Result.SKIPPED, SkipReason.CORDONED), AT)
NOT_REACHED = same_for_all(2, ImageResult(Result.SKIPPED, SkipReason.NOT_REACHED), AT)
BREAKER = same_for_all(2, ImageResult(Result.SKIPPED, SkipReason.BREAKER_OPEN), AT)
STOPPED_NODE = NodeResult((CANCELLED, CANCELLED), AT)


def verdict(
    plan: PlanSummary | None,
    results: Mapping[str, NodeResult],
    *,
    stopped: bool = False,
    error: str = "",
) -> Verdict:
    return decide_verdict(
        plan,
        results,
        stopped=stopped,
        error=error,
        uid="u",
        started_at="2026-01-01T00:00:00Z",
        at=AT,
        seconds=600.04,
    )


@pytest.mark.parametrize(
    ("eligible", "losses", "results", "stopped", "status", "message"),
    [
        (2, 0, [GOOD_NODE, GOOD_NODE], False, "completed", "every image is on 2 of 2 nodes"),
        (2, 0, [GOOD_NODE, GOOD_NODE, LEFT_OUT], False, "completed", "every image is on 2 of 2 nodes"),
        (2, 0, [GOOD_NODE, BAD_NODE], False, "failed", "1 of 2 nodes lack images; NotFound ×1"),
        (2, 1, [GOOD_NODE, BAD_NODE], False, "completed", "completed, 1 of 2 nodes lost (1 allowed)"),
        (2, 2, [BAD_NODE, BAD_NODE], False, "failed", "2 of 2 nodes lack images; NotFound ×2"),
        (
            3,
            1,
            [GOOD_NODE, BAD_NODE, NOT_REACHED],
            False,
            "failed",
            "2 of 3 nodes lack images; NotFound ×1; 1 never started",
        ),
        (2, 0, [GOOD_NODE], False, "failed", "1 of 2 nodes lack images; 1 never started"),
        (
            2,
            0,
            [BAD_NODE, BREAKER],
            False,
            "failed",
            "2 of 2 nodes lack images; NotFound ×1; 1 never started",
        ),
        (2, 0, [GOOD_NODE, GOOD_NODE], True, "completed", "every image is on 2 of 2 nodes"),
        (
            3,
            2,
            [GOOD_NODE, STOPPED_NODE, NOT_REACHED],
            True,
            "cancelled",
            "1 of 3 nodes have every image",
        ),
        (2, 0, [GOOD_NODE, BAD_NODE], True, "cancelled", "1 of 2 nodes have every image"),
        (1, 0, [STOPPED_NODE], False, "failed", "1 of 1 nodes lack images"),
    ],
)
def test_the_verdict(
    eligible: int, losses: int, results: list[NodeResult], stopped: bool, status: str, message: str
) -> None:
    """A task is completed if every image is on every eligible node, or if failures are allowed and it was not stopped."""
    made = verdict(
        summary(eligible=eligible, losses=losses),
        {f"n{number}": result for number, result in enumerate(results)},
        stopped=stopped,
    )
    assert (made.status, made.message) == (status, message)
    assert made.event_id == f"u-2026-01-01T00:00:00Z-{status}"


@pytest.mark.parametrize(
    ("waves", "status", "message"),
    [
        ([["n0", "n1"], ["n2"]], "completed", "completed, 1 of 3 nodes lost (2 allowed)"),
        (
            [["n0", "n2"], ["n1"]],
            "failed",
            "1 of 3 nodes lack images; NotFound ×1; no node of wave-2 has its images",
        ),
    ],
)
def test_each_wave_needs_a_good_node(waves: list[list[str]], status: str, message: str) -> None:
    """The verdict agrees with the driver: a wave without a node that has its images has failed."""
    made = decide_verdict(
        summary(eligible=3, losses=2),
        {"n0": GOOD_NODE, "n1": BAD_NODE, "n2": GOOD_NODE},
        stopped=False,
        error="",
        uid="u",
        started_at=AT,
        at=AT,
        seconds=1,
        waves=waves,
    )
    assert (made.status, made.message) == (status, message)


def test_a_node_that_failed_by_the_task_timeout_is_not_allowed() -> None:
    """The verdict agrees with the driver, which exits with 1 when the task's timeout expires."""
    late = NodeResult((PULLED, ImageResult(Result.FAILED, FailureReason.TIMEOUT)), "2026-01-01T02:00:00Z")
    made = verdict(summary(eligible=2, losses=1), {"n0": GOOD_NODE, "n1": late})
    assert made.status == "failed"
    assert made.message == "1 of 2 nodes lack images; Timeout ×1; the task's timeout expired"


def test_a_node_that_was_never_started_is_not_allowed() -> None:
    """A node that was never started is not an allowed failure: the task ended too early."""
    made = verdict(summary(eligible=2, losses=1), {"n0": GOOD_NODE, "n1": NOT_REACHED})
    assert made.status == "failed"


def test_all_warm() -> None:
    """The message states that all nodes were warm."""
    warm = NodeResult((PRESENT, PRESENT), AT)
    made = verdict(summary(eligible=2, warm=2), {"n1": warm, "n2": warm})
    assert (made.status, made.message) == ("completed", "every image is on 2 of 2 nodes, all warm already")


@pytest.mark.parametrize(
    ("stopped", "error", "status", "message"),
    [
        (False, "no eligible node", "failed", "no eligible node"),
        (False, "", "failed", "the task ended before its plan was made"),
        (True, "", "cancelled", "stopped before its plan was made"),
    ],
)
def test_without_a_plan(stopped: bool, error: str, status: str, message: str) -> None:
    """A task that ended without a plan has failed for the reason of filter, or was cancelled."""
    made = verdict(None, {}, stopped=stopped, error=error)
    assert (made.status, made.message, made.summary) == (status, message, None)


def test_the_counts() -> None:
    """Nodes and images are counted over eligible nodes. Unknown sizes count as 0."""
    unknown = NodeResult((ImageResult(Result.PULLED), ImageResult(Result.PRESENT, bytes=7)), AT)
    plan = summary(eligible=5, warm=1, skipped={"Cordoned": 1})
    results = {
        "n1": GOOD_NODE,
        "n2": BAD_NODE,
        "n3": unknown,
        "n4": NOT_REACHED,
        "n5": NodeResult((PRESENT, PRESENT), AT),
        "s": LEFT_OUT,
    }
    counted = summarize(plan, results, 600.04)
    assert counted.model_dump() == {
        "eligible": 5,
        "completed": 3,
        "warm": 1,
        "failed": 2,
        "not_reached": 1,
        "skipped": {"Cordoned": 1},
        "images": {"pulled": 3, "present": 4, "failed": 1, "skipped": 2},
        "failures": {"NotFound": 1},
        "bytes": 200,
        "seconds": 600.0,
    }


def test_drift() -> None:
    """Different known digests of a reference are reported; unknown digests and failed images are ignored."""
    other = ImageResult(Result.PULLED, digest=B)
    results = {
        "n1": NodeResult((PULLED, PRESENT), AT),
        "n2": NodeResult((other, ImageResult(Result.PRESENT)), AT),
        "n3": NodeResult((PULLED, ImageResult(Result.FAILED, digest=B)), AT),
    }
    assert digest_drift((GOOD, OTHER), results) == {GOOD: (A, B)}
    made = verdict(summary(eligible=3, losses=1), results)
    assert (made.status, made.drift) == ("completed", {GOOD: (A, B)})


def test_failures_as_lines() -> None:
    """There is one line per failed image, in the order of the request, up to the limit."""
    (line,) = failure_lines("n1", BAD_NODE, (GOOD, OTHER))
    assert (line.node, line.image, line.reason, line.message) == (
        "n1",
        OTHER,
        "NotFound",
        "manifest unknown",
    )
    assert [one.image for one in failure_lines("n1", BAD_NODE, (OTHER,))] == []  # stored by another program
    both = NodeResult((MISSING, MISSING), AT)
    assert [one.image for one in failure_lines("n1", both, (GOOD, OTHER), limit=1)] == [GOOD]


def test_records_survive_their_storage() -> None:
    """A record is read back from its JSON with camelCase names. Names of a newer version are ignored."""
    made = verdict(summary(eligible=1), {"n1": GOOD_NODE})
    text = made.to_json()
    assert '"eventId":' in text
    assert Verdict.from_json(text) == made
    assert Verdict.from_json(text[:-1] + ',"newer":1}') == made


@pytest.mark.parametrize(
    ("status", "message", "line"),
    [
        ("completed", "completed, 1 of 7 nodes lost (1 allowed)", "completed: 1 of 7 nodes lost (1 allowed)"),
        ("completed", "every image is on 2 of 2 nodes", "completed: every image is on 2 of 2 nodes"),
        ("cancelled", "cancelled", "cancelled"),
        ("failed", "", "failed"),
    ],
)
def test_a_line_has_the_status_once(status: str, message: str, line: str) -> None:
    """A message that begins with the status is not printed behind it in full."""
    assert status_line(status, message) == line
