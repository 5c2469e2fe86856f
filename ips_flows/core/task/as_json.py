"""The JSON of a task, a contract of the command line (`-o json`) and of the REST API."""

from __future__ import annotations

from datetime import datetime

from ips_flows.core import clock
from ips_flows.core.k8s.objects import Json
from ips_flows.core.results.records import AttemptSummary
from ips_flows.core.task.task import Task, estimated_end

BRIEF_FAILURES = 20


def task_json(task: Task, now: datetime, *, brief: bool = False) -> Json:
    """Return the task as JSON. `brief` is for lists: no node statuses, at most 20 failures."""
    request, progress = task.request, task.progress
    eta = estimated_end(task, now)
    failures = task.failures[:BRIEF_FAILURES] if brief else task.failures
    document: Json = {
        "taskId": task.name,
        "namespace": task.namespace,
        "uid": task.uid,
        "status": task.status,
        "priority": task.priority,
        "queuePosition": task.queue_position,
        "images": list(task.images),
        "batchSize": request.get("batchSize", 10),
        "window": task.window,
        "nodeSelector": request.get("nodeSelector") or {},
        "progress": {
            "totalNodes": progress.total,
            "completedNodes": progress.completed,
            "failedNodes": progress.failed,
            "currentBatch": progress.current_batch,
            "totalBatches": progress.total_batches,
            "percentage": 100 if task.plan and not progress.to_do else progress.percentage,
        },
        "waves": [
            {
                "name": wave.name,
                "nodes": wave.nodes,
                "completedNodes": wave.done,
                "pullingNodes": wave.pulling,
                "failedNodes": wave.failed,
            }
            for wave in task.waves
        ],
        "failedNodeDetails": [
            {
                "nodeName": line.node,
                "image": line.image,
                "reason": line.reason,
                "message": line.message,
                "timestamp": line.at,
            }
            for line in failures
        ],
        "skippedNodes": task.skipped,
        "mode": task.plan.mode if task.plan else None,
        "maxRetries": request.get("maxRetries", 0),
        "retryCount": task.retry_count,
        "retryStrategy": request.get("retryStrategy", "linear"),
        "retryDelay": request.get("retryDelay", 30),
        "retryHistory": [_attempt(one) for one in task.attempts],
        "nextRetryAt": clock.stamp(task.retrying.at) if task.retrying else None,
        "webhookUrl": request.get("webhookUrl"),
        "notice": _notice(task),
        "createdAt": task.created_at or None,
        "startedAt": task.started_at or None,
        "finishedAt": task.finished_at or None,
        "estimatedCompletion": clock.stamp(eta) if eta else None,
        "message": task.message or None,
        "errorMessage": (task.message or None) if task.status in ("failed", "cancelled") else None,
        "summary": task.verdict.summary.model_dump(by_alias=True)
        if task.verdict and task.verdict.summary
        else None,
    }
    if not brief:
        document["drift"] = (
            {name: list(seen) for name, seen in task.verdict.drift.items()} if task.verdict else {}
        )
        document["nodeStatuses"] = _node_statuses(task)
    return document


def _notice(task: Task) -> Json | None:
    """Return the delivery of the webhook notification: null if none is required, `pending` before the first try."""
    if task.verdict is None or not task.verdict.notify:
        return None
    known = task.notice
    return {
        "outcome": known.outcome if known else "pending",
        "reason": (known.reason or None) if known else None,
        "tries": known.tries if known else 0,
        "lastAt": known.last if known else None,
    }


def _attempt(attempt: AttemptSummary) -> Json:
    return {
        "wave": attempt.wave,
        "attempt": attempt.attempt + 1,
        "startedAt": attempt.started_at or None,
        "finishedAt": attempt.ended_at or None,
        "nodes": attempt.nodes,
        "failedNodes": attempt.failed,
        "failures": attempt.failures,
        "nextDelaySeconds": attempt.next_delay,
    }


def _node_statuses(task: Task) -> Json:
    return {
        node: {
            name: {
                "result": image.result.value,
                "reason": image.reason or None,
                "seconds": image.seconds,
                "bytes": image.bytes,
                "digest": image.digest,
            }
            for name, image in zip(task.images, result.images, strict=False)
        }
        for node, result in sorted((task.results or {}).items())
    }
