"""The Workflow of one task. It refers to the installed template and contains the request."""

from __future__ import annotations

from typing import Any

from hera.workflows import Parameter, Workflow
from hera.workflows.models import WorkflowTemplateRef

from ips_flows.core.constants import (
    ANNOTATION_REQUEST_HASH,
    ANNOTATION_RETRY_OF,
    ANNOTATION_TITLE,
    ANNOTATION_WEBHOOK,
    LABEL_TASK,
    TEMPLATE_PREWARM,
)
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.notice.notice import Webhook
from ips_flows.core.request.model import PrewarmRequest, canonical_json, request_hash
from ips_flows.core.task.queue import list_annotations

# A Workflow may run this much longer than its `timeout`. Argo's deadline ends it if no step does.
_SLACK_SECONDS = 600


def task_workflow(
    request: PrewarmRequest, *, name: str, namespace: str, retry_of: str = ""
) -> dict[str, Any]:
    """Return the manifest to create. It contains the whole request as canonical JSON."""
    workflow = Workflow(
        name=name,
        namespace=namespace,
        labels=task_labels(request),
        annotations={
            **task_annotations(request),
            **({ANNOTATION_RETRY_OF: retry_of} if retry_of else {}),
        },
        workflow_template_ref=WorkflowTemplateRef(name=TEMPLATE_PREWARM),
        priority=request.priority,
        active_deadline_seconds=workflow_seconds(request),
        arguments=[Parameter(name="request", value=canonical_json(request))],
    )
    manifest: dict[str, Any] = workflow.to_dict()
    return manifest


def task_labels(request: PrewarmRequest) -> dict[str, str]:
    """Return the labels of a task's Workflow."""
    return {**request.labels, LABEL_TASK: "true"}


def task_annotations(request: PrewarmRequest) -> dict[str, str]:
    """Return the annotations of a task's Workflow that come from its request."""
    webhook = Webhook.of_request(request)
    return {
        ANNOTATION_REQUEST_HASH: request_hash(request),
        ANNOTATION_TITLE: _title(request),
        **({ANNOTATION_WEBHOOK: webhook.to_json()} if webhook else {}),
        **list_annotations(
            images=len(request.images), priority=request.priority, batch_size=request.batch_size
        ),
    }


def workflow_seconds(request: PrewarmRequest) -> int:
    """Return the maximum run time of a task's Workflow, in seconds."""
    return request.timeout_seconds + _SLACK_SECONDS


def _title(request: PrewarmRequest) -> str:
    """Return the title in the Argo UI. The UI's list shows about 24 characters, so the image's short name comes first."""
    first = parse_reference(request.images[0].image)
    short = first.repository.rpartition("/")[2] + (f":{first.tag}" if first.tag else "")
    more = len(request.images) - 1
    return f"{short} +{more}" if more else short
