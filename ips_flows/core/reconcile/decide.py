"""Decisions of the keeper, computed from a task's metadata, its finish Job and the time.

Only `TaskIndex` keeps state between decisions. A new list restores it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_CLEANED, ANNOTATION_VERDICT, PREFIX
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice import notice
from ips_flows.core.task.workflow_status import TERMINATE, finished_at, is_finished, shutdown_of

ANNOTATION_TRY = PREFIX + "try"  # on finish Jobs: the number of the try, from 1
GRACE_SECONDS = 60.0  # time for Argo's own exit handler after the end of a Workflow
COLLECTION_SECONDS = 20.0  # time for Kubernetes' garbage collection after a Workflow was deleted
NODE_SECONDS = 60.0  # how long a node is not Ready before it counts as failed
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 10.0, 300.0


class Action(StrEnum):
    """An action of the keeper on the finish Job of a task."""

    WAIT = "wait"
    START = "start"
    REPLACE = "replace"  # delete a Job that left work undone; a later check starts the next one
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Decision:
    """The action, and the number of the try for START and REPLACE."""

    do: Action
    number: int = 0


@dataclass(slots=True)
class TaskIndex:
    """The tasks of a namespace by UID, as metadata, and the tasks that were deleted without all their marks."""

    tasks: dict[str, Json] = field(default_factory=dict)
    deleted: dict[str, Json] = field(default_factory=dict)
    listed: bool = False
    now: Callable[[], datetime] = clock.now

    def replace(self, items: Iterable[Json]) -> None:
        """Store a complete list. A known task that is not in the list has been deleted."""
        fresh = {item["metadata"]["uid"]: item["metadata"] for item in items}
        for uid in self.tasks.keys() - fresh.keys():
            self._bury(self.tasks[uid])
        self.tasks = fresh
        self.listed = True

    def change(self, item: Json, *, gone: bool = False) -> None:
        """Store one task that is new, changed or deleted."""
        metadata = item["metadata"]
        if gone:
            self.tasks.pop(metadata["uid"], None)
            self._bury(metadata)
        else:
            self.tasks[metadata["uid"]] = metadata

    def _bury(self, metadata: Json) -> None:
        if lacks_mark(metadata, self.now()):
            self.deleted[metadata["uid"]] = metadata

    def due(self) -> list[Json]:
        """Return the ended tasks that lack a mark and whose next try is due, the oldest first."""
        now = self.now()
        found = [
            one for one in self.tasks.values() if may_need_finish(one, now) and not notice_not_due(one, now)
        ]
        return sorted(found, key=lambda one: str(one.get("creationTimestamp") or ""))


def lacks_mark(metadata: Mapping[str, Any], now: datetime) -> bool:
    """Return whether `finish` still has work to do for a task."""
    annotations = metadata.get("annotations") or {}
    return not _is_judged(annotations) or notice.is_open(annotations, now)


def may_need_finish(metadata: Json, now: datetime) -> bool:
    """Return whether a task has ended and lacks a mark, according to its metadata."""
    return (
        lacks_mark(metadata, now)
        and not metadata.get("deletionTimestamp")
        and is_finished({"metadata": metadata})
    )


def notice_not_due(metadata: Mapping[str, Any], now: datetime) -> bool:
    """Return whether only the notification is missing and its next try is not due yet."""
    annotations = metadata.get("annotations") or {}
    known = notice.recorded_notice(annotations)
    return (
        _is_judged(annotations) and known is not None and not known.final and now < notice.next_try_at(known)
    )


def decide_ended(workflow: Json, job: Json | None, now: datetime) -> Decision:
    """Decide about a task whose Workflow exists. A finish Job that has not ended is not changed."""
    metadata = workflow["metadata"]
    if not may_need_finish(metadata, now) or not is_finished(workflow):
        return Decision(Action.DONE)
    ended = finished_at(workflow)
    if ended and _age(ended, now) < _grace(workflow):
        return Decision(Action.WAIT)
    return next_try(metadata, job, now)


def _grace(workflow: Json) -> float:
    """Return how long to wait for Argo's exit handler, in seconds. Argo runs none for a terminated Workflow."""
    return 0.0 if shutdown_of(workflow) == TERMINATE else GRACE_SECONDS


def decide_deleted(
    metadata: Json, deleted_at: str, *, left: Callable[[], bool], job: Json | None, now: datetime
) -> Decision:
    """Decide about a task whose Workflow was deleted.

    `left` returns whether objects of the task still exist. It is called only if the result matters.
    """
    annotations = metadata.get("annotations") or {}
    owed = notice.is_open(annotations, now, deleted_at)
    if not owed and not left():
        return Decision(Action.DONE)
    if _age(deleted_at, now) < COLLECTION_SECONDS:
        return Decision(Action.WAIT)
    return _next_notice(job, now, notice.recorded_notice(annotations)) if owed else _next_try(job, now)


def next_try(metadata: Mapping[str, Any], job: Json | None, now: datetime) -> Decision:
    """Decide about the finish Job of an ended task that lacks a mark, from its metadata and that Job only."""
    annotations = metadata.get("annotations") or {}
    if not _is_judged(annotations):
        return _next_try(job, now)
    return _next_notice(job, now, notice.recorded_notice(annotations))


def is_over(job: Json) -> bool:
    """Return whether a Job has ended, successfully or not."""
    return _ended_at(job) is not None


def backoff(number: int) -> float:
    """Return the seconds from the end of a try to the start of the next one."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** min(number - 1, 10), LONGEST_BACKOFF_SECONDS)


def is_overdue(metadata: Mapping[str, Any], now: datetime) -> bool:
    """Return whether a pod should no longer exist: `deletionTimestamp` includes the grace period."""
    stamp = metadata.get("deletionTimestamp")
    return bool(stamp) and _age(str(stamp), now) > 0


def is_lost(node: Json | None, now: datetime) -> bool:
    """Return whether a node no longer exists, or its Ready condition has not been True for a minute."""
    if node is None:
        return True
    ready = objects.condition(node, "Ready")
    if ready is None or ready["status"] == "True":
        return False
    since = ready.get("lastTransitionTime")
    return not since or _age(str(since), now) > NODE_SECONDS


def _next_try(job: Json | None, now: datetime) -> Decision:
    if job is None:
        return Decision(Action.START, 1)
    ended = _ended_at(job)
    if ended is None or job["metadata"].get("deletionTimestamp"):
        return Decision(Action.WAIT)
    number = number_of(job)
    if _age(ended, now) < backoff(number):
        return Decision(Action.WAIT)
    return Decision(Action.REPLACE, number + 1)


def _next_notice(job: Json | None, now: datetime, known: notice.Notice | None) -> Decision:
    """Decide if only the notification is missing: its pauses are minutes, not seconds.

    If a Job succeeded but recorded nothing, as with an old image, the pause depends on the number of the Job.
    """
    if known is not None and now < notice.next_try_at(known):
        return Decision(Action.WAIT)
    if job is None:
        return Decision(Action.START, known.rounds + 1 if known else 1)
    ended = _ended_at(job)
    if ended is None or not _succeeded(job):
        return _next_try(job, now)
    made = str(job["metadata"].get("creationTimestamp") or ended)
    unrecorded = known is None or clock.parse(known.last) < clock.parse(made)
    if unrecorded and _age(ended, now) < notice.retry_pause(number_of(job)):
        return Decision(Action.WAIT)
    leaving = job["metadata"].get("deletionTimestamp")
    return Decision(Action.WAIT) if leaving else Decision(Action.REPLACE, number_of(job) + 1)


def _is_judged(annotations: Mapping[str, Any]) -> bool:
    """Return whether a task has its verdict, and its Jobs and plans are deleted."""
    return {ANNOTATION_VERDICT, ANNOTATION_CLEANED} <= annotations.keys()


def number_of(job: Json) -> int:
    """Return the number of the try of a finish Job, from 1."""
    text = str(objects.annotations(job).get(ANNOTATION_TRY) or "")
    return int(text) if text.isdecimal() and int(text) else 1


def _ended_at(job: Json) -> str | None:
    end = _end_of(job)
    return str(end.get("lastTransitionTime") or job["metadata"]["creationTimestamp"]) if end else None


def _succeeded(job: Json) -> bool:
    end = _end_of(job)
    return end is not None and end["type"] == "Complete"


def _end_of(job: Json) -> Mapping[str, Any] | None:
    """Return the condition that shows how a Job ended; None if it has not ended."""
    return objects.true_condition(job, "Complete", "Failed")


def _age(stamp: str, now: datetime) -> float:
    return (now - clock.parse(stamp)).total_seconds()
