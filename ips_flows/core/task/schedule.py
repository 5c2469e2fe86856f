"""A schedule, computed from its CronWorkflow and the tasks created by it. Pure functions."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal, get_args

from pydantic import ValidationError

from ips_flows.core import clock, cron
from ips_flows.core.constants import ANNOTATION_DUE, ANNOTATION_LATELY, LABEL_CRON_WORKFLOW
from ips_flows.core.errors import UsageError
from ips_flows.core.escape import escape
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.request.limits import DEFAULT_PRIORITY, MAX_NAME_LENGTH
from ips_flows.core.results.records import Record
from ips_flows.core.task import task
from ips_flows.core.task.task import Task

Overlap = Literal["forbid", "replace", "allow"]

OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)
_NAME_LENGTH = MAX_NAME_LENGTH - 11  # Argo adds a dash and the 10 digits of a time
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_PAUSES_KEPT = 10
_MISSED_SHOWN = 50
_KNOWN = timedelta(days=7)  # how long tasks are kept; earlier runs are unknown
_LATE = timedelta(seconds=60)  # a run that is later than this counts as missed
_PROBLEMS = ("SpecError", "SubmissionError")


@dataclass(frozen=True, slots=True)
class Timing:
    """Timing of a schedule. `overlap` sets what happens if a task is due while another one has not ended.

    `starting_deadline` is the number of seconds by which a task may be created late, for example while Argo's
    controller was not running. `keep` is the number of completed tasks kept, and the number of other tasks kept.
    """

    expression: str
    timezone: str = "UTC"
    overlap: Overlap = "forbid"
    starting_deadline: int = 600
    keep: int = 10
    suspended: bool = False


class Pause(Record):
    """A period in which a schedule was suspended with IPS Flow. `until` is empty while it is suspended."""

    since: str
    until: str = ""


class ScheduleHistory(Record):
    """History of a schedule that explains missed runs: the start of its current timing, and its last pauses."""

    since: str = ""
    pauses: tuple[Pause, ...] = ()

    def suspended(self, at: datetime) -> ScheduleHistory:
        """Return a copy that is suspended from `at` on."""
        if self.pauses and not self.pauses[-1].until:
            return self
        pauses = (*self.pauses, Pause(since=clock.stamp(at)))
        return self.model_copy(update={"pauses": pauses[-_PAUSES_KEPT:]})

    def resumed(self, at: datetime) -> ScheduleHistory:
        """Return a copy that is no longer suspended from `at` on."""
        if not self.pauses or self.pauses[-1].until:
            return self
        last = self.pauses[-1].model_copy(update={"until": clock.stamp(at)})
        return self.model_copy(update={"pauses": (*self.pauses[:-1], last)})

    def was_paused(self, moment: datetime) -> bool:
        """Return whether the schedule was suspended at a moment."""
        return any(
            clock.parse(one.since) <= moment and (not one.until or moment < clock.parse(one.until))
            for one in self.pauses
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a schedule. `due` is None for a task created manually; `why` is set if no task was created."""

    due: datetime | None
    task: Task | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule. `runs` are the known runs, newest first."""

    name: str
    namespace: str
    uid: str
    timing: Timing
    created_at: str
    request: Json
    problem: str
    next_run: datetime | None
    runs: tuple[Run, ...] = ()

    @property
    def last(self) -> Run | None:
        """The newest run that created a task."""
        return next((one for one in self.runs if one.task), None)

    @property
    def active(self) -> list[str]:
        """The names of its tasks that have not ended."""
        return [one.task.name for one in self.runs if one.task and not one.task.ended]


def check_name(name: str) -> str:
    """Return the name of a schedule. Raises UsageError if it is invalid: each task is named after its schedule."""
    if len(name) > _NAME_LENGTH or not _NAME.fullmatch(name):
        raise UsageError(
            f"schedule name {escape(name)!r}: expected at most {_NAME_LENGTH} lower-case letters, digits and '-', "
            "with a letter or digit at both ends",
            hint="Argo appends the time to the name for each task.",
        )
    return name


def read_schedule(cron_workflow: Json, workflows: Iterable[Json], now: datetime) -> Schedule:
    """Return the schedule of a CronWorkflow. Its tasks are found in `workflows`, whose metadata is sufficient."""
    metadata, spec = cron_workflow["metadata"], cron_workflow["spec"]
    name, created = metadata["name"], metadata.get("creationTimestamp") or ""
    timing, lately, problem = _timing(spec), read_history(cron_workflow), _problem(cron_workflow)
    made = [
        (_due(one), task.read_task(one))
        for one in workflows
        if objects.labels(one).get(LABEL_CRON_WORKFLOW) == name
        and one["metadata"].get("namespace", "") == metadata.get("namespace", "")
    ]
    tasks = [one for _, one in made]
    known_since = _known_since(timing, (created, lately.since), tasks, now)
    why = partial(_why_missed, timing, lately, problem, tasks)
    asleep = timing.suspended or not timing.expression
    return Schedule(
        name=name,
        namespace=metadata.get("namespace", ""),
        uid=metadata.get("uid", ""),
        timing=timing,
        created_at=created,
        request=task.request_of({"metadata": {}, "spec": spec["workflowSpec"]}),
        problem=problem,
        next_run=None if asleep else cron.due_after(timing.expression, timing.timezone, now),
        runs=tuple(sorted(_runs(timing, made, known_since, now, why), key=_when, reverse=True)),
    )


def read_history(cron_workflow: Json) -> ScheduleHistory:
    """Return the history stored in a CronWorkflow; an empty one if it is missing or invalid."""
    text = objects.annotations(cron_workflow).get(ANNOTATION_LATELY)
    try:
        return ScheduleHistory.from_json(text) if text else ScheduleHistory()
    except ValidationError:
        return ScheduleHistory()


def schedule_json(schedule: Schedule, *, history: bool = False) -> Json:
    """Return the schedule as JSON. Times are RFC 3339 UTC."""
    last, timing = schedule.last, schedule.timing
    document: Json = {
        "name": schedule.name,
        "namespace": schedule.namespace,
        "uid": schedule.uid,
        "cron": timing.expression,
        "timezone": timing.timezone,
        "suspended": timing.suspended,
        "overlap": timing.overlap,
        "startingDeadlineSeconds": timing.starting_deadline,
        "keep": timing.keep,
        "images": list(task.images_of(schedule.request)),
        "priority": schedule.request.get("priority", DEFAULT_PRIORITY),
        "createdAt": schedule.created_at or None,
        "nextRun": _stamp(schedule.next_run),
        "lastRun": run_json(last) if last else None,
        "activeTasks": schedule.active,
        "problem": schedule.problem or None,
    }
    if history:
        document["runs"] = [run_json(one) for one in schedule.runs]
    return document


def run_json(run: Run) -> Json:
    """Return a run as JSON. `status` is null if no task was created."""
    made = run.task
    return {
        "dueAt": _stamp(run.due),
        "taskId": made.name if made else None,
        "status": made.status if made else None,
        "startedAt": (made.started_at or None) if made else None,
        "finishedAt": (made.finished_at or None) if made else None,
        "message": (made.message or None) if made else run.why,
    }


def _runs(
    timing: Timing,
    tasks: Sequence[tuple[datetime | None, Task]],
    known_since: datetime,
    now: datetime,
    why: Callable[[datetime], str],
) -> Iterator[Run]:
    """Yield the runs that created a task, then the missed runs."""
    yield from (Run(due, made) for due, made in tasks)
    seen = {due for due, _ in tasks}
    dues = cron.due_between(timing.expression, timing.timezone, known_since, now - _LATE)
    for due in deque((due for due in dues if due not in seen), maxlen=_MISSED_SHOWN):
        yield Run(due, None, why(due))


def _known_since(timing: Timing, moments: Iterable[str], tasks: Iterable[Task], now: datetime) -> datetime:
    """Return the time since which every created task is still stored."""
    ended = [one for one in tasks if one.ended]
    kept = [now - _KNOWN, *(clock.parse(text) for text in moments if text)]
    for good in (True, False):
        made = [clock.parse(one.created_at) for one in ended if (one.status == "completed") is good]
        if len(made) >= timing.keep:
            kept.append(min(made))
    return max(kept)


def _why_missed(
    timing: Timing, lately: ScheduleHistory, problem: str, tasks: Iterable[Task], due: datetime
) -> str:
    if lately.was_paused(due):
        return "suspended"
    if timing.overlap == "forbid":
        for one in tasks:
            if clock.parse(one.created_at) <= due and (not one.ended or one.finished_at > clock.stamp(due)):
                return f"{one.name} had not ended"
    return problem or (
        f"Argo's controller created no task within {timing.starting_deadline} s, or the task was deleted"
    )


def _when(run: Run) -> tuple[datetime, str]:
    if run.task and not run.due:
        return clock.parse(run.task.created_at), run.task.name
    return run.due or datetime.min.replace(tzinfo=UTC), run.task.name if run.task else ""


def _timing(spec: Json) -> Timing:
    schedules = spec.get("schedules") or ([spec["schedule"]] if spec.get("schedule") else [])
    overlap = str(spec.get("concurrencyPolicy") or "Allow").lower()
    return Timing(
        expression=schedules[0] if len(schedules) == 1 else "",
        timezone=spec.get("timezone") or "",
        overlap=next((one for one in OVERLAPS if one == overlap), "allow"),
        starting_deadline=int(spec.get("startingDeadlineSeconds") or 0),
        keep=min(
            int(spec.get("successfulJobsHistoryLimit") or 3), int(spec.get("failedJobsHistoryLimit") or 1)
        ),
        suspended=bool(spec.get("suspend")),
    )


def _problem(cron_workflow: Json) -> str:
    """Return the problems that Argo reports for a CronWorkflow."""
    found = filter(None, (objects.true_condition(cron_workflow, kind) for kind in _PROBLEMS))
    return "; ".join(str(one.get("message") or one["type"]) for one in found)


def _due(workflow: Json) -> datetime | None:
    """Return when a task was due; None if it was created manually."""
    text = objects.annotations(workflow).get(ANNOTATION_DUE)
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def _stamp(moment: datetime | None) -> str | None:
    return clock.stamp(moment) if moment else None
