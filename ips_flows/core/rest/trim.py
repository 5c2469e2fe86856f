"""What of an object the server keeps: all that a task's JSON is made of, and nothing that grows with the task."""

from __future__ import annotations

import json

from ips_flows.core.k8s.objects import Json
from ips_flows.core.task.task import request_of
from ips_flows.core.task.workflow_status import trimmed

# A request may name ten thousand nodes, and a Workflow holds its whole course: neither is shown.
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
    """An object without the record of who wrote which of its fields."""
    return {**item, "metadata": {key: one for key, one in item["metadata"].items() if key != "managedFields"}}


def trim_workflow(workflow: Json) -> Json:
    """A task's Workflow as `read_task` needs it to show the task in a list."""
    return {"metadata": trim_metadata(workflow)["metadata"], **trim_details(workflow)}


def trim_details(workflow: Json) -> Json:
    """What the metadata of a Workflow does not tell: its `spec` and `status`, as far as a task is made of them."""
    request = request_of(workflow)
    asked = json.dumps({key: request[key] for key in _ASKED if key in request}, separators=(",", ":"))
    return trimmed(workflow, asked)
