"""Builders of objects as the task cache receives them, for the tests of the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_NOTICE, ANNOTATION_PLAN, ANNOTATION_VERDICT, LABEL_VERDICT
from ips_flows.core.notice.notice import Notice, Outcome
from ips_flows.core.pods.pull_job import task_labels
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import FinalStatus, Summary, Verdict, WaveSummary
from ips_flows.core.results.results import ImageResult, NodeResult
from tests.support import kube_objects

Json = dict[str, Any]
CREATED, STARTED, ENDED = "2026-01-01T00:00:00Z", "2026-01-01T00:00:40Z", "2026-01-01T00:05:40Z"


def live(
    uid: str,
    phase: str = "Running",
    *,
    priority: int | None = 5,
    started: str = STARTED,
    shutdown: str = "",
    nodes: Mapping[str, Any] | None = None,
    window: int = 0,
    waves: Sequence[int] = (),
    batch_size: str = "",
) -> Json:
    """Return a full Workflow without a verdict. With a window it has a plan."""
    annotations = {}
    if window:
        plan = kube_objects.summary().model_copy(
            update={
                "window": window,
                "waves": tuple(
                    WaveSummary(name=f"wave-{number}", nodes=count)
                    for number, count in enumerate(waves, start=1)
                ),
            }
        )
        annotations[ANNOTATION_PLAN] = plan.to_json()
    if batch_size:
        annotations["ips-flow.io/batch-size"] = batch_size
    status: Json = {"phase": phase, "nodes": dict(nodes or {})}
    if phase not in ("", "Pending"):
        status["startedAt"] = started
    return {
        "metadata": {
            "name": f"task-{uid}",
            "uid": uid,
            "creationTimestamp": CREATED,
            "annotations": annotations,
        },
        "spec": ({} if priority is None else {"priority": priority})
        | ({"shutdown": shutdown} if shutdown else {}),
        "status": status,
    }


def driver(
    node: str, phase: str = "Failed", code: str | None = "4", *, wave: str = "wave-1", attempt: int = 0
) -> Json:
    """Return the entry of a driver's pod in the Workflow's status."""
    return {
        node: {
            "id": node,
            "type": "Pod",
            "templateName": "drive",
            "phase": phase,
            "inputs": {
                "parameters": [{"name": "wave", "value": wave}, {"name": "attempt", "value": str(attempt)}]
            },
            **({"outputs": {"exitCode": code}} if code else {}),
        }
    }


def done(
    uid: str,
    status: FinalStatus = "completed",
    *,
    told: Notice | None = None,
    summary: Summary | None = None,
    started: str = STARTED,
    name: str = "",
) -> Json:
    """Return a Workflow with its verdict, metadata only."""
    verdict = Verdict(
        status=status,
        event_id=f"{uid}-{started}-{status}",
        at=ENDED,
        started_at=started,
        message="so it is",
        summary=summary,
        notify=told is not None,
    )
    annotations = {
        ANNOTATION_VERDICT: verdict.to_json(),
        ANNOTATION_PLAN: kube_objects.summary().to_json(),
        **({ANNOTATION_NOTICE: told.to_json()} if told else {}),
    }
    return {
        "metadata": {
            "name": name or f"task-{uid}",
            "uid": uid,
            "creationTimestamp": CREATED,
            "labels": {LABEL_VERDICT: status},
            "annotations": annotations,
        }
    }


def notice(outcome: Outcome = "delivered", rounds: int = 1, event: str = "task.completed") -> Notice:
    """Return the record of a webhook notification."""
    return Notice(id="an id", event=event, outcome=outcome, rounds=rounds, first=ENDED, last=ENDED)


def counts(**fields: Any) -> Summary:
    """Return the counts of a task with 10 nodes: 3 were warm, 2 failed, one of these never reached."""
    given: Json = {
        "eligible": 10,
        "completed": 8,
        "warm": 3,
        "failed": 2,
        "not_reached": 1,
        "skipped": {"NotReady": 4},
        "images": {"pulled": 5, "present": 4, "failed": 2, "skipped": 1},
        "failures": {"NotFound": 1, "Timeout": 1},
        "bytes": 5000,
        "seconds": 300.0,
    }
    return Summary(**{**given, **fields})


def job(uid: str, task: str, *, group: int = 0, attempt: int = 0) -> Json:
    """Return a pull Job, metadata only."""
    labels = task_labels("task", task, "pull", group, attempt)
    return {"metadata": {"name": f"job-{uid}", "uid": uid, "labels": labels, "creationTimestamp": CREATED}}


def stored(uid: str, task: str, name: str = "", *, made: str = CREATED) -> Json:
    """Return a ConfigMap of results, metadata only."""
    labels = task_labels("task", task, "results")
    return {"metadata": {"name": name or f"r-{uid}", "uid": uid, "labels": labels, "creationTimestamp": made}}


def node(at: int, *images: ImageResult) -> NodeResult:
    """Return the result of a node that ended this many seconds after the start."""
    return NodeResult(images or (pulled(),), clock.stamp(clock.parse(STARTED) + timedelta(seconds=at)))


def pulled(seconds: float | None = 1.5) -> ImageResult:
    """Return the result of a pulled image."""
    return ImageResult(Result.PULLED, seconds=seconds, bytes=1000)


def failed(reason: str = "NotFound") -> ImageResult:
    """Return the result of a failed image."""
    return ImageResult(Result.FAILED, reason, "no such thing")


def skipped(reason: str = "BreakerOpen") -> ImageResult:
    """Return the result of an image on a skipped node."""
    return ImageResult(Result.SKIPPED, reason)
