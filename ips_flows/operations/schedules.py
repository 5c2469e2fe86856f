"""Creates, reads, suspends, resumes, runs and deletes schedules."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_LATELY, LABEL_CRON_WORKFLOW, LABEL_SCHEDULE
from ips_flows.core.errors import ConflictError, NameTakenError, NotFoundError, UsageError
from ips_flows.core.k8s.objects import Json
from ips_flows.core.task import schedule, task
from ips_flows.core.task.schedule import Schedule, ScheduleHistory, Timing
from ips_flows.kube.client import Kube, workflows
from ips_flows.kube.patch import MAX_TRIES, retry_on_conflict
from ips_flows.operations import tasks
from ips_flows.operations.submit import Submission, check_installed

if TYPE_CHECKING:
    from ips_flows.core.request.model import PrewarmRequest

_KIND = "cronworkflows"
_IS_SCHEDULE = f"{LABEL_SCHEDULE}=true"


def create_schedule(
    kube: Kube, namespace: str, name: str, request: PrewarmRequest, timing: Timing, *, replace: bool = False
) -> tuple[Schedule, str]:
    """Create a schedule. Returns it with the result: `created`, `unchanged` or `replaced`.

    Raises NameTakenError if another schedule has the name and `replace` is not set, and UsageError if the request
    has a name.
    """
    from ips_flows.argo.cron_workflow import cron_workflow  # noqa: PLC0415  (hera takes 0.7 s)

    if request.name:
        raise UsageError(
            f"the request has the name {request.name}, but a schedule names its tasks itself",
            hint=f"Remove `name` from the request. The tasks are named {name}-<time>.",
        )
    check_installed(kube, namespace)
    manifest = cron_workflow(request, timing, name=name, namespace=namespace)
    manifest["metadata"]["annotations"][ANNOTATION_LATELY] = _first_history(timing).to_json()
    try:
        return _schedule_with_runs(kube, kube.create(workflows(namespace, kind=_KIND), manifest)), "created"
    except ConflictError as error:
        if error.reason != "AlreadyExists":
            raise
    found = _get_cron_workflow(kube, namespace, name)
    if {**found["spec"], "suspend": None} == {**manifest["spec"], "suspend": None}:
        return _schedule_with_runs(kube, found), "unchanged"
    if not replace:
        raise NameTakenError(
            f"schedule {name} in namespace {namespace} already exists, with another request or another time",
            hint="Use --replace to replace it.",
        )

    def renew(before: Json) -> Json:
        # A merge patch removes a field only if it sets the field to null.
        gone = dict.fromkeys(before["spec"].keys() - manifest["spec"].keys())
        return {
            "metadata": {"annotations": manifest["metadata"]["annotations"]},
            "spec": {**gone, **manifest["spec"]},
        }

    return _schedule_with_runs(kube, _amend_schedule(kube, namespace, name, renew)), "replaced"


def get_schedule(kube: Kube, namespace: str, name: str) -> Schedule:
    """Return one schedule with its runs."""
    return _schedule_with_runs(kube, _get_cron_workflow(kube, namespace, name))


def list_schedules(kube: Kube, namespace: str) -> list[Schedule]:
    """Return the schedules of a namespace (of all if it is empty), sorted by namespace and name."""
    with tasks.argo_errors(namespace):
        found = tasks.list_all(kube, workflows(namespace, kind=_KIND), _IS_SCHEDULE)
    if not found and namespace:
        tasks.check_namespace(kube, namespace)
    made = _list_runs(kube, namespace) if found else []
    now = clock.now()
    return sorted(
        (schedule.read_schedule(one, made, now) for one in found),
        key=lambda one: (one.namespace, one.name),
    )


def suspend_schedule(kube: Kube, namespace: str, name: str) -> Schedule:
    """Suspend a schedule: it creates no tasks until it is resumed. A running task continues."""
    return _set_suspended(kube, namespace, name, suspended=True)


def resume_schedule(kube: Kube, namespace: str, name: str) -> Schedule:
    """Resume a schedule, so that it creates tasks again."""
    return _set_suspended(kube, namespace, name, suspended=False)


def run_schedule(kube: Kube, namespace: str, name: str) -> Submission:
    """Create a task of a schedule now, even if the schedule is suspended or another of its tasks runs."""
    check_installed(kube, namespace)
    found = _get_cron_workflow(kube, namespace, name)
    meta = found["spec"].get("workflowMetadata") or {}
    owner = {
        "apiVersion": found["apiVersion"],
        "kind": "CronWorkflow",
        "name": name,
        "uid": found["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    manifest = {
        "apiVersion": found["apiVersion"],
        "kind": "Workflow",
        "metadata": {
            "name": f"{name}-{int(time.time())}",
            "labels": {**(meta.get("labels") or {}), LABEL_CRON_WORKFLOW: name},
            "annotations": meta.get("annotations") or {},
            "ownerReferences": [owner],  # as Argo sets it, so that Argo's history limits count this task
        },
        "spec": found["spec"]["workflowSpec"],
    }
    return Submission(task.read_task(kube.create(workflows(namespace), manifest)), created=True)


def delete_schedule(kube: Kube, namespace: str, name: str) -> None:
    """Delete a schedule. Its tasks stay, and a running task continues."""
    found = _get_cron_workflow(kube, namespace, name)
    path = workflows(namespace, name, _KIND)
    if not kube.delete(path, propagation="Orphan", uid=found["metadata"]["uid"]):
        raise _not_found(namespace, name)


def _set_suspended(kube: Kube, namespace: str, name: str, *, suspended: bool) -> Schedule:
    def change(found: Json) -> Json | None:
        if bool(found["spec"].get("suspend")) is suspended:
            return None
        lately, at = schedule.read_history(found), clock.now()
        lately = lately.suspended(at) if suspended else lately.resumed(at)
        return {
            "metadata": {"annotations": {ANNOTATION_LATELY: lately.to_json()}},
            "spec": {"suspend": suspended},
        }

    return _schedule_with_runs(kube, _amend_schedule(kube, namespace, name, change))


def _amend_schedule(kube: Kube, namespace: str, name: str, change: Callable[[Json], Json | None]) -> Json:
    """Patch a CronWorkflow, and try again on a conflict. `change` returns None to leave it as it is."""
    return retry_on_conflict(
        kube,
        workflows(namespace, name, _KIND),
        lambda: _get_cron_workflow(kube, namespace, name),
        change,
        missing=_not_found(namespace, name),
        conflict=f"schedule {name} changed {MAX_TRIES} times while it was being updated",
    )


def _get_cron_workflow(kube: Kube, namespace: str, name: str) -> Json:
    foreign = NotFoundError(
        f"CronWorkflow {name} in namespace {namespace} is not a schedule of IPS Flow",
        hint=f"`ips-flow schedule list -n {namespace}` shows the schedules.",
        status=404,
    )
    path, missing = workflows(namespace, name, _KIND), _not_found(namespace, name)
    return tasks.get_labelled(kube, namespace, path, label=LABEL_SCHEDULE, missing=missing, foreign=foreign)


def _not_found(namespace: str, name: str) -> NotFoundError:
    return NotFoundError(
        f"schedule {name} does not exist in namespace {namespace}",
        hint=f"`ips-flow schedule list -n {namespace}` shows the schedules.",
        status=404,
        reason="NotFound",
    )


def _schedule_with_runs(kube: Kube, found: Json) -> Schedule:
    namespace = found["metadata"]["namespace"]
    return schedule.read_schedule(found, _list_runs(kube, namespace, found["metadata"]["name"]), clock.now())


def _list_runs(kube: Kube, namespace: str, name: str = "") -> list[Json]:
    """Return the metadata of the tasks that schedules created."""
    label = f"{LABEL_CRON_WORKFLOW}={name}" if name else LABEL_CRON_WORKFLOW
    return tasks.list_all(kube, workflows(namespace), f"{tasks.IS_TASK},{label}", metadata_only=True)


def _first_history(timing: Timing) -> ScheduleHistory:
    begun = ScheduleHistory(since=clock.stamp(clock.now()))
    return begun.suspended(clock.now()) if timing.suspended else begun
