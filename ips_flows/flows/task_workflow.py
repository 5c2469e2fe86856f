"""The Workflow of one task: it refers to the installed template and carries the request."""

from __future__ import annotations

from typing import Any

from hera.workflows import Parameter, Workflow
from hera.workflows.models import WorkflowTemplateRef

from ips_flows.conventions import (
    ANNOTATION_REQUEST_HASH,
    ANNOTATION_RETRY_OF,
    ANNOTATION_TITLE,
    ANNOTATION_WEBHOOK,
    LABEL_TASK,
    TEMPLATE_PREWARM,
)
from ips_flows.images import parse_reference
from ips_flows.notice import Webhook
from ips_flows.request import PrewarmRequest, canonical_json, request_hash
from ips_flows.turns import shown

# How much longer than its `timeout` a Workflow may live: a net, when no step ends it.
_SLACK_SECONDS = 600


def task_workflow(
    request: PrewarmRequest, *, name: str, namespace: str, retry_of: str = ""
) -> dict[str, Any]:
    """The manifest to create. The request goes in whole, as canonical JSON."""
    webhook = Webhook.of(request)
    workflow = Workflow(
        name=name,
        namespace=namespace,
        labels={**request.labels, LABEL_TASK: "true"},
        annotations={
            ANNOTATION_REQUEST_HASH: request_hash(request),
            ANNOTATION_TITLE: _title(request),
            **({ANNOTATION_RETRY_OF: retry_of} if retry_of else {}),
            **({ANNOTATION_WEBHOOK: webhook.to_json()} if webhook else {}),
            **shown(images=len(request.images), priority=request.priority, batch_size=request.batch_size),
        },
        workflow_template_ref=WorkflowTemplateRef(name=TEMPLATE_PREWARM),
        priority=request.priority,
        active_deadline_seconds=request.timeout_seconds + _SLACK_SECONDS,
        arguments=[Parameter(name="request", value=canonical_json(request))],
    )
    manifest: dict[str, Any] = workflow.to_dict()
    return manifest


def _title(request: PrewarmRequest) -> str:
    """The list in the Argo UI shows about 24 characters, so the image's short name comes first."""
    first = parse_reference(request.images[0].image)
    short = first.repository.rpartition("/")[2] + (f":{first.tag}" if first.tag else "")
    more = len(request.images) - 1
    return f"{short} +{more}" if more else short
