"""A task as people and programs see it: a pure reading of its Workflow, its Jobs' progress and its results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import ValidationError

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_BATCH_SIZE,
    ANNOTATION_COLUMNS,
    ANNOTATION_ERROR,
    ANNOTATION_NOTICE,
    ANNOTATION_PLAN,
    ANNOTATION_PROGRESS,
    ANNOTATION_REQUEST_HASH,
    ANNOTATION_VERDICT,
    LABEL_TASK,
    LABEL_VERDICT,
)
from ips_flows.core.errors import BadRequestError, NewerFormatError
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice.notice import Notice
from ips_flows.core.plan.window import parse_window
from ips_flows.core.request.limits import DEFAULT_PRIORITY
from ips_flows.core.results.attempts import PendingRetry, pending_retry, retry_history
from ips_flows.core.results.progress import Progress, WaveProgress, count_progress, wave_progress
from ips_flows.core.results.records import (
    AttemptSummary,
    FailureLine,
    GroupProgress,
    PlanSummary,
    Record,
    Verdict,
    failure_lines,
)
from ips_flows.core.results.results import NodeResult
from ips_flows.core.task.workflow_status import (
    Status,
    advice_on,
    finished_at,
    is_finished,
    is_stopped,
    message_of,
    parameters_of,
    phase_of,
    priority_of_spec,
    shutdown_of,
    started_at,
    status_by_phase,
)

RecordT = TypeVar("RecordT", bound=Record)

_FINAL: dict[str, Status] = {"completed": "completed", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class Task:
    """One task. Times are RFC 3339 UTC, empty where there is none; `results` is None where nobody asked."""

    name: str
    namespace: str
    uid: str
    status: Status
    ended: bool
    created_at: str
    request: Json
    request_hash: str = ""
    priority: int = DEFAULT_PRIORITY  # the one in force, 10 first; 0 is Argo's own, where nobody set one
    started_at: str = ""
    finished_at: str = ""
    plan: PlanSummary | None = None
    verdict: Verdict | None = None
    notice: Notice | None = None  # what became of it, where the verdict owes one
    waves: tuple[WaveProgress, ...] = ()
    progress: Progress = field(default_factory=Progress)
    failures: tuple[FailureLine, ...] = ()
    results: Mapping[str, NodeResult] | None = None
    message: str = ""
    shutdown: str | None = None
    queue_position: int | None = None
    retry_count: int = 0
    attempts: tuple[AttemptSummary, ...] = ()  # of waves that were tried again, or are to be
    retrying: PendingRetry | None = None  # what it waits for, between two attempts
    window: int | None = None  # the one in force; 0 is a pause
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def images(self) -> tuple[str, ...]:
        """The references, as the request has them."""
        if self.plan:
            return self.plan.images
        return images_of(self.request)

    @property
    def image_count(self) -> int:
        """How many images the request names; the columns in the metadata have only this number."""
        images = self.request.get("images")
        return len(self.images) or (images if isinstance(images, int) else 0)

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop and has not ended yet."""
        return self.shutdown is not None and not self.ended

    @property
    def skipped(self) -> dict[str, int]:
        """How many nodes were left out, by reason."""
        if self.verdict and self.verdict.summary:
            return self.verdict.summary.skipped
        return self.plan.skipped if self.plan else {}


def images_of(request: Json) -> tuple[str, ...]:
    """The references of a request; none where only their number is known."""
    images = request.get("images")
    return tuple(_reference(image) for image in images) if isinstance(images, list) else ()


def is_task(workflow: Json) -> bool:
    """Whether a Workflow was made for a request."""
    return objects.labels(workflow).get(LABEL_TASK) == "true"


def verdict_of(workflow: Json) -> Verdict | None:
    """The verdict, where there is one."""
    return _record(Verdict, workflow, ANNOTATION_VERDICT)


def status_of(workflow: Json) -> Status:
    """The status: the verdict; else `cancelled` where it was asked to stop; else what Argo's phase means."""
    verdict = verdict_of(workflow)
    if verdict:
        return verdict.status
    said = objects.labels(workflow).get(LABEL_VERDICT)
    if said in _FINAL:  # a verdict that this program can't read
        return _FINAL[said]
    return "cancelled" if is_stopped(workflow) else status_by_phase(workflow)


def priority_of(workflow: Json) -> int:
    """The priority that Argo queues by; of metadata alone, the one it was planned or submitted with."""
    queued_by = priority_of_spec(workflow)
    if queued_by is not None:
        return queued_by
    plan = _record(PlanSummary, workflow, ANNOTATION_PLAN)
    return plan.priority if plan else int(request_of(workflow).get("priority") or DEFAULT_PRIORITY)


def read_task(
    workflow: Json,
    *,
    jobs: Iterable[Json] = (),
    results: Mapping[str, NodeResult] | None = None,
    attempts: Iterable[AttemptSummary] = (),
    queue_position: int | None = None,
) -> Task:
    """The task of a Workflow, whole or metadata alone; `jobs` are those of the task, metadata alone will do.

    `attempts` is what is stored of them; without it the Jobs tell of those that they made.
    """
    metadata = workflow["metadata"]
    verdict = verdict_of(workflow)
    plan = _record(PlanSummary, workflow, ANNOTATION_PLAN)
    groups = [one for job in jobs if (one := _record(GroupProgress, job, ANNOTATION_PROGRESS))]
    waves = wave_progress(plan, groups, verdict)
    ended = verdict is not None or is_finished(workflow)
    status = status_of(workflow)
    past = verdict.retries if verdict else retry_history(plan, attempts, groups, ended=ended)
    return Task(
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        uid=metadata.get("uid", ""),
        status=status,
        ended=ended,
        created_at=metadata.get("creationTimestamp") or "",
        request=request_of(workflow),
        request_hash=_annotation(workflow, ANNOTATION_REQUEST_HASH),
        priority=priority_of(workflow),
        started_at=(verdict.started_at if verdict else "") or started_at(workflow),
        finished_at=verdict.at if verdict else finished_at(workflow) if ended else "",
        plan=plan,
        verdict=verdict,
        notice=_record(Notice, workflow, ANNOTATION_NOTICE),
        waves=waves,
        progress=count_progress(plan, verdict, waves, ended=ended),
        failures=all_failures(plan, groups, results),
        results=results,
        message=_too_new(workflow) or _message(workflow, verdict, status, ended=ended),
        shutdown=shutdown_of(workflow),
        queue_position=queue_position if status == "pending" else None,
        retry_count=max([0, *(one.attempt for one in groups), *(one.attempt for one in past)]),
        attempts=past,
        retrying=None if ended or status == "cancelled" else pending_retry(plan, past, groups),
        window=_window(workflow, plan, groups),
        labels=metadata.get("labels") or {},
    )


def estimated_end(task: Task, now: datetime) -> datetime | None:
    """When the task will be done if it goes on as it went so far; None while nothing can be said."""
    speed = nodes_per_minute(task, now)
    if task.status != "running" or task.ended or not speed:
        return None
    return now + timedelta(minutes=(task.progress.to_do - task.progress.ended) / speed)


def nodes_per_minute(task: Task, now: datetime) -> float | None:
    """How many nodes have ended a minute since the plan was made; None while none has."""
    if task.plan is None or not task.progress.ended:
        return None
    minutes = (now - clock.parse(task.plan.planned_at)).total_seconds() / 60
    return task.progress.ended / minutes if minutes > 0 else None


def all_failures(
    plan: PlanSummary | None, groups: Iterable[GroupProgress], results: Mapping[str, NodeResult] | None
) -> tuple[FailureLine, ...]:
    """What failed: from the results; what the drivers said lately of nodes that have no result yet."""
    known = results or {}
    lines = [
        line
        for node, result in sorted(known.items())
        for line in failure_lines(node, result, plan.images if plan else (), limit=len(result.images))
    ]
    latest: dict[int, GroupProgress] = {}
    for group in sorted(groups, key=lambda one: one.attempt):
        latest[group.group] = group
    lines += [line for group in latest.values() for line in group.failures if line.node not in known]
    return tuple(lines)


def _message(workflow: Json, verdict: Verdict | None, status: Status, *, ended: bool) -> str:
    if verdict:
        return verdict.message
    error = _annotation(workflow, ANNOTATION_ERROR)
    if error:
        return error
    said = message_of(workflow)
    if not ended:
        return ""
    if status == "cancelled":
        return (
            "stopped before its plan was made" if not _annotation(workflow, ANNOTATION_PLAN) else "cancelled"
        )
    if status == "completed":
        return ""
    advice = advice_on(said)
    if advice:
        return f"{advice} ({said})"
    return f"the Workflow ended without a verdict: {said or phase_of(workflow)}; see `ips-flow logs`"


def request_of(workflow: Json) -> Json:
    """The request of a Workflow: its argument, the UI form's plain arguments, or the columns of its metadata."""
    parameters = parameters_of(workflow)
    text = parameters.pop("request", None)
    if text:
        return _object(text)
    if parameters.get("images"):
        from ips_flows.core.request.model import canonical_json, from_form  # noqa: PLC0415  (only the UI form needs it)

        try:
            return _object(canonical_json(from_form({k: v for k, v in parameters.items() if v is not None})))
        except BadRequestError:
            return {}
    return _object(_annotation(workflow, ANNOTATION_COLUMNS) or "{}")


def _window(workflow: Json, plan: PlanSummary | None, groups: Iterable[GroupProgress]) -> int | None:
    """How many nodes may pull at once: what the driver at work says, else what the next one will be told."""
    if plan is None:
        return None
    latest = max(groups, key=lambda one: (one.group, one.attempt), default=None)
    if latest and latest.window is not None and latest.done + latest.failed < latest.total:
        return latest.window
    asked = parse_window(_annotation(workflow, ANNOTATION_BATCH_SIZE), plan.eligible)
    return plan.window if asked is None else asked


def _object(text: str) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _record(kind: type[RecordT], thing: Json, annotation: str) -> RecordT | None:
    text = _annotation(thing, annotation)
    if not text:
        return None
    try:
        return kind.from_json(text)
    except (ValidationError, NewerFormatError):  # someone else's hand, or a newer program's: see _too_new
        return None


def _too_new(workflow: Json) -> str:
    """Which version is needed to read the plan or the verdict, where this one is too old."""
    for kind, annotation in ((PlanSummary, ANNOTATION_PLAN), (Verdict, ANNOTATION_VERDICT)):
        try:
            kind.from_json(_annotation(workflow, annotation) or "{}")
        except NewerFormatError as error:
            return error.message
        except ValidationError:
            continue
    return ""


def _annotation(thing: Json, key: str) -> str:
    return str(objects.annotations(thing).get(key) or "")


def _reference(image: Any) -> str:
    return str(image.get("image", "")) if isinstance(image, dict) else str(image)
