"""Writes the verdict of a task, once."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_ERROR,
    ANNOTATION_PLAN,
    ANNOTATION_VERDICT,
    ANNOTATION_WEBHOOK,
    LABEL_VERDICT,
)
from ips_flows.core.errors import ConflictError
from ips_flows.core.k8s import objects
from ips_flows.core.results.attempts import recorded_attempts, retry_history
from ips_flows.core.results.records import PlanSummary, Verdict
from ips_flows.core.results.results import Chunk, fold
from ips_flows.core.results.verdict import decide_verdict, status_line
from ips_flows.core.task.workflow_status import is_stopped, started_at
from steps.context import StepContext, say, webhook_of

_PATIENCE_SECONDS = 120.0


def write_verdict(
    context: StepContext,
    chunks: Sequence[Chunk],
    waves: Sequence[Collection[str]] = (),
    *,
    patience: float = _PATIENCE_SECONDS,
) -> Verdict:
    """Decide the verdict of a task and write it. If it already has a verdict, return that one.

    `waves` are the nodes of each wave. The patch carries the resourceVersion at which there was no verdict;
    conflicts are retried for `patience` seconds.
    """
    results = fold(chunks)
    attempts = recorded_attempts(chunks)
    end = time.monotonic() + patience
    while True:
        workflow = context.workflow()
        annotations = objects.annotations(workflow)
        if ANNOTATION_VERDICT in annotations:
            return Verdict.from_json(annotations[ANNOTATION_VERDICT])
        plan = PlanSummary.from_json(annotations[ANNOTATION_PLAN]) if ANNOTATION_PLAN in annotations else None
        started = started_at(workflow)
        at = clock.stamp(clock.now())
        webhook = webhook_of(workflow)
        verdict = decide_verdict(
            plan,
            results,
            stopped=is_stopped(workflow),
            error=annotations.get(ANNOTATION_ERROR, ""),
            uid=context.uid,
            started_at=started,
            at=at,
            seconds=clock.between(started, at),
            waves=waves,
            retries=retry_history(plan, attempts, ended=True),
            notify=webhook is not None,
        )
        # The webhook too: if the task is deleted before its notification, only its metadata is left.
        webhook_annotation = {ANNOTATION_WEBHOOK: webhook.to_json()} if webhook else {}
        metadata = {
            "resourceVersion": workflow["metadata"]["resourceVersion"],
            "annotations": {ANNOTATION_VERDICT: verdict.to_json(), **webhook_annotation},
            "labels": {LABEL_VERDICT: verdict.status},
        }
        try:
            context.kube.patch(context.path, {"metadata": metadata})
        except ConflictError:
            # Argo's controller has changed the Workflow in between.
            if time.monotonic() > end:
                raise
            continue
        say(status_line(verdict.status, verdict.message))
        return verdict
