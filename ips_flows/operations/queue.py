"""The queue of a namespace: looking at it, and moving a task in it."""

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
    """Which tasks of a namespace wait, in order, and which ones run."""
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
    """Give a waiting task another priority; Argo sorts its queue anew when it sees that.

    Raises TaskEndedError or TaskStartedError for a task that waits no longer.
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
        raise TaskEndedError(f"{where} has ended already: {seen.status}", seen.status)
    if seen.shutdown:
        raise TaskStartedError(f"{where} is being cancelled, so it has no place in the queue")
    if seen.status != "pending":
        raise TaskStartedError(
            f"{where} runs already: a priority only orders tasks that wait",
            hint="To make place for another task, cancel this one.",
        )


def _annotations(workflow: Json, priority: int) -> dict[str, str]:
    """What shows the priority without the rest of the task, where it was submitted with that."""
    text = objects.annotations(workflow).get(ANNOTATION_COLUMNS)
    if not text:
        return {}
    try:
        columns = json.loads(text)
        return queue.list_annotations(
            images=columns["images"], priority=priority, batch_size=columns["batchSize"]
        )
    except (ValueError, KeyError, TypeError):  # someone else's hand; nothing of ours to keep
        return {}
