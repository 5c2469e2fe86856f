"""The verdict of a task, decided only from the results of its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ips_flows.core import clock
from ips_flows.core.counts import several
from ips_flows.core.results.reasons import PLANNED_SKIPS, FailureReason, Result
from ips_flows.core.results.records import AttemptSummary, FinalStatus, PlanSummary, Summary, Verdict
from ips_flows.core.results.results import ImageResult, NodeResult


def summarize(plan: PlanSummary, results: Mapping[str, NodeResult], seconds: float) -> Summary:
    """Count the results of a task. `results` has every node of the plan, including skipped nodes."""
    touched = {name: node for name, node in results.items() if not is_left_out(node)}
    images: Counter[str] = Counter(image.result.value for node in touched.values() for image in node.images)
    failures: Counter[str] = Counter(
        image.reason for node in touched.values() for image in node.images if image.result is Result.FAILED
    )
    completed = sum(node.ok for node in touched.values())
    return Summary(
        eligible=plan.eligible,
        completed=completed,
        warm=plan.warm,
        failed=plan.eligible - completed,
        not_reached=plan.eligible
        - completed
        - sum(_tried(node) and not node.ok for node in touched.values()),
        skipped=plan.skipped,
        images={result.value: images[result.value] for result in Result},
        failures=dict(sorted(failures.items())),
        bytes=sum(image.bytes or 0 for node in touched.values() for image in node.images if _pulled(image)),
        seconds=round(seconds, 1),
    )


def decide_verdict(
    plan: PlanSummary | None,
    results: Mapping[str, NodeResult],
    *,
    stopped: bool,
    error: str,
    uid: str,
    started_at: str,
    at: str,
    seconds: float,
    waves: Sequence[Collection[str]] = (),
    retries: Sequence[AttemptSummary] = (),
    notify: bool = False,
) -> Verdict:
    """Decide the verdict of a task from the results of its nodes.

    `stopped` is True if a stop of the Workflow was requested; a task with every image in place is still completed.
    `error` is the reason why there is no plan. `waves` are the nodes of each wave. `notify` is True if the request has a
    webhook.
    """
    summary = summarize(plan, results, seconds) if plan else None
    status: FinalStatus
    violation = _violation(plan, summary, waves, results, stopped=stopped) if plan and summary else "no plan"
    if plan is not None and summary is not None and violation is None:
        status, message = "completed", _completed_message(summary, plan.losses_allowed)
    elif stopped:
        status, message = "cancelled", _cancelled_message(summary)
    elif plan is None or summary is None:
        status, message = "failed", error or "the task ended before its plan was made"
    else:
        within_limit = summary.completed and summary.failed <= plan.losses_allowed
        status, message = "failed", _failed_message(summary, violation if within_limit else None)
    return Verdict(
        status=status,
        event_id=f"{uid}-{started_at}-{status}",
        at=at,
        started_at=started_at,
        message=message,
        summary=summary,
        losses_allowed=plan.losses_allowed if plan else 0,
        drift=digest_drift(plan.images, results) if plan else {},
        retries=tuple(retries),
        notify=notify,
    )


def status_line(status: str, message: str) -> str:
    """Return status and message as one text that has the status once.

    Some messages begin with the status, so that they can be read alone: `completed, 1 of 7 nodes lost (1 allowed)`.
    """
    said = "" if message == status else message.removeprefix(f"{status}, ").removeprefix(f"{status} ")
    return f"{status}: {said}" if said else status


def loss_violation(
    waves: Sequence[Collection[str]], results: Mapping[str, NodeResult], *, allowed: int, deadline: str
) -> str | None:
    """Return the reason why the failed nodes of these waves fail the task; None if the failures are allowed.

    Failures are allowed if there are at most `allowed` failed nodes, each wave has a node with its images, every node
    was tried, and no node failed because the task's timeout expired. Drivers and verdict share this rule.
    """
    lost = [name for wave in waves for name in wave if name not in results or not results[name].ok]
    if not lost:
        return None
    if len(lost) > allowed:
        return f"{several(len(lost), 'node')} lost, {allowed} allowed"
    if any(name not in results or results[name].skipped for name in lost):
        return "some nodes were never started"
    if any(clock.parse(results[name].at) >= clock.parse(deadline) for name in lost):
        return "the task's timeout expired"
    for number, wave in enumerate(waves, start=1):
        if wave and not any(name in results and results[name].ok for name in wave):
            return f"no node of wave-{number} has its images"
    return None


def digest_drift(images: Sequence[str], results: Mapping[str, NodeResult]) -> dict[str, tuple[str, ...]]:
    """Return the references for which nodes have different known digests, with the digests."""
    seen: dict[str, set[str]] = {}
    for node in results.values():
        for name, image in zip(images, node.images, strict=False):
            if image.ok and image.digest:
                seen.setdefault(name, set()).add(image.digest)
    return {name: tuple(sorted(digests)) for name, digests in sorted(seen.items()) if len(digests) > 1}


def is_left_out(node: NodeResult) -> bool:
    """Return whether the plan skipped a node. A node that was never started does not count as skipped by the plan."""
    return node.skipped and node.images[0].reason in PLANNED_SKIPS


def _violation(
    plan: PlanSummary,
    summary: Summary,
    waves: Sequence[Collection[str]],
    results: Mapping[str, NodeResult],
    *,
    stopped: bool,
) -> str | None:
    """Return the reason why a task is not completed; None if it is completed."""
    if not summary.failed:
        return None
    if stopped or not summary.completed or summary.failed > plan.losses_allowed:
        return "too many nodes lost"
    known = waves or [[name for name, node in results.items() if not is_left_out(node)]]
    return loss_violation(known, results, allowed=plan.losses_allowed, deadline=plan.deadline)


def _tried(node: NodeResult) -> bool:
    return not node.skipped


def _pulled(image: ImageResult) -> bool:
    return image.result is Result.PULLED


def _completed_message(summary: Summary, allowed: int) -> str:
    nodes = f"{summary.completed} of {summary.eligible} nodes"
    if summary.failed:
        return f"completed, {summary.failed} of {summary.eligible} nodes lost ({allowed} allowed)"
    return f"every image is on {nodes}" + (", all warm already" if summary.warm == summary.eligible else "")


def _cancelled_message(summary: Summary | None) -> str:
    if summary is None:
        return "stopped before its plan was made"
    return f"{summary.completed} of {summary.eligible} nodes have every image"


def _failed_message(summary: Summary, violation: str | None) -> str:
    parts = [f"{summary.failed} of {summary.eligible} nodes lack images"]
    real = {name: count for name, count in summary.failures.items() if name != FailureReason.CANCELLED}
    if real:
        parts.append(", ".join(f"{name} ×{count}" for name, count in real.items()))
    if summary.not_reached:
        parts.append(f"{summary.not_reached} never started")
    if violation:
        parts.append(violation)
    return "; ".join(parts)
