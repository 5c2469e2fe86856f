"""Examples of stored formats that the writes in `calls` do not show."""

from __future__ import annotations

from typing import Any, get_args

from ips_flows.argo.task_workflow import task_workflow
from ips_flows.core import stored_format
from ips_flows.core.constants import PREFIX, base_name
from ips_flows.core.forecast.issues import IssueKind
from ips_flows.core.notice.notice import Notice, Outcome, Webhook, event_name
from ips_flows.core.plan.node_labels import label_changes, read_sets
from ips_flows.core.plan.plan import GroupPlan, PlannedImage, PlannedNode
from ips_flows.core.pods.container_state import ENDED_CANCELLED, ENDED_SETTLED, ENDED_TIMEOUT
from ips_flows.core.pods.pull_job import (
    config_map,
    index_data,
    probe_job,
    pull_job,
    pull_pod,
    results_map,
    task_labels,
    workflow_owner,
)
from ips_flows.core.reconcile import finish_job
from ips_flows.core.request.choices import RetryStrategy, WebhookFormat
from ips_flows.core.request.fields import flag_of
from ips_flows.core.request.model import canonical_json, from_form, request_hash
from ips_flows.core.results import results
from ips_flows.core.results.reasons import FailureReason, Result, SkipReason
from ips_flows.core.results.records import FinalStatus, Mode
from ips_flows.core.results.results import Chunk
from ips_flows.core.task.schedule import OVERLAPS, Pause, ScheduleHistory
from ips_flows.core.task.workflow_status import STATUSES
from tests.contracts.examples import (
    APP,
    AT,
    FULL_REQUEST,
    NAMESPACE,
    NODES,
    STARTED,
    TASK,
    TOOL,
    UID,
    WORKER,
    cluster_node,
    ended_workflow,
    full_request,
    group_progress,
    small_request,
)
from tests.contracts.wording import unfolded, without_text

Json = dict[str, Any]

_FORM = {
    "images": f"{APP}\n{TOOL}",
    "batch-size": "10%",
    "node-selector": "disk=ssd,zone=a",
    "include-cordoned": "true",
    "waves": "1, 10%, 100%",
    "task-timeout": "1h",
    "webhook-url": "https://hooks.example.com/in",
}


def stored() -> Json:
    """Return the document: requests, objects, records in annotations, and the values of each enumeration."""
    document: Json = without_text(
        unfolded({"objects": _objects(), "records": _records(), "node labels": _node_labels()})
    )
    return {**document, "requests": _requests(), "words": words()}


def _requests() -> Json:
    """Return requests as canonical JSON, by which requests are compared."""
    full, small = full_request(), small_request()
    return {
        "every field": {"canonical": canonical_json(full), "hash": request_hash(full)},
        "one image": {"canonical": canonical_json(small), "hash": request_hash(small)},
        "of the Argo form": canonical_json(from_form(_FORM)),
        "flags": {field: flag_of(field) for field in FULL_REQUEST},
    }


def _objects() -> Json:
    owner = workflow_owner(TASK, UID)
    copy = finish_job.copy_of(ended_workflow("failed")["metadata"], AT)
    copied = {**copy, "metadata": {**copy["metadata"], "uid": UID}}
    modes: tuple[Mode, ...] = get_args(Mode)
    return {
        "Workflow of a retry": task_workflow(
            small_request(name="nightly-r1"), name="nightly-r1", namespace=NAMESPACE, retry_of=TASK
        ),
        "ConfigMap of a plan": config_map(
            base_name(TASK, UID),
            labels=task_labels(TASK, UID, "plan", 0),
            owner=owner,
            binary=_group_plan("volume").encode(),
        ),
        "ConfigMap of an index": config_map(
            base_name(TASK, UID),
            labels=task_labels(TASK, UID, "index", 0, 1),
            owner=owner,
            binary=index_data(["n1", "n2"]),
        ),
        "ConfigMap of results": results_map("nightly-r0", TASK, UID, Chunk(0, 1, NODES, STARTED)),
        **{f"Job of mode {mode}": _job(mode) for mode in modes},
        "pull pod without pull secrets": pull_pod(
            _group_plan("volume").model_copy(update={"pull_secrets": ()})
        ),
        "Job of the probe for image volumes": probe_job(APP, WORKER),
        "Job that finishes a task": finish_job.finish_job(TASK, UID, image="flow:1", number=2, owner=owner),
        "Job that finishes a deleted task": finish_job.finish_job(
            TASK, UID, image="flow:1", number=1, owner=finish_job.copy_owner(copied)
        )["metadata"],
        "ConfigMap of a deleted task": copy,
        "ConfigMap of a deleted task's notice": finish_job.notice_map(
            UID, _notice(), finish_job.copy_owner(copied)
        ),
    }


def _records() -> Json:
    """Return the records in annotations, each with every field."""
    return {
        "progress of an attempt": group_progress().to_json(),
        "verdicts": {
            status: ended_workflow(status)["metadata"]["annotations"] for status in get_args(FinalStatus)
        },
        "webhook": Webhook(url="https://hooks.example.com/in", secret_name="hook", format="slack").to_json(),  # noqa: S106
        "notice": _notice().to_json(),
        "pauses of a schedule": ScheduleHistory(
            since=STARTED, pauses=(Pause(since=STARTED, until=AT), Pause(since=AT))
        ).to_json(),
    }


def _node_labels() -> Json:
    """Return the label changes of a node that has one of two sets, and the label of a third one."""
    sets = read_sets({"web": f"- {APP}\n", "tools": f"images: [{TOOL}]\n", "-": "[]", "broken": "{"})
    node = cluster_node("n1", images=(APP,))
    node["metadata"]["labels"] |= {f"{PREFIX}gone": "1", f"{PREFIX}broken": "1"}
    return {"changes": label_changes(node, sets), "sets that can't be read": sorted(sets.problems)}


def words() -> Json:
    """Return the values of each enumeration, by its meaning."""
    return {
        "format": {"written": stored_format.FORMAT, "needs": stored_format.NEEDED},
        "result of an image": [one.value for one in Result],
        "failure": [one.value for one in FailureReason],
        "skip": [one.value for one in SkipReason],
        "status": list(STATUSES),
        "event": [event_name(status) for status in get_args(FinalStatus)],
        "mode": list(get_args(Mode)),
        "retry strategy": list(get_args(RetryStrategy)),
        "webhook format": list(get_args(WebhookFormat)),
        "outcome of a notice": list(get_args(Outcome)),
        "overlap of a schedule": list(OVERLAPS),
        "why a driver ended a pod": [ENDED_SETTLED, ENDED_TIMEOUT, ENDED_CANCELLED],
        "warning of a plan": sorted(kind.value for kind in IssueKind),
        "group of results": {"of filter": results.FILTER_GROUP, "of finish": results.FINISH_GROUP},
    }


def _notice() -> Notice:
    return Notice(
        id=f"{UID}-{STARTED}-failed",
        event="task.failed",
        outcome="undelivered",
        status=503,
        reason="HTTP 503",
        target="https://hooks.example.com",
        tries=4,
        rounds=2,
        first=STARTED,
        last=AT,
        not_before="2026-01-31T12:10:00Z",
    )


def _group_plan(mode: Mode) -> GroupPlan:
    return GroupPlan(
        group=0,
        wave="wave-1",
        mode=mode,
        window=2,
        deadline="2026-01-31T14:00:00Z",
        node_timeout=600,
        images=(
            PlannedImage(image=APP, pull_policy="IfNotPresent"),
            PlannedImage(image=TOOL, pull_policy="Always"),
        ),
        pull_secrets=("registry",),
        tolerations=({"operator": "Exists"},),
        worker_image=WORKER,
        losses_allowed=1,
        nodes=(PlannedNode(name="n1"), PlannedNode(name="n2", present=(1,))),
        eligible=4,
        order="rolling",
        max_retries=1,
    )


def _job(mode: Mode) -> Json:
    return pull_job(
        _group_plan(mode),
        "nightly-6f2c1d-g0-a1",
        labels=task_labels(TASK, UID, "pull", 0, 1),
        owner=workflow_owner(TASK, UID),
        nodes=2,
        seconds_left=3600,
        holder="driver-1",
        window=2,
    )
