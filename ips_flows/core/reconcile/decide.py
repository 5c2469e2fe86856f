"""What the keeper has to do, decided from values: what was seen of a task, its finish Job, and the time.

Nothing here is remembered from one decision to the next but in `TaskIndex`, which a new list fills again.
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

ANNOTATION_TRY = PREFIX + "try"  # on finish Jobs: which one it is for its task, from 1
GRACE_SECONDS = 60.0  # what Argo's own exit handler has after the end of a Workflow
COLLECTION_SECONDS = 20.0  # what Kubernetes' garbage collection has after a Workflow was deleted
NODE_SECONDS = 60.0  # how long a node is silent before its step pods are given up
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 10.0, 300.0


class Action(StrEnum):
    """What to do about the finish Job of a task."""

    WAIT = "wait"
    START = "start"
    REPLACE = "replace"  # delete the one that left something undone; a later look starts the next one
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and for START and REPLACE the number of the try."""

    do: Action
    number: int = 0


@dataclass(slots=True)
class TaskIndex:
    """The tasks of a namespace by uid, as metadata, and those that were deleted before they had every mark."""

    tasks: dict[str, Json] = field(default_factory=dict)
    deleted: dict[str, Json] = field(default_factory=dict)
    listed: bool = False
    now: Callable[[], datetime] = clock.now

    def replace(self, items: Iterable[Json]) -> None:
        """Take in a whole list: what was known and is not in it was deleted meanwhile."""
        fresh = {item["metadata"]["uid"]: item["metadata"] for item in items}
        for uid in self.tasks.keys() - fresh.keys():
            self._bury(self.tasks[uid])
        self.tasks = fresh
        self.listed = True

    def change(self, item: Json, *, gone: bool = False) -> None:
        """Take in one task that is new, has changed or is gone."""
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
        """The tasks that have ended and lack a mark for which something can be done now, the oldest first."""
        now = self.now()
        found = [
            one for one in self.tasks.values() if may_need_finish(one, now) and not notice_not_due(one, now)
        ]
        return sorted(found, key=lambda one: str(one.get("creationTimestamp") or ""))


def lacks_mark(metadata: Mapping[str, Any], now: datetime) -> bool:
    """Whether `finish` has something left to do for a task."""
    annotations = metadata.get("annotations") or {}
    return not _is_judged(annotations) or notice.is_open(annotations, now)


def may_need_finish(metadata: Json, now: datetime) -> bool:
    """Whether a task, by its metadata alone, has ended with a mark missing."""
    return (
        lacks_mark(metadata, now)
        and not metadata.get("deletionTimestamp")
        and is_finished({"metadata": metadata})
    )


def notice_not_due(metadata: Mapping[str, Any], now: datetime) -> bool:
    """Whether nothing but a notice is missing, and its next try is not due yet."""
    annotations = metadata.get("annotations") or {}
    known = notice.recorded_notice(annotations)
    return (
        _is_judged(annotations) and known is not None and not known.final and now < notice.next_try_at(known)
    )


def decide_ended(workflow: Json, job: Json | None, now: datetime) -> Decision:
    """What to do about a task whose Workflow is there. A finish that runs or waits its turn is left alone."""
    metadata = workflow["metadata"]
    if not may_need_finish(metadata, now) or not is_finished(workflow):
        return Decision(Action.DONE)
    ended = finished_at(workflow)
    if ended and _age(ended, now) < _grace(workflow):
        return Decision(Action.WAIT)
    return next_try(metadata, job, now)


def _grace(workflow: Json) -> float:
    """How long Argo's own exit handler is waited for: of a terminated Workflow Argo runs none."""
    return 0.0 if shutdown_of(workflow) == TERMINATE else GRACE_SECONDS


def decide_deleted(
    metadata: Json, deleted_at: str, *, left: Callable[[], bool], job: Json | None, now: datetime
) -> Decision:
    """What to do about a task whose Workflow was deleted.

    `left` says whether anything of it is still there; it is asked only where that matters.
    """
    annotations = metadata.get("annotations") or {}
    owed = notice.is_open(annotations, now, deleted_at)
    if not owed and not left():
        return Decision(Action.DONE)
    if _age(deleted_at, now) < COLLECTION_SECONDS:
        return Decision(Action.WAIT)
    return _next_notice(job, now, notice.recorded_notice(annotations)) if owed else _next_try(job, now)


def next_try(metadata: Mapping[str, Any], job: Json | None, now: datetime) -> Decision:
    """What to do about the finish Job of an ended task that lacks a mark, by its metadata and that Job alone."""
    annotations = metadata.get("annotations") or {}
    if not _is_judged(annotations):
        return _next_try(job, now)
    return _next_notice(job, now, notice.recorded_notice(annotations))


def is_over(job: Json) -> bool:
    """Whether a Job has ended, well or not."""
    return _ended_at(job) is not None


def backoff(number: int) -> float:
    """How many seconds after the end of a try the next one starts."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** min(number - 1, 10), LONGEST_BACKOFF_SECONDS)


def is_overdue(metadata: Mapping[str, Any], now: datetime) -> bool:
    """Whether a pod should have gone by now: `deletionTimestamp` has its grace period in it."""
    stamp = metadata.get("deletionTimestamp")
    return bool(stamp) and _age(str(stamp), now) > 0


def is_lost(node: Json | None, now: datetime) -> bool:
    """Whether a node is gone, or its Ready condition has not been True for a minute."""
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
    """As above, where nothing but the notice is missing: its pauses are minutes, not seconds.

    A Job that succeeded and recorded nothing, as an old image does, is waited for as long as its number says.
    """
    if known is not None and now < notice.next_try_at(known):
        return Decision(Action.WAIT)
    if job is None:
        return Decision(Action.START, known.rounds + 1 if known else 1)
    ended = _ended_at(job)
    if ended is None or not _succeeded(job):
        return _next_try(job, now)
    made = str(job["metadata"].get("creationTimestamp") or ended)
    in_vain = known is None or clock.parse(known.last) < clock.parse(made)
    if in_vain and _age(ended, now) < notice.retry_pause(number_of(job)):
        return Decision(Action.WAIT)
    leaving = job["metadata"].get("deletionTimestamp")
    return Decision(Action.WAIT) if leaving else Decision(Action.REPLACE, number_of(job) + 1)


def _is_judged(annotations: Mapping[str, Any]) -> bool:
    """Whether a task has its verdict, and nothing of it is left."""
    return {ANNOTATION_VERDICT, ANNOTATION_CLEANED} <= annotations.keys()


def number_of(job: Json) -> int:
    """Which try a finish Job is, from 1."""
    text = str(objects.annotations(job).get(ANNOTATION_TRY) or "")
    return int(text) if text.isdecimal() and int(text) else 1


def _ended_at(job: Json) -> str | None:
    end = _end_of(job)
    return str(end.get("lastTransitionTime") or job["metadata"]["creationTimestamp"]) if end else None


def _succeeded(job: Json) -> bool:
    end = _end_of(job)
    return end is not None and end["type"] == "Complete"


def _end_of(job: Json) -> Mapping[str, Any] | None:
    """The condition that says how a Job ended."""
    return objects.true_condition(job, "Complete", "Failed")


def _age(stamp: str, now: datetime) -> float:
    return (now - clock.parse(stamp)).total_seconds()
