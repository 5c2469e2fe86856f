"""Follows tasks by watches, and waits until a task ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing

from ips_flows.core.constants import LABEL_VERDICT, LABEL_WORKFLOW_UID
from ips_flows.core.errors import WaitTimeoutError
from ips_flows.core.task import queue, task
from ips_flows.core.task.task import Task
from ips_flows.core.task.workflow_status import TERMINATE
from ips_flows.kube.client import Kube, jobs, workflows
from ips_flows.kube.list_watch import Informer, ListWatch, WatchError
from ips_flows.operations import tasks

VERDICT_GRACE = 10.0  # how long `finish` may still write its verdict after Argo has ended the Workflow
_TICK_SECONDS = 1.0  # how often a time limit is checked
PROGRESS_GRACE = 1.0  # how long the watch of the Jobs may lag behind that of the Workflow


def _quiet(_: str) -> None:
    """Ignore a message."""


def follow(
    kube: Kube,
    namespace: str,
    name: str,
    *,
    narrate: Callable[[str], None] = _quiet,
    grace: float = VERDICT_GRACE,
    tick: float | None = None,
) -> Generator[Task | None, None, None]:
    """Yield the task each time it changes, until it has ended. Yield None about every `tick` seconds without a change.

    Raises NotFoundError if the task does not exist or is deleted meanwhile. `narrate` gets a message when the
    API server can't be reached.
    """
    first = tasks.workflow(kube, namespace, name)
    with Informer(kube) as informer:
        informer.add(_sources(namespace, name, first["metadata"]["uid"]))
        last: Task | None = None
        last_word_by = 0.0
        calm = True
        while True:
            got = informer.next(
                _shorter_wait(tick, last_word_by - time.monotonic() if last_word_by else None)
            )
            if got is not None and isinstance(got[1], WatchError):
                if calm:
                    narrate(f"{got[1].error.message}; trying again")
                calm = False
                yield None
                continue
            overdue = bool(last_word_by) and time.monotonic() >= last_word_by
            if got is None and not overdue:
                yield None
                continue
            calm = True
            seen = _task_in_stores(informer, namespace, name, first["metadata"]["uid"])
            if seen is None:
                continue
            patience = _grace_left(seen, grace)
            if patience and not overdue:
                last_word_by = last_word_by or time.monotonic() + patience
                continue
            last_word_by = 0.0
            if seen != last:
                yield seen
                last = seen
            if seen.ended:
                return


_QUEUE = f"{tasks.IS_TASK},!{LABEL_VERDICT}"


def _sources(namespace: str, name: str, uid: str) -> dict[str, ListWatch]:
    return {
        "workflow": ListWatch(workflows(namespace), fields=f"metadata.name={name}"),
        # `finish` deletes the Jobs right after its verdict, but their last progress is still needed.
        "jobs": ListWatch(
            jobs(namespace), labels=f"{LABEL_WORKFLOW_UID}={uid}", metadata_only=True, keep_gone=True
        ),
    }


def _task_in_stores(informer: Informer, namespace: str, name: str, uid: str) -> Task | None:
    """Return the task from the stores; None until they are filled."""
    stores = informer.stores
    if not all(store.synced for store in stores.values()):
        return None
    current = stores["workflow"].objects.get(f"{namespace}/{name}")
    if current is None or current["metadata"]["uid"] != uid:
        raise tasks.not_found(namespace, name)
    position = None
    if task.status_of(current) == "pending":
        if "queue" not in stores:  # only a waiting task needs the others
            informer.add({"queue": ListWatch(workflows(namespace), labels=_QUEUE)})
            return None
        others = [one for one in stores["queue"].objects.values() if one["metadata"]["name"] != name]
        position = queue.queue_positions([current, *others]).get((namespace, name))
    return task.read_task(current, jobs=list(stores["jobs"].objects.values()), queue_position=position)


def _shorter_wait(one: float | None, other: float | None) -> float | None:
    return min((seconds for seconds in (one, other) if seconds is not None), default=None)


def _grace_left(seen: Task, grace: float) -> float:
    """Return for how many seconds an ended task may still change.

    It may still get a verdict, unless it was terminated, which runs no exit handler. With a verdict, it may still
    get the Jobs' last progress, which arrives by another watch.
    """
    if not seen.ended:
        return 0.0
    if seen.verdict is None:
        return 0.0 if seen.shutdown == TERMINATE else grace
    counted = seen.progress.warm + sum(wave.done for wave in seen.waves)
    return 0.0 if not seen.waves or counted == seen.progress.completed else PROGRESS_GRACE


def wait_for_end(
    kube: Kube, namespace: str, name: str, *, grace: float = VERDICT_GRACE, timeout: float | None = None
) -> Task:
    """Wait until a task has ended. Raises WaitTimeoutError after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with closing(follow(kube, namespace, name, grace=grace, tick=_TICK_SECONDS)) as states:
        for seen in states:
            if seen is not None and seen.ended:
                return seen
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"task {name} in namespace {namespace} has not ended after {timeout:g} s; it continues"
                )
    raise tasks.not_found(namespace, name)


def watch_tasks(
    kube: Kube, namespace: str, *, labels: str = "", narrate: Callable[[str], None] = _quiet
) -> Generator[list[Task], None, None]:
    """Yield the tasks of a namespace (of all if it is empty), newest first; then, without end, the changed tasks."""
    selector = f"{tasks.IS_TASK},{labels}" if labels else tasks.IS_TASK
    with Informer(kube) as informer, tasks.argo_errors(namespace):
        informer.add(
            {
                "workflows": ListWatch(workflows(namespace), labels=selector),
                "jobs": ListWatch(jobs(namespace), labels=tasks.OUR_JOBS, metadata_only=True),
            }
        )
        known: dict[str, Task] = {}
        while True:
            got = informer.next()
            if got is not None and isinstance(got[1], WatchError):
                narrate(f"{got[1].error.message}; trying again")
                continue
            if not all(store.synced for store in informer.stores.values()):
                continue
            seen = tasks.sort_tasks(
                informer.stores["workflows"].objects.values(),
                (),
                tasks.by_workflow(informer.stores["jobs"].objects.values()),
            )
            changed = [one for one in seen if known.get(one.uid) != one]
            if changed:
                yield changed
            known = {one.uid: one for one in seen}
