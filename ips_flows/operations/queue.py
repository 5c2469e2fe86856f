"""The queue of a namespace: reads it, and changes the priority of a task in it."""

from __future__ import annotations

import json

from ips_flows.core.constants import ANNOTATION_COLUMNS
from ips_flows.core.errors import NotFoundError, TaskEndedError, TaskStartedError
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.task import queue
from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube, workflows
from ips_flows.operations import tasks
from ips_flows.operations.settings import read_settings

_NOT_OVER = "workflows.argoproj.io/completed!=true"


def get_queue(kube: Kube, namespace: str) -> queue.Queue:
    """Return the waiting tasks of a namespace in order, and its running tasks."""
    with tasks.argo_errors(namespace):
        known = tasks.list_all(kube, workflows(namespace), f"{tasks.IS_TASK},{_NOT_OVER}")
    if not known:
        tasks.check_namespace(kube, namespace)
    try:
        limit = read_settings(kube, namespace).task_limit
    except NotFoundError:
        limit = None
    return queue.read_queue(known, limit)


def reprioritize(kube: Kube, namespace: str, name: str, priority: int) -> Task:
    """Change the priority of a waiting task. Argo then sorts its queue again.

    Raises TaskEndedError or TaskStartedError for a task that no longer waits.
    """

    def move(found: Json, seen: Task) -> Json | None:
        _refuse_started(seen)
        if seen.priority == priority:
            return None
        return {
            "metadata": {"annotations": _annotations(found, priority)},
            "spec": {"priority": priority},
        }

    return tasks.amend_task(kube, namespace, name, move, doing="its priority was being changed")


def _refuse_started(seen: Task) -> None:
    where = f"task {seen.name} in namespace {seen.namespace}"
    if seen.ended:
        raise TaskEndedError(f"{where} has already ended: {seen.status}", seen.status)
    if seen.shutdown:
        raise TaskStartedError(f"{where} is being cancelled and is no longer in the queue")
    if seen.status != "pending":
        raise TaskStartedError(
            f"{where} is already running; a priority orders only waiting tasks",
            hint="To let another task start, cancel this one.",
        )


def _annotations(workflow: Json, priority: int) -> dict[str, str]:
    """Return the annotations that show the new priority in lists; none for a task submitted without them."""
    text = objects.annotations(workflow).get(ANNOTATION_COLUMNS)
    if not text:
        return {}
    try:
        columns = json.loads(text)
        return queue.list_annotations(
            images=columns["images"], priority=priority, batch_size=columns["batchSize"]
        )
    except (ValueError, KeyError, TypeError):  # changed by another client: nothing to keep
        return {}
