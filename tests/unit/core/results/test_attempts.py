from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ips_flows.core import clock
from ips_flows.core.request.choices import RetryStrategy
from ips_flows.core.results.attempts import (
    PendingRetry,
    pending_retry,
    recorded_attempts,
    retry_delay,
    retry_history,
)
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.records import GroupProgress, PlanSummary
from ips_flows.core.results.results import FILTER_GROUP, Chunk, ImageResult, NodeResult
from tests.support import kube_objects

STARTED, ENDED = "2026-01-01T00:00:01Z", "2026-01-01T00:00:30Z"
GOOD = NodeResult((ImageResult(Result.PULLED),), ENDED)
BAD = NodeResult((ImageResult(Result.FAILED, FailureReason.NOT_FOUND, "no"),), "2026-01-01T00:00:20Z")
FIRST = Chunk(0, 0, {"n1": GOOD, "n2": BAD}, STARTED)


def plan(retries: int = 2, strategy: RetryStrategy = "exponential", seconds: int = 4) -> PlanSummary:
    changes = {"max_retries": retries, "retry_strategy": strategy, "retry_delay": seconds}
    return kube_objects.summary().model_copy(update=changes)


def progress(
    attempt: int = 0, *, done: int = 0, failed: int = 0, total: int = 2, group: int = 0
) -> GroupProgress:
    return GroupProgress(
        group=group,
        attempt=attempt,
        wave=f"wave-{group + 1}",
        total=total,
        done=done,
        failed=failed,
        classes={"NotFound": failed} if failed else {},
        started=STARTED,
        at=ENDED,
    )


@pytest.mark.parametrize(
    ("strategy", "seconds", "expected"),
    [
        ("linear", 30, [30, 30, 30, 30, 30]),
        ("exponential", 30, [30, 60, 120, 240, 480]),
        ("exponential", 300, [300, 600, 600, 600, 600]),
    ],
)
def test_the_delays(strategy: RetryStrategy, seconds: int, expected: list[int]) -> None:
    """A linear delay is constant. An exponential delay starts with the given one and doubles up to 10 minutes."""
    assert [retry_delay(strategy, seconds, retry) for retry in range(1, 6)] == expected


def test_the_history_from_stored_results() -> None:
    """Each attempt has times, nodes, failures by class and the next delay. Results of filter are not an attempt."""
    chunks = [
        Chunk(FILTER_GROUP, 0, {"n0": GOOD}),
        Chunk(0, 1, {"n2": GOOD}, "2026-01-01T00:00:40Z"),
        FIRST,
    ]
    first, second = retry_history(plan(), recorded_attempts(chunks), ended=True)
    assert (first.wave, first.attempt, first.nodes, first.failed) == ("wave-1", 0, 2, 1)
    assert (first.started_at, first.ended_at, first.failures) == (STARTED, ENDED, {"NotFound": 1})
    assert first.next_delay == 4
    assert (second.attempt, second.nodes, second.failed, second.next_delay) == (1, 1, 0, None)


def test_a_task_without_retries_has_no_history() -> None:
    """Without retries, or without failures, the history is empty."""
    assert retry_history(plan(retries=0), recorded_attempts([FIRST])) == ()
    assert retry_history(plan(), recorded_attempts([Chunk(0, 0, {"n1": GOOD}, STARTED)])) == ()
    assert retry_history(None, ()) == ()


def test_a_task_that_ends_before_its_next_attempt() -> None:
    """An attempt whose retry was cancelled has no next delay."""
    (first,) = retry_history(plan(), recorded_attempts([FIRST]), ended=True)
    assert (first.attempt, first.failed, first.next_delay) == (0, 1, None)


def test_no_delay_follows_the_last_attempt() -> None:
    """After the last retry, or after the task's end, there is no next delay."""
    chunks = [Chunk(0, number, {"n2": BAD}, STARTED) for number in range(3)]
    assert [one.next_delay for one in retry_history(plan(), recorded_attempts(chunks))] == [4, 8, None]
    assert [one.next_delay for one in retry_history(plan(), recorded_attempts(chunks[:2]), ended=True)] == [
        4,
        None,
    ]


def test_the_progress_of_drivers_wins_while_an_attempt_runs() -> None:
    """If only a part of an attempt is stored, the progress on its Job shows that it has not ended."""
    running = progress(1, done=0, failed=1)
    stored = recorded_attempts([FIRST, Chunk(0, 1, {"n2": BAD}, STARTED)])
    assert [one.ended_at for one in retry_history(plan(), stored, [progress(done=1, failed=1), running])] == [
        ENDED,
        "",
    ]
    assert retry_history(plan(), stored, [progress(), running], ended=True)[-1].ended_at == BAD.at


@pytest.mark.parametrize("stored", [True, False])
def test_a_task_between_two_attempts(*, stored: bool) -> None:
    """The next attempt is known from stored results and from the progress on Jobs."""
    groups = [] if stored else [progress(done=1, failed=1)]
    past = retry_history(plan(), recorded_attempts([FIRST] if stored else []), groups)
    at = datetime(2026, 1, 1, 0, 0, 34, tzinfo=UTC)
    assert pending_retry(plan(), past, groups) == PendingRetry("wave-1", 2, 3, at)


@pytest.mark.parametrize(
    ("groups", "deadline"),
    [
        ([progress(done=2)], 600),
        ([progress(done=1)], 600),
        ([progress(done=1, failed=1), progress(1, total=1)], 600),
        ([progress(2, failed=2)], 600),
        ([progress(done=1, failed=1)], 33),
    ],
    ids=["all good", "running", "already retried", "the last attempt", "the task's timeout expires first"],
)
def test_a_task_that_waits_for_no_attempt(groups: list[GroupProgress], deadline: int) -> None:
    """A task that runs, is done, or has no retry or no time left does not wait for an attempt."""
    until = clock.stamp(clock.parse("2026-01-01T00:00:00Z") + timedelta(seconds=deadline))
    made = plan().model_copy(update={"deadline": until})
    assert pending_retry(made, retry_history(made, (), groups), groups) is None
