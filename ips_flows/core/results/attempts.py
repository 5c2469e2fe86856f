"""Attempts of a task: the delay before a retry, the history, and the time of the next attempt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ips_flows.core import clock
from ips_flows.core.request.choices import RetryStrategy
from ips_flows.core.request.limits import LONGEST_RETRY_DELAY
from ips_flows.core.results.records import AttemptSummary, GroupProgress, PlanSummary
from ips_flows.core.results.results import FILTER_GROUP, FINISH_GROUP, Chunk, NodeResult


@dataclass(frozen=True, slots=True)
class PendingRetry:
    """The next attempt of a wave: number `attempt` of `attempts`, counted from 1, at about `at`."""

    wave: str
    attempt: int
    attempts: int
    at: datetime


def retry_delay(strategy: RetryStrategy, seconds: int, retry: int) -> int:
    """Return the seconds before a retry, counted from 1: constant, or doubled for each retry up to 10 minutes."""
    return min(LONGEST_RETRY_DELAY, seconds * 2 ** (retry - 1) if strategy == "exponential" else seconds)


def count_by_class(nodes: Iterable[NodeResult]) -> dict[str, int]:
    """Count the missing images by the class of their failure or the reason of their skip."""
    counts = Counter(image.reason for node in nodes for image in node.images if not image.ok)
    return dict(sorted(counts.items()))


def recorded_attempts(chunks: Iterable[Chunk]) -> list[AttemptSummary]:
    """Summarize the stored results of each attempt, in order."""
    nodes: dict[tuple[int, int], dict[str, NodeResult]] = {}
    started: dict[tuple[int, int], str] = {}
    for chunk in chunks:
        if chunk.group in (FILTER_GROUP, FINISH_GROUP):
            continue
        key = (chunk.group, chunk.attempt)
        nodes.setdefault(key, {}).update(chunk.nodes)
        started[key] = min(filter(None, (started.get(key, ""), chunk.started)), default="")
    return [
        AttemptSummary(
            group=group,
            wave=f"wave-{group + 1}",
            attempt=attempt,
            nodes=len(results),
            failed=sum(not node.ok for node in results.values()),
            failures=count_by_class(results.values()),
            started_at=started[group, attempt],
            ended_at=max((node.at for node in results.values()), default=""),
        )
        for (group, attempt), results in sorted(nodes.items())
    ]


def retry_history(
    plan: PlanSummary | None,
    recorded: Iterable[AttemptSummary],
    groups: Iterable[GroupProgress] = (),
    *,
    ended: bool = False,
) -> tuple[AttemptSummary, ...]:
    """Return the attempts of waves with a retry, in order. A retry that the end of the task prevented counts too.

    `groups` is the progress that drivers write on their Jobs. For the latest attempt of a wave, it takes precedence over
    the stored results until the task ends, because some results may not be stored yet.
    """
    if plan is None or not plan.max_retries:
        return ()
    known = {(one.group, one.attempt): one for one in recorded}
    running = {(one.group, one.attempt): one for one in groups}
    every = {*known, *running}
    for (group, attempt), progress in running.items():
        over = ended or (group, attempt + 1) in every
        if (group, attempt) not in known or not over:
            known[group, attempt] = _summary(progress)
    shown = []
    for one in (known[key] for key in sorted(known)):
        follows = (one.group, one.attempt + 1) in known
        if one.ended_at and one.failed and one.attempt < plan.max_retries and (follows or not ended):
            wait = retry_delay(plan.retry_strategy, plan.retry_delay, one.attempt + 1)
            shown.append(one.model_copy(update={"next_delay": wait}))
        elif one.attempt or (ended and one.failed):
            shown.append(one)
    return tuple(shown)


def pending_retry(
    plan: PlanSummary | None, attempts: Sequence[AttemptSummary], groups: Iterable[GroupProgress]
) -> PendingRetry | None:
    """Return the next attempt if the task waits between two attempts of its latest wave, else None.

    Argo starts the delay when it observes the end of the attempt, so the next attempt starts a few seconds after `at`.
    """
    latest = max(groups, key=lambda one: (one.group, one.attempt), default=None)
    last = attempts[-1] if attempts else None
    if plan is None or last is None or last.next_delay is None:
        return None
    if latest and (latest.group, latest.attempt) > (last.group, last.attempt):
        return None
    at = clock.parse(last.ended_at) + timedelta(seconds=last.next_delay)
    if at >= clock.parse(plan.deadline):
        return None
    return PendingRetry(last.wave, last.attempt + 2, plan.max_retries + 1, at)


def _summary(group: GroupProgress) -> AttemptSummary:
    over = bool(group.total) and group.done + group.failed >= group.total
    return AttemptSummary(
        group=group.group,
        wave=group.wave,
        attempt=group.attempt,
        nodes=group.total,
        failed=group.failed,
        failures=dict(sorted(group.classes.items())),
        started_at=group.started,
        ended_at=group.at if over else "",
    )
