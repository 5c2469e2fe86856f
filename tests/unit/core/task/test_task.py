"""A task computed from its Workflow, its Jobs and its results."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ips_flows.cli.output import tables
from ips_flows.core.notice.notice import Notice
from ips_flows.core.results.progress import Progress, WaveProgress, wave_progress
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import FailureLine, GroupProgress, PlanSummary, WaveSummary
from ips_flows.core.results.results import ImageResult, NodeResult
from ips_flows.core.results.verdict import decide_verdict
from ips_flows.core.task import task
from ips_flows.core.task.as_json import task_json

AT = "2026-01-31T12:00:00Z"
NOW = datetime(2026, 1, 31, 12, 2, tzinfo=UTC)
PULLED = NodeResult((ImageResult(Result.PULLED, seconds=1.5, bytes=4_000_000, digest="sha256:1"),), AT)
FAILED = NodeResult((ImageResult(Result.FAILED, reason="NotFound", message="manifest unknown", tries=2),), AT)


def plan(*, waves: tuple[int, ...] = (4,), warm: int = 0, window: int = 2, losses: int = 0) -> PlanSummary:
    to_do = sum(waves)
    return PlanSummary(
        mode="volume",
        mode_reason="",
        window=window,
        eligible=to_do + warm,
        warm=warm,
        to_do=to_do,
        skipped={"Cordoned": 1},
        waves=tuple(WaveSummary(name=f"wave-{i + 1}", nodes=nodes) for i, nodes in enumerate(waves)),
        images=("busybox:1",),
        priority=7,
        losses_allowed=losses,
        deadline=AT,
        planned_at=AT,
    )


def group(number: int = 0, attempt: int = 0, **counts: Any) -> GroupProgress:
    return GroupProgress(
        group=number, attempt=attempt, wave=f"wave-{number + 1}", total=counts.pop("total", 4), **counts
    )


def workflow(phase: str = "", **extra: Any) -> dict[str, Any]:
    request = {"images": ["busybox:1"], "priority": 7, "batchSize": "50%", "nodeSelector": {"disk": "ssd"}}
    made: dict[str, Any] = {
        "metadata": {
            "name": "nightly",
            "namespace": "warm",
            "uid": "u-1",
            "creationTimestamp": AT,
            "annotations": extra.pop("annotations", {}),
            "labels": {"ips-flow.io/task": "true"},
        },
        "spec": {
            "arguments": {"parameters": [{"name": "request", "value": json.dumps(request)}]},
            "priority": 7,
            **extra.pop("spec", {}),
        },
        "status": {"phase": phase, **extra} if phase else {},
    }
    return made


def job(progress: GroupProgress) -> dict[str, Any]:
    return {"metadata": {"name": "j", "annotations": {"ips-flow.io/progress": progress.to_json()}}}


def verdict_annotation(the_plan: PlanSummary, results: dict[str, NodeResult], **extra: Any) -> dict[str, str]:
    verdict = decide_verdict(
        the_plan,
        results,
        stopped=extra.get("stopped", False),
        error="",
        uid="u-1",
        started_at=AT,
        at="2026-01-31T12:01:00Z",
        seconds=60,
    )
    return {"ips-flow.io/plan": the_plan.to_json(), "ips-flow.io/verdict": verdict.to_json()}


@pytest.mark.parametrize(
    ("phase", "shutdown", "status"),
    [
        ("", "", "pending"),
        ("Pending", "", "pending"),
        ("Running", "", "running"),
        ("Succeeded", "", "completed"),
        ("Failed", "", "failed"),
        ("Error", "", "failed"),
        ("Succeeded", "Terminate", "cancelled"),
        ("Failed", "Stop", "cancelled"),
        ("Running", "Stop", "cancelled"),
    ],
)
def test_without_a_verdict_shutdown_decides_then_the_phase(phase: str, shutdown: str, status: str) -> None:
    """A task with a requested stop is cancelled in every phase."""
    spec = {"shutdown": shutdown} if shutdown else {}
    assert task.status_of(workflow(phase, spec=spec)) == status


def test_the_verdict_decides_before_all_else() -> None:
    """A task that had every image on its nodes when it was stopped is completed."""
    annotations = verdict_annotation(plan(waves=(1,)), {"a": PULLED}, stopped=True)
    seen = task.read_task(workflow("Failed", spec={"shutdown": "Stop"}, annotations=annotations))
    assert (seen.status, seen.ended, seen.finished_at) == ("completed", True, "2026-01-31T12:01:00Z")


@pytest.mark.parametrize(
    ("to_do", "window", "ended", "current", "total"),
    [
        (0, 10, 0, 0, 0),
        (1, 10, 0, 1, 1),
        (1, 10, 1, 1, 1),
        (25, 10, 0, 1, 3),
        (25, 10, 9, 1, 3),
        (25, 10, 10, 2, 3),
        (25, 10, 20, 3, 3),
        (25, 10, 25, 3, 3),
        (20, 10, 20, 2, 2),
    ],
)
def test_batches_are_windows_of_the_nodes_to_do(
    to_do: int, window: int, ended: int, current: int, total: int
) -> None:
    """TotalBatches = ⌈to do ÷ B⌉, currentBatch = min(totalBatches, ⌊done ÷ B⌋ + 1), both 0 for nothing to do."""
    progress = Progress(total=to_do, ended=ended, to_do=to_do, window=window)
    assert (progress.current_batch, progress.total_batches) == (current, total)


@pytest.mark.parametrize(
    ("completed", "total", "percentage"), [(0, 0, 0), (0, 3, 0), (1, 3, 33), (999, 1000, 99), (3, 3, 100)]
)
def test_the_percentage_is_100_only_when_all_is_done(completed: int, total: int, percentage: int) -> None:
    """The percentage is rounded down."""
    assert Progress(total=total, completed=completed).percentage == percentage


def test_a_warm_cluster_is_at_100_percent() -> None:
    """If no node needs a pull, the percentage is 100 and there are no batches."""
    seen = task.read_task(
        workflow("Running", annotations={"ips-flow.io/plan": plan(waves=(), warm=3).to_json()})
    )
    assert task_json(seen, NOW)["progress"] == {
        "totalNodes": 3,
        "completedNodes": 3,
        "failedNodes": 0,
        "currentBatch": 0,
        "totalBatches": 0,
        "percentage": 100,
    }


def test_attempts_of_a_group_add_up() -> None:
    """A later attempt has only the failed nodes: `done` adds up, `failed` and `pulling` are of the latest attempt."""
    groups = [
        group(0, 1, total=3, done=1, pulling=1, failed=1),
        group(0, 0, total=4, done=1, failed=3),
    ]
    assert wave_progress(plan(), groups) == (
        WaveProgress("wave-1", 4, done=2, pulling=1, failed=1, attempt=1),
    )


def test_a_wave_before_the_running_one_is_done() -> None:
    """Waves run one after another, so the Jobs of earlier waves may be deleted."""
    waves = wave_progress(plan(waves=(1, 4, 5)), [group(1, done=1, pulling=2)])
    assert [(wave.done, wave.pulling, wave.waiting) for wave in waves] == [(1, 0, 0), (1, 2, 1), (0, 0, 5)]


def test_unknown_waves_are_not_shown() -> None:
    """After the verdict the Jobs are deleted: waves are known only if every node is complete."""
    results = {"a": PULLED, "b": FAILED}
    failed = task.read_task(workflow("Failed", annotations=verdict_annotation(plan(waves=(1, 1)), results)))
    assert failed.waves == ()
    done = task.read_task(
        workflow("Succeeded", annotations=verdict_annotation(plan(waves=(1,)), {"a": PULLED}))
    )
    assert done.waves == (WaveProgress("wave-1", 1, done=1),)


def test_a_running_task_counts_warm_nodes_as_completed() -> None:
    """`completedNodes` includes warm nodes; `failedNodes` counts those of the latest attempts."""
    annotations = {"ips-flow.io/plan": plan(warm=3).to_json()}
    seen = task.read_task(
        workflow("Running", annotations=annotations), jobs=[job(group(done=2, failed=1, pulling=1))]
    )
    assert seen.progress == Progress(total=7, completed=5, failed=1, ended=3, to_do=4, window=2)


def test_an_ended_task_counts_nodes_that_were_never_reached_as_failed() -> None:
    """Without a verdict, every eligible node that is not complete counts as failed after the Workflow ended."""
    annotations = {"ips-flow.io/plan": plan(warm=3).to_json()}
    seen = task.read_task(workflow("Failed", annotations=annotations), jobs=[job(group(done=1, failed=1))])
    assert (seen.progress.completed, seen.progress.failed) == (4, 3)


def test_the_estimate_uses_the_current_speed() -> None:
    """A quarter of the nodes in two minutes means six more minutes. There is no estimate before the first node."""
    annotations = {"ips-flow.io/plan": plan(waves=(4,)).to_json()}
    one = task.read_task(workflow("Running", annotations=annotations), jobs=[job(group(done=1))])
    assert task.estimated_end(one, NOW) == NOW + timedelta(minutes=6)
    assert task.nodes_per_minute(one, NOW) == 0.5
    none = task.read_task(workflow("Running", annotations=annotations), jobs=[job(group(pulling=2))])
    assert task.estimated_end(none, NOW) is None


def test_failures_come_from_results_and_from_progress() -> None:
    """A node that has a result is not listed twice."""
    lines = tuple(
        FailureLine(node=node, image="busybox:1", reason="NotFound", message="said", at=AT) for node in "ab"
    )
    annotations = {"ips-flow.io/plan": plan().to_json()}
    seen = task.read_task(
        workflow("Running", annotations=annotations),
        jobs=[job(group(failed=2, failures=lines))],
        results={"a": FAILED},
    )
    assert [(line.node, line.message) for line in seen.failures] == [("a", "manifest unknown"), ("b", "said")]


@pytest.mark.parametrize(
    ("phase", "argo_message", "error", "message"),
    [
        ("Failed", "", "no node matches disk=ssd", "no node matches disk=ssd"),
        (
            "Error",
            'configmaps "ips-config" not found',
            "",
            'ConfigMap ips-config can\'t be read: run `ips-flow doctor` (configmaps "ips-config" not found)',
        ),
        (
            "Failed",
            "child 'nightly-1' failed",
            "",
            "the Workflow ended without a verdict: child 'nightly-1' failed; see `ips-flow logs`",
        ),
        ("Error", "", "", "the Workflow ended without a verdict: Error; see `ips-flow logs`"),
    ],
)
def test_a_failure_without_a_verdict_has_advice(
    phase: str, argo_message: str, error: str, message: str
) -> None:
    """The step's own error takes precedence. Argo's message is shown with advice."""
    annotations = {"ips-flow.io/error": error} if error else {}
    seen = task.read_task(workflow(phase, message=argo_message, annotations=annotations))
    document = task_json(seen, NOW)
    assert (document["status"], document["errorMessage"]) == ("failed", message)


def test_json_has_the_shape_of_the_contract() -> None:
    """`-o json` prints these fields. Times are RFC 3339; unknown values are null."""
    results = {"a": PULLED, "b": FAILED}
    the_plan = plan(waves=(2,), warm=0)
    seen = task.read_task(
        workflow("Failed", annotations=verdict_annotation(the_plan, results)), results=results
    )
    assert task_json(seen, NOW) == {
        "taskId": "nightly",
        "namespace": "warm",
        "uid": "u-1",
        "status": "failed",
        "priority": 7,
        "queuePosition": None,
        "images": ["busybox:1"],
        "batchSize": "50%",
        "window": 2,
        "nodeSelector": {"disk": "ssd"},
        "progress": {
            "totalNodes": 2,
            "completedNodes": 1,
            "failedNodes": 1,
            "currentBatch": 1,
            "totalBatches": 1,
            "percentage": 50,
        },
        "waves": [],
        "failedNodeDetails": [
            {
                "nodeName": "b",
                "image": "busybox:1",
                "reason": "NotFound",
                "message": "manifest unknown",
                "timestamp": AT,
            }
        ],
        "skippedNodes": {"Cordoned": 1},
        "mode": "volume",
        "maxRetries": 0,
        "retryCount": 0,
        "retryStrategy": "linear",
        "retryDelay": 30,
        "retryHistory": [],
        "nextRetryAt": None,
        "webhookUrl": None,
        "notice": None,
        "createdAt": AT,
        "startedAt": AT,
        "finishedAt": "2026-01-31T12:01:00Z",
        "estimatedCompletion": None,
        "message": "1 of 2 nodes lack images; NotFound ×1",
        "errorMessage": "1 of 2 nodes lack images; NotFound ×1",
        "summary": {
            "eligible": 2,
            "completed": 1,
            "warm": 0,
            "failed": 1,
            "notReached": 0,
            "skipped": {"Cordoned": 1},
            "images": {"pulled": 1, "present": 0, "failed": 1, "skipped": 0},
            "failures": {"NotFound": 1},
            "bytes": 4_000_000,
            "seconds": 60.0,
        },
        "drift": {},
        "nodeStatuses": {
            "a": {
                "busybox:1": {
                    "result": "pulled",
                    "reason": None,
                    "seconds": 1.5,
                    "bytes": 4_000_000,
                    "digest": "sha256:1",
                }
            },
            "b": {
                "busybox:1": {
                    "result": "failed",
                    "reason": "NotFound",
                    "seconds": None,
                    "bytes": None,
                    "digest": None,
                }
            },
        },
    }


def test_lists_are_brief() -> None:
    """A list has no node statuses, and at most 20 failures per task."""
    results = {f"n{number:02}": FAILED for number in range(30)}
    seen = task.read_task(
        workflow("Failed", annotations=verdict_annotation(plan(waves=(30,)), results)), results=results
    )
    brief = task_json(seen, NOW, brief=True)
    assert "nodeStatuses" not in brief
    assert len(brief["failedNodeDetails"]) == 20
    assert len(task_json(seen, NOW)["failedNodeDetails"]) == 30


def test_a_task_of_the_ui_form_is_read_from_its_plain_arguments() -> None:
    """If the argument `request` is empty, the plain arguments are used."""
    made = workflow("Running")
    made["spec"]["arguments"]["parameters"] = [
        {"name": "request", "value": ""},
        {"name": "images", "value": "busybox:1\nredis:8\n"},
        {"name": "batch-size", "value": "3"},
    ]
    seen = task.read_task(made)
    assert (seen.images, seen.request["batchSize"]) == (("busybox:1", "redis:8"), 3)


@pytest.mark.parametrize(
    ("spec", "annotations", "priority"),
    [
        ({"priority": 9}, {"columns": {"priority": 3}}, 9),
        ({}, {"columns": {"priority": 3}}, 0),
        (None, {"columns": {"images": 1, "priority": 3}}, 3),
        (None, {"columns": {"images": 1, "priority": 3}, "plan": json.loads(plan().to_json())}, 7),
        (None, {}, 5),
    ],
)
def test_the_priority_is_the_current_one(
    spec: dict[str, Any] | None, annotations: dict[str, Any], priority: int
) -> None:
    """It is `spec.priority`, or 0 if that is missing. Metadata has only the planned or submitted priority."""
    made = workflow("Running")
    made["metadata"]["annotations"] = {
        f"ips-flow.io/{key}": json.dumps(value) for key, value in annotations.items()
    }
    made.pop("spec")
    if spec is None:
        made.pop("status")
    else:
        made["spec"] = spec
    assert task.read_task(made).priority == priority


@pytest.mark.parametrize("broken", ["{", '{"status": 1}', "[]"])
def test_a_broken_annotation_is_none(broken: str) -> None:
    """An invalid annotation does not break a list."""
    seen = task.read_task(
        workflow("Running", annotations={"ips-flow.io/plan": broken, "ips-flow.io/verdict": broken})
    )
    assert (seen.status, seen.plan, seen.verdict) == ("running", None, None)


def owing(**record: Any) -> task.Task:
    """Return a completed task that requires a notification, with the record of its delivery."""
    the_plan, results = plan(waves=(1,)), {"a": PULLED}
    verdict = decide_verdict(
        the_plan, results, stopped=False, error="", uid="u-1", started_at=AT, at=AT, seconds=1, notify=True
    )
    annotations = {"ips-flow.io/verdict": verdict.to_json()}
    if record:
        made = Notice(id=verdict.event_id, event="task.completed", first=AT, last=AT, **record)
        annotations["ips-flow.io/notice"] = made.to_json()
    return task.read_task(workflow("Succeeded", annotations=annotations))


def test_the_notice_of_a_task() -> None:
    """The JSON has the outcome of the notification; `pending` before the first try."""
    pending = {"outcome": "pending", "reason": None, "tries": 0, "lastAt": None}
    assert task_json(owing(), NOW)["notice"] == pending
    seen = owing(
        outcome="undelivered", status=502, reason="HTTP 502", target="https://hooks.example", tries=4
    )
    undelivered = {"outcome": "undelivered", "reason": "HTTP 502", "tries": 4, "lastAt": AT}
    assert task_json(seen, NOW)["notice"] == undelivered
    assert task_json(seen, NOW, brief=True)["notice"] == undelivered


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({}, "webhook notification: not sent yet"),
        (
            {"outcome": "delivered", "status": 204, "target": "https://hooks.example", "tries": 1},
            f"webhook notification: delivered to https://hooks.example after 1 try, last at {AT}",
        ),
        (
            {"outcome": "undelivered", "reason": "Secret hook of namespace warm does not exist"},
            f"webhook notification: undelivered after 0 tries, last at {AT}: Secret hook of namespace warm does not exist",
        ),
        (
            {"outcome": "refused", "reason": "\x1b[2J", "target": "http://x"},
            f"webhook notification: refused to http://x after 0 tries, last at {AT}: \\x1b[2J",
        ),
    ],
)
def test_the_notice_as_a_line(record: dict[str, Any], line: str) -> None:
    """`get` shows the notification in one line."""
    assert tables.notice_line(owing(**record)) == line


def test_a_task_without_a_required_notification_shows_none() -> None:
    """The JSON has null, and there is no line."""
    seen = task.read_task(workflow("Running"))
    assert (task_json(seen, NOW)["notice"], tables.notice_line(seen)) == (None, "")
