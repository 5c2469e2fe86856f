"""The CronWorkflow of a schedule. Each time it is due, Argo creates the Workflow of a task from it."""

from __future__ import annotations

from typing import Any

from hera.workflows import CronWorkflow, Parameter
from hera.workflows.models import WorkflowTemplateRef

from ips_flows.argo.task_workflow import task_annotations, task_labels, workflow_seconds
from ips_flows.core.constants import ANNOTATION_REQUEST_HASH, LABEL_SCHEDULE, TEMPLATE_PREWARM
from ips_flows.core.request.model import PrewarmRequest, canonical_json, request_hash
from ips_flows.core.task.schedule import Timing


def cron_workflow(request: PrewarmRequest, timing: Timing, *, name: str, namespace: str) -> dict[str, Any]:
    """Return the manifest to create. It contains the whole request as canonical JSON; Argo names each task."""
    workflow = CronWorkflow(
        name=name,
        namespace=namespace,
        labels={LABEL_SCHEDULE: "true"},
        annotations={ANNOTATION_REQUEST_HASH: request_hash(request)},
        schedules=[timing.expression],
        timezone=timing.timezone,
        concurrency_policy=timing.overlap.capitalize(),
        starting_deadline_seconds=timing.starting_deadline,
        successful_jobs_history_limit=timing.keep,
        failed_jobs_history_limit=timing.keep,
        cron_suspend=timing.suspended,
        workflow_template_ref=WorkflowTemplateRef(name=TEMPLATE_PREWARM),
        priority=request.priority,
        active_deadline_seconds=workflow_seconds(request),
        arguments=[Parameter(name="request", value=canonical_json(request))],
    )
    manifest: dict[str, Any] = workflow.to_dict()
    # Hera's `labels` are those of the CronWorkflow; its `workflow_metadata` is applied only when a Workflow starts.
    manifest["spec"]["workflowMetadata"] = {
        "labels": task_labels(request),
        "annotations": task_annotations(request),
    }
    return manifest
