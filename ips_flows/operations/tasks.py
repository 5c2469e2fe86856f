"""Reads, lists and changes tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from ips_flows.core.constants import (
    LABEL_KIND,
    LABEL_TASK,
    LABEL_VERDICT,
    LABEL_WORKFLOW_UID,
)
from ips_flows.core.errors import (
    ForbiddenError,
    GoneError,
    NewerFormatError,
    NotFoundError,
    NotInstalledError,
)
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.results import attempts, results
from ips_flows.core.results.stored_results import NOT_OURS
from ips_flows.core.task import task, workflow_status
from ips_flows.core.task.queue import queue_positions
from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube, core, jobs, workflows
from ips_flows.kube.patch import MAX_TRIES, retry_on_conflict
from ips_flows.operations.results import chunks_to_show, results_to_show

T = TypeVar("T")

IS_TASK = f"{LABEL_TASK}=true"
OUR_JOBS = f"{LABEL_KIND}=pull"


def check_namespace(kube: Kube, namespace: str) -> None:
    """Raise NotFoundError if the namespace does not exist. Does nothing if it may not be read."""
    try:
        kube.get(core("", "namespaces", namespace), metadata_only=True)
    except NotFoundError as error:
        raise NotFoundError(
            f"namespace {namespace} does not exist",
            hint=f"Select another with -n, or create it: `ips-flow install -n {namespace} --create-namespace --image IMAGE`.",
            status=error.status,
            reason=error.reason,
        ) from error
    except ForbiddenError:
        return


def workflow(kube: Kube, namespace: str, name: str) -> Json:
    """Return the Workflow of a task. Raises NotFoundError if it does not exist or is not a task."""
    foreign = NotFoundError(
        f"Workflow {name} in namespace {namespace} is not a task of IPS Flow",
        hint=f"`ips-flow list -n {namespace}` shows the tasks.",
        status=404,
    )
    path, missing = workflows(namespace, name), not_found(namespace, name)
    return get_labelled(kube, namespace, path, label=LABEL_TASK, missing=missing, foreign=foreign)


def get_labelled(
    kube: Kube, namespace: str, path: str, *, label: str, missing: NotFoundError, foreign: NotFoundError
) -> Json:
    """Return an Argo object with our label. Raises `missing` if it does not exist, `foreign` if it lacks the label."""
    try:
        with argo_errors(namespace):
            found = kube.get(path)
    except NotFoundError as error:
        check_namespace(kube, namespace)
        raise missing from error
    if objects.labels(found).get(label) != "true":
        raise foreign
    return found


def not_found(namespace: str, name: str) -> NotFoundError:
    """Return the error for a task that does not exist."""
    return NotFoundError(
        f"task {name} does not exist in namespace {namespace}",
        hint=f"`ips-flow list -n {namespace}` shows the tasks, -A those of all namespaces.",
        status=404,
        reason="NotFound",
    )


def get_task(kube: Kube, namespace: str, name: str) -> Task:
    """Return one task with its progress, its results and, while it waits, its position in the queue."""
    found = workflow(kube, namespace, name)
    uid = f"{LABEL_WORKFLOW_UID}={found['metadata']['uid']}"
    position = None
    if task.status_of(found) == "pending":
        # Whole objects, since the priority in force is not in the metadata.
        queue = kube.list(workflows(namespace), labels=f"{IS_TASK},!{LABEL_VERDICT}")
        position = queue_positions([found, *_without(queue, name)]).get((namespace, name))
    chunks = chunks_to_show(kube, namespace, found["metadata"]["uid"])
    return task.read_task(
        found,
        jobs=list(kube.list(jobs(namespace), labels=uid, metadata_only=True)),
        results=results.fold(chunks),
        attempts=attempts.recorded_attempts(chunks),
        queue_position=position,
    )


def with_results(kube: Kube, seen: Task) -> Task:
    """Return a task with the result of each node, and with all failures instead of only the latest."""
    found = workflow(kube, seen.namespace, seen.name)
    return task.read_task(found, results=results_to_show(kube, seen.namespace, seen.uid))


def list_tasks(kube: Kube, namespace: str, *, labels: str = "", whole: bool = False) -> list[Task]:
    """Return the tasks of a namespace (of all if it is empty), newest first.

    Reads a Workflow whole if it has no verdict or if `whole` is set, else only its metadata.
    """
    selector = f"{IS_TASK},{labels}" if labels else IS_TASK
    with argo_errors(namespace):
        # In this order, a task that gets its verdict between the two lists is in both, not in neither.
        live = list_all(kube, workflows(namespace), f"{selector},!{LABEL_VERDICT}")
        done = list_all(kube, workflows(namespace), f"{selector},{LABEL_VERDICT}", metadata_only=not whole)
    if not live and not done and namespace:
        check_namespace(kube, namespace)
    under_way = any(not workflow_status.is_finished(one) and task.status_of(one) != "pending" for one in live)
    ours = list_all(kube, jobs(namespace), OUR_JOBS, metadata_only=True) if under_way else []
    found = sort_tasks(live, done, by_workflow(ours))
    return [with_failures(kube, one) for one in found] if whole else found


def with_failures(kube: Kube, seen: Task) -> Task:
    """Return an ended task with its failures, which only its results hold; any other task unchanged."""
    summary = seen.verdict.summary if seen.verdict else None
    if summary is None or not summary.failures:
        return seen
    try:
        recorded = results_to_show(kube, seen.namespace, seen.uid)
    except NewerFormatError as error:  # one such task must not hide the others
        return replace(seen, message=error.message)
    except NOT_OURS as error:  # changed by another client
        return replace(seen, message=f"its stored results can't be read: {error!r}")
    return replace(seen, failures=task.all_failures(seen.plan, (), recorded))


def by_workflow(our_jobs: Iterable[Json]) -> dict[str, list[Json]]:
    """Group Jobs by the uid of their Workflow."""
    grouped: dict[str, list[Json]] = {}
    for job in our_jobs:
        grouped.setdefault(job["metadata"]["labels"].get(LABEL_WORKFLOW_UID, ""), []).append(job)
    return grouped


def sort_tasks(
    live: Iterable[Json], done: Iterable[Json], jobs_by_uid: Mapping[str, Iterable[Json]]
) -> list[Task]:
    """Return the tasks of Workflows without (`live`) and with (`done`) a verdict, newest first, each once."""
    merged = {one["metadata"]["uid"]: one for one in [*live, *done]}
    positions = queue_positions(merged.values())
    tasks = [
        task.read_task(
            one,
            jobs=jobs_by_uid.get(uid, ()),
            queue_position=positions.get((one["metadata"].get("namespace", ""), one["metadata"]["name"])),
        )
        for uid, one in merged.items()
    ]
    return sorted(sorted(tasks, key=lambda one: one.name), key=lambda one: one.created_at, reverse=True)


def amend_task(
    kube: Kube,
    namespace: str,
    name: str,
    change: Callable[[Json, Task], Json | None],
    *,
    doing: str,
) -> Task:
    """Patch a task. `change` returns a merge patch for the task's Workflow, or None to leave it as it is.

    `doing` is the operation, for the message of ConflictError. See `retry_on_conflict`.
    """
    found = retry_on_conflict(
        kube,
        workflows(namespace, name),
        lambda: workflow(kube, namespace, name),
        lambda found: change(found, task.read_task(found)),
        missing=not_found(namespace, name),
        conflict=f"task {name} changed {MAX_TRIES} times while {doing}",
    )
    return task.read_task(found)


@contextmanager
def argo_errors(namespace: str) -> Iterator[None]:
    """Turn the 404 of an unknown API group into NotInstalledError."""
    try:
        yield
    except NotFoundError as error:
        if error.reason:  # the 404 is for an object or its namespace
            if "namespaces " in error.message:
                raise NotFoundError(
                    f"namespace {namespace} does not exist",
                    hint=f"Select another with -n, or run `ips-flow install -n {namespace} --create-namespace --image IMAGE`.",
                    status=404,
                    reason=error.reason,
                ) from error
            raise
        raise NotInstalledError(
            "Argo Workflows is not installed in this cluster: the API group argoproj.io is missing",
            hint="Install Argo Workflows, or use another --context; `ips-flow doctor` checks the rest.",
        ) from error


def list_all(kube: Kube, path: str, labels: str, *, metadata_only: bool = False) -> list[Json]:
    """Return a whole list. If it expires during the read, it is read once more."""
    return list_again_if_expired(lambda: kube.list(path, labels=labels, metadata_only=metadata_only))


def list_again_if_expired(read: Callable[[], Iterable[T]]) -> list[T]:
    """Return all items of `read`. If the list expires during the read, it is read once more."""
    try:
        return list(read())
    except GoneError:
        return list(read())


def _without(workflow_metadata: Iterable[Json], name: str) -> Iterator[Json]:
    return (one for one in workflow_metadata if one["metadata"]["name"] != name)
