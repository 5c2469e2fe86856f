"""Reads the logs of a task's steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ips_flows.core.constants import LABEL_STEP
from ips_flows.core.errors import InvalidError, NotFoundError, UnavailableError
from ips_flows.core.k8s.objects import Json
from ips_flows.core.task import workflow_status
from ips_flows.kube.client import Kube, core, workflows
from ips_flows.kube.list_watch import Informer, ListWatch, WatchError

# Argo's executor writes its own lines into the main container's log.
_EXECUTOR = re.compile(r"time=\S+ level=\w+ msg=.* argo=true\b")
LABEL_OF_WORKFLOW = "workflows.argoproj.io/workflow"
CONTAINER = "main"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log line, and the step that wrote it."""

    step: str
    text: str


def stored_lines(kube: Kube, namespace: str, name: str) -> Iterator[LogLine]:
    """Yield the log lines of the step pods that still exist, oldest pod first."""
    pods = kube.list(core(namespace, "pods"), labels=_task_selector(name))
    for pod in sorted(pods, key=_creation_order):
        if _has_started(pod):
            yield from _lines(kube, pod, follow=False)


def follow_lines(kube: Kube, namespace: str, name: str, narrate: Callable[[str], None]) -> Iterator[LogLine]:
    """Yield the log lines of the step pods until the task's Workflow has ended and all lines are read.

    Steps run one after another, so their logs are read one after another.
    """
    read: set[str] = set()
    with Informer(kube) as informer:
        informer.add(
            {
                "pods": ListWatch(core(namespace, "pods"), labels=_task_selector(name)),
                "workflow": ListWatch(workflows(namespace), fields=f"metadata.name={name}"),
            }
        )
        pods, mine = informer.stores["pods"], informer.stores["workflow"]
        while True:
            got = informer.next()
            if got is not None and isinstance(got[1], WatchError):
                narrate(f"{got[1].error.message}; trying again")
            if not (pods.synced and mine.synced):
                continue
            ended = all(workflow_status.is_finished(one) for one in mine.objects.values())
            # The last event of the last pod may arrive after that of the Workflow.
            there = (
                kube.list(core(namespace, "pods"), labels=_task_selector(name))
                if ended
                else pods.objects.values()
            )
            for pod in sorted(there, key=_creation_order):
                uid = pod["metadata"]["uid"]
                if uid not in read and _has_started(pod):
                    read.add(uid)
                    yield from _lines_to_end(kube, pod, narrate)
            if ended:
                return


def has_step_pods(kube: Kube, namespace: str, name: str) -> bool:
    """Return whether any step pod of a task still exists."""
    return any(
        True for _ in kube.list(core(namespace, "pods"), labels=_task_selector(name), metadata_only=True)
    )


def step_of(pod: Json) -> str:
    """Return the step that a pod runs."""
    return str(pod["metadata"]["labels"].get(LABEL_STEP) or pod["metadata"]["name"])


def _task_selector(name: str) -> str:
    return f"{LABEL_OF_WORKFLOW}={name}"


def _creation_order(pod: Json) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]


def _has_started(pod: Json) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return any(
        one["name"] == CONTAINER and {"running", "terminated"} & set(one.get("state") or {})
        for one in statuses
    )


def _lines_to_end(kube: Kube, pod: Json, narrate: Callable[[str], None]) -> Iterator[LogLine]:
    """Yield the lines of a pod until it ends. A broken stream is opened once more, and known lines are skipped."""
    count = 0
    try:
        for line in _lines(kube, pod, follow=True):
            count += 1
            yield line
    except UnavailableError as error:
        narrate(f"{error.message}; trying again")
    else:
        return
    for index, line in enumerate(_lines(kube, pod, follow=True)):
        if index >= count:
            yield line


def _lines(kube: Kube, pod: Json, *, follow: bool) -> Iterator[LogLine]:
    """Yield the lines of a pod's step; none if the pod is gone or its container has no log."""
    metadata = pod["metadata"]
    step = step_of(pod)
    try:
        for text in kube.log(metadata["namespace"], metadata["name"], CONTAINER, follow=follow):
            if not _EXECUTOR.match(text):
                yield LogLine(step, text)
    except (NotFoundError, InvalidError):
        return
