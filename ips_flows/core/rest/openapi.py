"""The description of the API (OpenAPI 3.1). A test holds it against the routes that there are."""

from __future__ import annotations

import functools
import json

from ips_flows.core.k8s.objects import Json
from ips_flows.core.request.limits import MAX_BYTES
from ips_flows.core.request.model import json_schema
from ips_flows.core.rest.pagination import DEFAULT_LIMIT, LARGEST_LIMIT, LONGEST_SEARCH
from ips_flows.core.rest.schemas import REF, schemas
from ips_flows.core.task.workflow_status import STATUSES
from ips_flows.core.version import __version__

REQUEST_EXAMPLE: Json = {
    "images": ["registry.example.com/team/app:1.2", "busybox:1.37"],
    "batchSize": "10%",
    "priority": 7,
    "nodeSelector": {"node.kubernetes.io/instance-type": "m5.large"},
    "maxRetries": 2,
    "name": "app-1-2",
}
_ERRORS = {
    400: "The request is wrong; `details` names each field.",
    401: "No valid token.",
    403: "The token's user may not do this with `workflows.argoproj.io` in the namespace.",
    404: "There is no such task.",
    409: "The task, or its name, is not in the state that this needs.",
    413: f"The body is larger than {MAX_BYTES >> 20} MiB.",
    415: "The body is compressed, or, with `--auth none`, not said to be JSON.",
    502: "The cluster refuses the server itself a right.",
    503: "The cluster does not answer at the moment, or lacks a part; `Retry-After` says when to try again.",
}
_ID: Json = {"name": "task_id", "in": "path", "required": True, "schema": {"type": "string"}}


@functools.cache
def document() -> Json:
    """The whole description."""
    one = "/api/v1/tasks/{task_id}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "IPS Flow",
            "version": __version__,
            "description": "Puts container images on Kubernetes nodes before pods need them, and proves it.",
        },
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": {
            "/api/v1/tasks": {"get": _list(), "post": _submit()},
            one: {"parameters": [_ID], "get": _get(), "delete": _cancel()},
            f"{one}/retry": {"parameters": [_ID], "post": _retry()},
            f"{one}/events": {"parameters": [_ID], "get": _events()},
            "/health": {
                "get": _probe("Whether the server goes on", "it is stuck, and should be started anew")
            },
            "/healthz": {"get": _probe("The same as /health", "it is stuck, and should be started anew")},
            "/readyz": {
                "get": _probe("Whether it is in step with the cluster", "it is not; `reason` says why")
            },
            "/metrics": {"get": _metrics()},
        },
        "components": {
            "schemas": {**schemas(), **_request_schemas()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the cluster. Not asked for with `--auth none`.",
                }
            },
        },
    }


def _request_schemas() -> Json:
    text = json.dumps(json_schema()).replace("#/$defs/", "#/components/schemas/")
    whole: Json = json.loads(text)
    return {**whole.pop("$defs"), "PrewarmRequest": {**whole, "examples": [REQUEST_EXAMPLE]}}


def _ref(name: str) -> Json:
    return {"$ref": REF.format(model=name)}


def _answer(description: str, name: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": _ref(name)}}}


def _errors(*codes: int) -> Json:
    return {str(code): _answer(_ERRORS[code], "Error") for code in (*codes, 401, 403, 502, 503)}


def _list() -> Json:
    status = {"type": "string", "enum": list(STATUSES)}
    whole = {"type": "integer", "minimum": 0}
    return {
        "summary": "List tasks, newest first",
        "description": "From the server's memory, which follows the cluster. Needs the verb `list`.",
        "parameters": [
            {"name": "status", "in": "query", "schema": status},
            {
                "name": "search",
                "in": "query",
                "description": "A part of the name or of an image, in any case.",
                "schema": {"type": "string", "maxLength": LONGEST_SEARCH},
            },
            {
                "name": "limit",
                "in": "query",
                "schema": {**whole, "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT},
            },
            {"name": "offset", "in": "query", "schema": {**whole, "default": 0}},
        ],
        "responses": {"200": _answer("A page of the tasks.", "TaskList"), **_errors(400)},
    }


def _submit() -> Json:
    return {
        "summary": "Submit a request",
        "description": "Only `images` is needed. Needs the verb `create`.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("PrewarmRequest"), "example": REQUEST_EXAMPLE}},
        },
        "responses": {
            "201": _answer("The new task.", "Task"),
            "200": _answer("The task that exists: its name and its request are the same.", "Task"),
            **_errors(400, 409, 413, 415),
        },
    }


def _get() -> Json:
    return {
        "summary": "Read a task",
        "description": "Read anew, with what became of each image on each node. Needs the verb `get`.",
        "responses": {"200": _answer("The task.", "Task"), **_errors(404)},
    }


def _cancel() -> Json:
    return {
        "summary": "Cancel a task",
        "description": "A running one finishes its records first; the results so far stay. Needs the verb `delete`.",
        "responses": {
            "200": _answer("The task, as it is now; it ends within seconds.", "Task"),
            **_errors(404, 409),
        },
    }


def _retry() -> Json:
    return {
        "summary": "Try an ended task again",
        "description": "A new task with the same request, for the nodes that it lost. Needs the verb `create`.",
        "responses": {
            "201": _answer("The new task.", "Task"),
            "200": _answer("The new task was there already, and has not ended.", "Task"),
            **_errors(404, 409),
        },
    }


def _events() -> Json:
    text = (
        "Server-sent events: `task` with the task as lists have it, at once and after each change; then `end` "
        'with `{"status": …}`, or `deleted`. Comments keep the connection alive. Needs the verb `get`.'
    )
    return {
        "summary": "Follow a task",
        "description": text,
        "responses": {
            "200": {
                "description": "The stream.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **_errors(404),
        },
    }


def _probe(summary: str, otherwise: str) -> Json:
    return {
        "summary": summary,
        "security": [],
        "responses": {
            "200": _answer("It does.", "Condition"),
            "503": _answer(f"No: {otherwise}.", "Condition"),
        },
    }


def _metrics() -> Json:
    return {
        "summary": "Metrics for Prometheus",
        "security": [],
        "responses": {
            "200": {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
        },
    }
