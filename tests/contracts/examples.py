"""Values for the examples of the record: a fixed time, fixed uids, a request with all fields."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_PLAN, ANNOTATION_VERDICT, LABEL_TASK, LABEL_VERDICT
from ips_flows.core.request.model import PrewarmRequest, parse_json
from ips_flows.core.results.reasons import FailureReason, Result, SkipReason
from ips_flows.core.results.records import (
    AttemptSummary,
    FailureLine,
    FinalStatus,
    GroupProgress,
    PlanSummary,
    WaveSummary,
)
from ips_flows.core.results.results import ImageResult, NodeResult
from ips_flows.core.results.verdict import decide_verdict
from ips_flows.core.task import task

Json = dict[str, Any]

NAMESPACE = "warm"
TASK = "nightly"
UID = "6f2c1d3e-0000-4000-8000-000000000001"
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
STARTED, AT = "2026-01-31T11:55:00Z", "2026-01-31T12:00:00Z"
WORKER = "busybox:1.37-musl"
APP, TOOL = "registry.example.com/team/app:1.2", "registry.example.com/team/tool:2"
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64

PULLED = ImageResult(Result.PULLED, seconds=1.5, bytes=4_196_390, digest=DIGEST)
PRESENT = ImageResult(Result.PRESENT, digest=OTHER_DIGEST)
FAILED = ImageResult(Result.FAILED, FailureReason.NOT_FOUND.value, "no such tag", tries=2)
SKIPPED = ImageResult(Result.SKIPPED, SkipReason.CORDONED.value)
NODES = {
    "n1": NodeResult((PULLED, PRESENT), AT),
    "n2": NodeResult((PULLED, FAILED), AT),
    "n3": NodeResult((SKIPPED, SKIPPED), AT),
}

# Every field of a request, with a value other than its default.
FULL_REQUEST: Json = {
    "images": [APP, {"image": TOOL, "pullPolicy": "IfNotPresent"}],
    "batchSize": "50%",
    "priority": 7,
    "nodeSelector": {"disk": "ssd"},
    "nodes": ["n1", "n2", "n3", "n4"],
    "selector": "zone in (a,b),!gpu",
    "excludeNodes": ["n4"],
    "includeCordoned": True,
    "tolerations": [
        {"key": "dedicated", "operator": "Equal", "value": "build", "effect": "NoSchedule"},
        {"key": "lost", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30},
    ],
    "maxRetries": 2,
    "retryStrategy": "exponential",
    "retryDelay": 10,
    "webhookUrl": "https://hooks.example.com/in",
    "webhookSecretName": "hook",
    "webhookFormat": "cloudevents",
    "pullSecrets": ["registry"],
    "pullPolicy": "Always",
    "waves": [2, "100%"],
    "order": "batch",
    "maxFailedNodes": 1,
    "timeout": "1h",
    "nodeTimeout": "5m",
    "name": TASK,
    "labels": {"team": "web"},
}


def full_request() -> PrewarmRequest:
    """Return the request with every field."""
    return parse_json(json.dumps(FULL_REQUEST), "example")


def small_request(**fields: Any) -> PrewarmRequest:
    """Return a request of one image, with the fields given."""
    return parse_json(json.dumps({"images": [APP], **fields}), "example")


def plan_summary() -> PlanSummary:
    """Return the summary of a plan for the nodes n1 to n3."""
    return PlanSummary(
        mode="volume",
        mode_reason="every eligible node mounts image volumes",
        window=2,
        eligible=2,
        warm=0,
        to_do=2,
        skipped={SkipReason.CORDONED.value: 1},
        waves=(WaveSummary(name="wave-1", nodes=2),),
        images=(APP, TOOL),
        priority=7,
        losses_allowed=0,
        deadline="2026-01-31T14:00:00Z",
        planned_at=STARTED,
        max_retries=1,
        retry_strategy="exponential",
        retry_delay=10,
    )


def group_progress() -> GroupProgress:
    """Return the progress of a second attempt: one node is done, one pulls, one has failed."""
    return GroupProgress(
        group=0,
        attempt=1,
        wave="wave-1",
        total=3,
        done=1,
        pulling=1,
        failed=1,
        window=2,
        failures=(FailureLine(node="n2", image=TOOL, reason="NotFound", message="no such tag", at=AT),),
        classes={"NotFound": 1},
        started=STARTED,
        at=AT,
    )


def ended_workflow(status: FinalStatus) -> Json:
    """Return the Workflow of a task with this final status, as `finish` leaves it."""
    plan = plan_summary()
    nodes = dict(NODES)
    if status == "completed":
        other = ImageResult(Result.PULLED, seconds=2.5, bytes=9_000_000, digest=OTHER_DIGEST)
        nodes["n2"] = NodeResult((ImageResult(Result.PRESENT, digest=OTHER_DIGEST), other), AT)
    attempts = [
        AttemptSummary(
            group=0,
            wave="wave-1",
            attempt=number,
            nodes=2 - number,
            failed=1,
            failures={FailureReason.NOT_FOUND.value: 1},
            started_at=STARTED,
            ended_at=AT,
            next_delay=None if number else 10,
        )
        for number in range(2)
    ]
    verdict = decide_verdict(
        plan,
        nodes,
        stopped=status == "cancelled",
        error="",
        uid=UID,
        started_at=STARTED,
        at=AT,
        seconds=300.0,
        retries=attempts if status == "failed" else (),
        notify=True,
    )
    assert verdict.status == status
    return {
        "metadata": {
            "name": TASK,
            "namespace": NAMESPACE,
            "uid": UID,
            "creationTimestamp": STARTED,
            "labels": {LABEL_TASK: "true", LABEL_VERDICT: status},
            "annotations": {ANNOTATION_PLAN: plan.to_json(), ANNOTATION_VERDICT: verdict.to_json()},
        },
        "spec": {"priority": 7, "arguments": {"parameters": [{"name": "request", "value": _request_text()}]}},
        "status": {"phase": "Succeeded" if status == "completed" else "Failed", "startedAt": STARTED},
    }


def ended_task(status: FinalStatus) -> task.Task:
    """Return a task with this final status, with its results."""
    return task.read_task(ended_workflow(status), results=NODES)


def _request_text() -> str:
    return json.dumps({"images": [APP, TOOL], "nodeSelector": {"disk": "ssd"}, "priority": 7})


def later(seconds: float) -> datetime:
    """Return the time this many seconds after `NOW`."""
    return NOW + timedelta(seconds=seconds)


@contextlib.contextmanager
def standing_still() -> Iterator[None]:
    """Set the product's clock to `NOW`, and clear its environment."""
    with mock.patch.object(clock, "now", return_value=NOW), mock.patch.dict(os.environ, clear=True):
        yield


def cluster_node(name: str, *, zone: str = "a", images: tuple[str, ...] = (), cordoned: bool = False) -> Json:
    """Return a Node as the API returns it, which supports image volumes."""
    return {
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/os": "linux", "disk": "ssd", "zone": zone},
        },
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.3",
                "containerRuntimeVersion": "containerd://2.3.7",
                "operatingSystem": "linux",
            },
            "images": [
                {"names": [f"{image.rpartition(':')[0]}@{DIGEST}", image], "sizeBytes": 1000}
                for image in images
            ],
        },
    }
