"""Trim objects to the fields that the server keeps: all fields of a task's JSON, none that grows with the task."""

from __future__ import annotations

import json

from ips_flows.core.k8s.objects import Json
from ips_flows.core.task.task import request_of
from ips_flows.core.task.workflow_status import trimmed

# A request may list ten thousand nodes, and a Workflow has the state of every step. Lists show neither of them.
_ASKED = (
    "images",
    "batchSize",
    "priority",
    "nodeSelector",
    "maxRetries",
    "retryStrategy",
    "retryDelay",
    "webhookUrl",
)


def trim_metadata(item: Json) -> Json:
    """Return an object without its managed fields."""
    return {**item, "metadata": {key: one for key, one in item["metadata"].items() if key != "managedFields"}}


def trim_workflow(workflow: Json) -> Json:
    """Return the fields of a task's Workflow that `read_task` needs to show the task in a list."""
    return {"metadata": trim_metadata(workflow)["metadata"], **trim_details(workflow)}


def trim_details(workflow: Json) -> Json:
    """Return the fields of a Workflow's `spec` and `status` that a task needs besides the metadata."""
    request = request_of(workflow)
    asked = json.dumps({key: request[key] for key in _ASKED if key in request}, separators=(",", ":"))
    return trimmed(workflow, asked)
