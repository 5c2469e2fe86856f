"""Turn lists and changes of the watched collections into metric samples. Each event is counted once.

The first list of a collection is history and is not counted. After it, each end, start, Job and notification is counted
once per UID: from whichever collection shows it first, however often it is seen, and also if it happened while a watch
was broken. A task moves from "live" to "done" when its verdict is written. The two collections are watched separately,
so a task may be in both or in neither of them for a moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_BATCH_SIZE,
    ANNOTATION_PLAN,
    LABEL_ATTEMPT,
    LABEL_GROUP,
    LABEL_WORKFLOW_UID,
)
from ips_flows.core.errors import NewerFormatError
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.metrics import families
from ips_flows.core.metrics.batches import Batches
from ips_flows.core.metrics.families import MetricFamily
from ips_flows.core.notice import notice
from ips_flows.core.plan.window import parse_window
from ips_flows.core.rest.task_store import DONE, JOBS, LIVE, RESULTS
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.records import PlanSummary, Summary
from ips_flows.core.results.results import Chunk
from ips_flows.core.task.task import priority_of, status_of, verdict_of
from ips_flows.core.task.workflow_status import (
    TERMINATE,
    attempt_of,
    lost_drivers,
    nodes_of,
    phase_of,
    shutdown_of,
    started_at,
)

_TASKS = frozenset({LIVE, DONE})


@dataclass(frozen=True, slots=True)
class Sample:
    """One change of a metric: a counter increases by `value`, a histogram observes it."""

    family: MetricFamily
    labels: tuple[str, ...] = ()
    value: float = 1.0

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.family.labels) or self.value < 0:
            raise ValueError(f"{self.family.name}: got labels {self.labels} and value {self.value}")


@dataclass(frozen=True, slots=True)
class UnreadResults:
    """Stored results that have not been read yet. `task` is the UID of the Workflow."""

    name: str
    uid: str
    task: str


@dataclass(slots=True)
class _Task:
    """State of a task while it is in a collection."""

    live: bool = False
    done: bool = False
    seen_live: bool = False
    phase: str = ""  # running, pending, or '' for neither
    waited: bool = False  # its wait is counted or is history
    ended: bool = False  # its end is counted or is history
    notice: tuple[str, int] = ("", 0)  # ID of the notification and its counted rounds
    jobs: frozenset[tuple[str, str]] = frozenset()  # group and attempt
    drivers: frozenset[str] = frozenset()  # failed drivers, by Argo's node ID
    window: int = 0
    waves: tuple[tuple[str, int], ...] = ()
    batches: Batches | None = None
    missed: frozenset[str] = frozenset()  # collections that were listed without it since it was last in one


@dataclass(slots=True)
class _SeenUids:
    """Known UIDs of a collection in which each new object is counted once."""

    uids: set[str] = field(default_factory=set)

    def listed(self, items: Iterable[Json]) -> list[Json]:
        """Return the new objects of a complete list."""
        by_uid = {_uid(item): item for item in items}
        fresh = [item for uid, item in by_uid.items() if uid not in self.uids]
        self.uids = set(by_uid)
        return fresh

    def changed(self, item: Json, *, gone: bool) -> list[Json]:
        """Return the object if it is new."""
        uid = _uid(item)
        if gone:
            self.uids.discard(uid)
            return []
        fresh = [] if uid in self.uids else [item]
        self.uids.add(uid)
        return fresh


class EventCounter:
    """State behind the metrics: a few values for each existing object, none for deleted objects."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}
        self._seen = {JOBS: _SeenUids(), RESULTS: _SeenUids()}
        self._listed: set[str] = set()
        self._unread: list[UnreadResults] = []

    @property
    def active(self) -> int:
        """The number of running tasks."""
        return self._in_phase("running")

    @property
    def pending(self) -> int:
        """The number of tasks in the queue."""
        return self._in_phase("pending")

    def unread(self) -> list[UnreadResults]:
        """Return the results stored since the last call. Pass their content to `read`."""
        found, self._unread = self._unread, []
        return found

    def listed(self, collection: str, items: Iterable[Json]) -> list[Sample]:
        """Count the events in a complete list of a collection."""
        known = list(items)
        history = collection not in self._listed
        self._listed.add(collection)
        if collection not in _TASKS:
            return self._new_objects(collection, self._seen[collection].listed(known), history=history)
        there = {_uid(item) for item in known}
        for uid, task in self._tasks.items():
            if uid not in there:
                self._remove(task, collection)
        samples = [one for item in known for one in self._update(collection, item, history=history)]
        self._forget(collection)
        return samples

    def changed(self, collection: str, item: Json, *, gone: bool = False) -> list[Sample]:
        """Count the events of one object that is new, changed or removed from its collection."""
        if collection not in _TASKS:
            fresh = self._seen[collection].changed(item, gone=gone)
            return self._new_objects(collection, fresh, history=False)
        if not gone:
            return list(self._update(collection, item, history=False))
        if task := self._tasks.get(_uid(item)):
            self._remove(task, collection)
        return []

    def read(self, one: UnreadResults, chunk: Chunk) -> list[Sample]:
        """Count stored results. Their content is not stored."""
        samples = [
            Sample(families.PULL_SECONDS, (), image.seconds)
            for node in chunk.nodes.values()
            for image in node.images
            if image.result is Result.PULLED and image.seconds is not None
        ]
        task = self._tasks.get(one.task)
        if task and task.window:
            task.batches = task.batches or Batches()
            nodes = task.waves[chunk.group][1] if 0 <= chunk.group < len(task.waves) else 0
            seconds = task.batches.add(chunk, task.window, nodes)
            samples += [Sample(families.BATCH_SECONDS, (), value) for value in seconds]
        return samples

    def _in_phase(self, phase: str) -> int:
        return sum(task.phase == phase and task.live and not task.ended for task in self._tasks.values())

    # -- tasks

    def _update(self, collection: str, item: Json, *, history: bool) -> Iterator[Sample]:
        task = self._task(_uid(item))
        task.missed = frozenset()
        if collection == LIVE:
            task.live = task.seen_live = True
            yield from _start_samples(task, item, history=history)
        else:
            task.done = True
            # If the task was seen live, its end is not history.
            yield from _end_samples(task, item, history=history and not task.seen_live)

    def _remove(self, task: _Task, collection: str) -> None:
        if collection == LIVE:
            task.live = False
        else:
            task.done = False

    def _forget(self, collection: str) -> None:
        """Drop the tasks that are in neither collection after both collections were listed again."""
        for uid, task in list(self._tasks.items()):
            if not task.live and not task.done:
                task.missed |= {collection}
                if task.missed == _TASKS:
                    del self._tasks[uid]

    def _task(self, uid: str) -> _Task:
        return self._tasks.setdefault(uid, _Task())

    # -- Jobs and stored results of tasks

    def _new_objects(self, collection: str, items: Iterable[Json], *, history: bool) -> list[Sample]:
        samples: list[Sample] = []
        for item in sorted(items, key=_creation_order):
            labels = objects.labels(item)
            owner = str(labels.get(LABEL_WORKFLOW_UID) or "")
            if collection == JOBS:
                self._task(owner).jobs |= {(labels.get(LABEL_GROUP, ""), labels.get(LABEL_ATTEMPT, ""))}
                samples += [] if history else [Sample(families.JOBS_MADE, ("success",))]
            elif history:
                self._task(owner).batches = Batches(midway=True)
            else:
                self._unread.append(UnreadResults(item["metadata"]["name"], _uid(item), owner))
        return samples


def _start_samples(task: _Task, workflow: Json, *, history: bool) -> Iterator[Sample]:
    """Yield the samples of a Workflow without a verdict: its start and its failed drivers. Update its phase."""
    if phase_of(workflow) == "Running":
        task.phase = "running"
    else:
        task.phase = "pending" if status_of(workflow) == "pending" else ""
    _read_plan(task, workflow)
    # A task that was terminated in the queue has a start time, too, which is the time of its end.
    started = started_at(workflow) if shutdown_of(workflow) != TERMINATE else ""
    if started and not task.waited:
        task.waited = True
        if not history:
            yield from _wait_samples(workflow, started)
    groups = {name: str(group) for group, (name, _) in enumerate(task.waves)}
    for node_id, node in lost_drivers(nodes_of(workflow)).items():
        wave, attempt = attempt_of(node)
        if node_id in task.drivers or wave not in groups:
            continue
        task.drivers |= {node_id}
        if not history and (groups[wave], attempt) not in task.jobs:
            yield Sample(families.JOBS_MADE, ("failure",))


def _read_plan(task: _Task, workflow: Json) -> None:
    annotations = objects.annotations(workflow)
    if ANNOTATION_PLAN not in annotations:
        return
    try:
        plan = PlanSummary.from_json(annotations[ANNOTATION_PLAN])
    except (ValidationError, NewerFormatError):  # written by another program, or by a newer version
        return
    asked = parse_window(str(annotations.get(ANNOTATION_BATCH_SIZE) or ""), plan.eligible)
    task.window = asked or plan.window
    task.waves = tuple((wave.name, wave.nodes) for wave in plan.waves)


def _end_samples(task: _Task, workflow: Json, *, history: bool) -> Iterator[Sample]:
    """Yield the samples of a Workflow with a verdict: its end with the counts, and the rounds of its notification."""
    if not task.ended:
        task.ended = True
        if not history:
            yield from _verdict_samples(task, workflow)
    known = notice.recorded_notice(objects.annotations(workflow))
    if known is None:
        return
    before = task.notice[1] if task.notice[0] == known.id else 0
    task.notice = (known.id, max(before, known.rounds))
    if history or known.event not in families.EVENTS or known.rounds <= before:
        return
    missed = known.rounds - before - 1  # rounds that were not seen; none of them was final
    if missed:
        yield Sample(families.DELIVERIES, (known.event, "undelivered"), missed)
    yield Sample(families.DELIVERIES, (known.event, known.outcome))


def _verdict_samples(task: _Task, workflow: Json) -> Iterator[Sample]:
    status = status_of(workflow)
    if status not in families.STATUSES:  # written by another program
        return
    yield Sample(families.TASKS, (status,))
    verdict = verdict_of(workflow)
    if verdict is None:  # written by a newer version: only the status in the label is known
        return
    seconds = _between(verdict.started_at, verdict.at)
    if seconds is not None:
        yield Sample(families.TASK_SECONDS, (status,), seconds)
    if not task.waited and (status != "cancelled" or verdict.summary):
        task.waited = True
        yield from _wait_samples(workflow, verdict.started_at)
    if verdict.summary:
        yield from _summary_samples(verdict.summary)


def _wait_samples(workflow: Json, started_at: str) -> Iterator[Sample]:
    seconds = _between(str(workflow["metadata"].get("creationTimestamp") or ""), started_at)
    if seconds is not None:
        yield Sample(families.QUEUE_SECONDS, (str(min(10, max(0, _priority(workflow)))),), seconds)


def _priority(workflow: Json) -> int:
    try:
        return priority_of(workflow)
    except (ValueError, TypeError):  # written by another program
        return 0


def _summary_samples(summary: Summary) -> Iterator[Sample]:
    nodes = {
        "completed": summary.completed - summary.warm,
        "warm": summary.warm,
        "failed": summary.failed - summary.not_reached,
        "not_reached": summary.not_reached,
    }
    counted = (
        (families.NODES, nodes),
        (families.IMAGES, {name: summary.images.get(name, 0) for name in families.RESULTS}),
    )
    for metric, values in counted:
        yield from (Sample(metric, (name,), count) for name, count in values.items() if count > 0)
    if summary.bytes > 0:
        yield Sample(families.BYTES, (), summary.bytes)
    for reason, count in summary.failures.items():
        # A class that only a newer version knows counts as Unknown.
        known = reason if reason in families.FAILURES else FailureReason.UNKNOWN.value
        if count > 0:
            yield Sample(families.FAILED, (known,), count)


def _between(start: str, end: str) -> float | None:
    """Return the seconds between two timestamps, at least 0; None if one of them is invalid."""
    try:
        return max(0.0, clock.between(start, end))
    except (ValueError, TypeError):  # empty, or written by another program
        return None


def _uid(item: Json) -> str:
    return str(item["metadata"]["uid"])


def _creation_order(item: Json) -> tuple[str, int, str]:
    """Return a sort key for the order of creation: names end with a number."""
    name = str(item["metadata"]["name"])
    return str(item["metadata"].get("creationTimestamp") or ""), len(name), name
