"""The listed tasks of a namespace, updated from the events of four collections.

A task is in "live" until it has its verdict, and then in "done", which has only metadata. The two collections have
separate streams, whose events arrive in any order. So a task is not dropped when one collection no longer has it, but
only when the owner of the store has read the task and calls `forget`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_PROGRESS, LABEL_VERDICT, LABEL_WORKFLOW_UID
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.rest.responses import encode_json
from ips_flows.core.rest.trim import trim_details, trim_workflow
from ips_flows.core.results.records import FailureLine
from ips_flows.core.task import queue, task, workflow_status
from ips_flows.core.task.as_json import task_json
from ips_flows.core.task.task import Task
from ips_flows.core.task.workflow_status import Status

LIVE, DONE, JOBS, RESULTS = "live", "done", "jobs", "results"
COLLECTIONS = (LIVE, DONE, JOBS, RESULTS)


class TaskRow:
    """One task of a list. Its JSON is created when it is first read."""

    __slots__ = ("_body", "_task", "_text", "created_at", "ended", "final", "name", "status", "uid")

    def __init__(self, workflow: Json, read: partial[Task]) -> None:
        metadata = workflow["metadata"]
        self.name: str = metadata["name"]
        self.uid: str = metadata["uid"]
        self.created_at: str = metadata.get("creationTimestamp") or ""
        self.status: Status = task.status_of(workflow)
        self.final = LABEL_VERDICT in (metadata.get("labels") or {})  # the task no longer changes
        self.ended = self.final or workflow_status.is_finished(workflow)
        self._task: partial[Task] | None = read
        self._body = b""
        self._text = ""

    def body(self) -> bytes:
        """Return the task's JSON in the form for lists."""
        read = self._task  # two threads may run this at the same time; their results are equal
        if read is not None:
            document = task_json(read(), clock.now(), brief=True)
            self._text = "\n".join((self.name, *document["images"])).casefold()
            self._body = encode_json(document)
            self._task = None
        return self._body

    def matches(self, part: str) -> bool:
        """Return whether `part`, in lower case, is part of the name or of an image reference."""
        self.body()
        return part in self._text


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tasks at one moment, newest first."""

    rows: tuple[TaskRow, ...] = ()
    by_name: Mapping[str, TaskRow] = field(default_factory=dict)

    def of_status(self, status: str) -> tuple[TaskRow, ...]:
        """Return the tasks with a status; all tasks if it is empty."""
        return tuple(row for row in self.rows if row.status == status) if status else self.rows

    def found(self, status: str, search: str) -> tuple[TaskRow, ...]:
        """Return the tasks that match a status and a text in their name or an image. Empty values match all tasks."""
        part, rows = search.casefold(), self.of_status(status)
        return tuple(row for row in rows if row.matches(part)) if part else rows


class TaskStore:
    """The rows of all tasks, and the tasks about which more must be read.

    `leaving` are tasks that were removed from a collection, as UID → name: the caller must read whether they still
    exist. `incoming` are tasks with a verdict that can't be shown before more of their data is read.
    """

    def __init__(self) -> None:
        self._rows: dict[str, TaskRow] = {}
        self._live: dict[str, Json] = {}
        self._positions: dict[str, int | None] = {}
        self._done: dict[str, str] = {}  # uid → resourceVersion
        self._facts: dict[str, Json] = {}
        self._failures: dict[str, tuple[str, tuple[FailureLine, ...], str]] = {}
        self._jobs: dict[str, dict[str, Json]] = {}
        self._dirty: set[str] = set()
        self._changed = True
        self.leaving: dict[str, str] = {}
        self.incoming: dict[str, Json] = {}

    def replace(self, collection: str, items: Iterable[Json]) -> None:
        """Store a complete list of a collection."""
        if collection == LIVE:
            self._replace_live(items)
        elif collection == DONE:
            self._replace_done(items)
        elif collection == JOBS:
            self._replace_jobs(items)

    def change(self, collection: str, item: Json, *, gone: bool = False) -> None:
        """Store one object of a collection that is new, changed or removed."""
        if collection == LIVE:
            self._leave(item) if gone else self._lives(item)
        elif collection == DONE:
            self._miss(item["metadata"]["uid"]) if gone else self._is_done(item)
        elif collection == JOBS:
            self._job(item, gone=gone)

    def without_details(self) -> dict[str, str]:
        """Return the incoming tasks whose request is unknown, as UID → name."""
        return {
            uid: item["metadata"]["name"] for uid, item in self.incoming.items() if uid not in self._facts
        }

    def without_failures(self) -> list[Task]:
        """Return the incoming tasks with failures that can only be read from their results."""
        return [
            task.read_task({**item, **self._facts[uid]})
            for uid, item in self.incoming.items()
            if uid in self._facts  # with known details, only missing failures keep a task incoming
        ]

    def add_details(self, workflow: Json) -> None:
        """Store the fields of a complete Workflow that its metadata does not have."""
        uid = workflow["metadata"]["uid"]
        if uid in self.incoming:
            self._facts[uid] = trim_details(workflow)
            self._settle(uid)

    def add_failures(self, seen: Task, failures: Iterable[FailureLine], message: str = "") -> None:
        """Store the failures of a task. `message` is the reason if they can't be read."""
        event = seen.verdict.event_id if seen.verdict else ""
        self._failures[seen.uid] = (event, tuple(failures), message)
        self._settle(seen.uid)

    def keep(self, workflow: Json) -> None:
        """Keep a leaving task that still exists, given as its complete Workflow."""
        whole = trim_workflow(workflow)
        if LABEL_VERDICT in objects.labels(workflow):
            self._facts[workflow["metadata"]["uid"]] = {"spec": whole["spec"], "status": whole["status"]}
            self._is_done({"metadata": whole["metadata"]})
        else:
            self._lives(whole)

    def forget(self, uid: str) -> None:
        """Drop a task that no longer exists."""
        for kept in (
            self._rows,
            self._live,
            self._positions,
            self._done,
            self._facts,
            self._failures,
            self._jobs,
            self.leaving,
            self.incoming,
        ):
            kept.pop(uid, None)
        self._dirty.discard(uid)
        self._changed = True

    def snapshot(self) -> Snapshot | None:
        """Return all tasks; None if nothing has changed since the last call."""
        if not self._changed and not self._dirty:
            return None
        places = queue.queue_positions(self._live.values())
        for uid, workflow in self._live.items():
            metadata = workflow["metadata"]
            place = places.get((metadata.get("namespace", ""), metadata["name"]))
            if uid in self._dirty or self._positions.get(uid) != place:
                jobs = tuple((self._jobs.get(uid) or {}).values())
                self._rows[uid] = TaskRow(
                    workflow, partial(task.read_task, workflow, jobs=jobs, queue_position=place)
                )
                self._positions[uid] = place
        self._dirty.clear()
        self._changed = False
        rows = sorted(
            sorted(self._rows.values(), key=lambda row: row.name),
            key=lambda row: row.created_at,
            reverse=True,
        )
        return Snapshot(tuple(rows), {row.name: row for row in reversed(rows)})

    def _replace_live(self, items: Iterable[Json]) -> None:
        fresh = {item["metadata"]["uid"]: item for item in items}
        for uid in self._live.keys() - fresh.keys():
            self._leave(self._live[uid])
        for item in fresh.values():
            self._lives(item)

    def _replace_done(self, items: Iterable[Json]) -> None:
        fresh = {item["metadata"]["uid"]: item for item in items}
        for uid in (self._done.keys() | self.incoming.keys()) - fresh.keys():
            self._miss(uid)
        for item in fresh.values():
            self._is_done(item)

    def _lives(self, item: Json) -> None:
        uid = item["metadata"]["uid"]
        if uid in self._done or uid in self.incoming:
            return  # the stream of "done" is ahead of this one
        self.leaving.pop(uid, None)
        self._live[uid] = item
        self._facts[uid] = {"spec": item["spec"], "status": item["status"]}
        self._dirty.add(uid)

    def _leave(self, item: Json) -> None:
        uid = item["metadata"]["uid"]
        if uid in self._live and uid not in self.incoming:
            self.leaving[uid] = item["metadata"]["name"]

    def _miss(self, uid: str) -> None:
        """Mark a task as leaving if it was removed from "done"."""
        item, shown = self.incoming.pop(uid, None), self._done.pop(uid, None)
        if shown is not None:
            self.leaving[uid] = self._rows[uid].name
        elif item is not None:
            self.leaving[uid] = item["metadata"]["name"]

    def _is_done(self, item: Json) -> None:
        uid, version = item["metadata"]["uid"], item["metadata"]["resourceVersion"]
        self.leaving.pop(uid, None)
        if self._done.get(uid) != version:
            self.incoming[uid] = item
            self._settle(uid)

    def _settle(self, uid: str) -> None:
        """Show a task with a verdict as soon as all its data is known."""
        item = self.incoming.get(uid)
        if item is None or uid not in self._facts:
            return
        whole = {**item, **self._facts[uid]}
        seen = task.read_task(whole)
        if not self._is_explained(seen):
            return
        _, failures, message = self._failures.get(uid, ("", (), ""))
        row = TaskRow(whole, partial(replace, seen, failures=failures, message=message or seen.message))
        row.body()
        self._rows[uid] = row
        self._done[uid] = item["metadata"]["resourceVersion"]
        for kept in (self.incoming, self._live, self._positions, self._jobs, self.leaving):
            kept.pop(uid, None)
        self._changed = True

    def _is_explained(self, seen: Task) -> bool:
        verdict = seen.verdict
        if verdict is None or verdict.summary is None or not verdict.summary.failures:
            return True
        return seen.uid in self._failures and self._failures[seen.uid][0] == verdict.event_id

    def _replace_jobs(self, items: Iterable[Json]) -> None:
        before, self._jobs = self._jobs, {}
        for item in items:
            self._job(item, gone=False)
        # `finish` deletes the Jobs right after the verdict: their last progress counts until the verdict is seen.
        for uid in before.keys() & self._live.keys():
            self._jobs[uid] = before[uid] | self._jobs.get(uid, {})

    def _job(self, item: Json, *, gone: bool) -> None:
        metadata = item["metadata"]
        uid = metadata["labels"].get(LABEL_WORKFLOW_UID, "")
        if gone:
            if uid not in self._live:
                self._jobs.pop(uid, None)
            return
        progress = (metadata.get("annotations") or {}).get(ANNOTATION_PROGRESS)
        known = self._jobs.setdefault(uid, {})
        kept = {"metadata": {"annotations": {ANNOTATION_PROGRESS: progress} if progress else {}}}
        if known.get(metadata["name"]) != kept:
            known[metadata["name"]] = kept
            if uid in self._live:
                self._dirty.add(uid)
