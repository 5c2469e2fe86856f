"""The OpenAPI 3.1 description of the API. A test compares it with the routes of the server."""

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
    400: "The request is invalid. `details` lists each invalid field.",
    401: "The token is missing or invalid.",
    403: "The user of the token lacks the permission for `workflows.argoproj.io` in the namespace.",
    404: "The task does not exist.",
    409: "The state of the task does not allow this operation, or the name is already in use.",
    413: f"The body is larger than {MAX_BYTES >> 20} MiB.",
    415: "The body is compressed, or its content type is not JSON (checked with `--auth none`).",
    502: "The server itself lacks a permission in the cluster.",
    503: "The cluster is not available, or a component is not installed. `Retry-After` is the time to wait, in seconds.",
}
# Descriptions of 200 and 503.
_LIVENESS = ("The server is alive.", "The server is stuck and should be restarted.")
_READINESS = ("The server is ready.", "The server is not ready. `reason` is the cause.")
_ID: Json = {"name": "task_id", "in": "path", "required": True, "schema": {"type": "string"}}


@functools.cache
def document() -> Json:
    """Return the complete description."""
    one = "/api/v1/tasks/{task_id}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "IPS Flow",
            "version": __version__,
            "description": "Pulls container images on Kubernetes nodes before pods need them, and records evidence.",
        },
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": {
            "/api/v1/tasks": {"get": _list(), "post": _submit()},
            one: {"parameters": [_ID], "get": _get(), "delete": _cancel()},
            f"{one}/retry": {"parameters": [_ID], "post": _retry()},
            f"{one}/events": {"parameters": [_ID], "get": _events()},
            "/health": {"get": _probe("Check whether the server is alive", *_LIVENESS)},
            "/healthz": {"get": _probe("Check whether the server is alive (same as /health)", *_LIVENESS)},
            "/readyz": {"get": _probe("Check whether the server's data is up to date", *_READINESS)},
            "/metrics": {"get": _metrics()},
        },
        "components": {
            "schemas": {**schemas(), **_request_schemas()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A bearer token of the cluster. Not required with `--auth none`.",
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
        "description": "Reads from the server's cache of the cluster. Requires the verb `list`.",
        "parameters": [
            {"name": "status", "in": "query", "schema": status},
            {
                "name": "search",
                "in": "query",
                "description": "Part of the name or of an image reference, case-insensitive.",
                "schema": {"type": "string", "maxLength": LONGEST_SEARCH},
            },
            {
                "name": "limit",
                "in": "query",
                "schema": {**whole, "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT},
            },
            {"name": "offset", "in": "query", "schema": {**whole, "default": 0}},
        ],
        "responses": {"200": _answer("One page of tasks.", "TaskList"), **_errors(400)},
    }


def _submit() -> Json:
    return {
        "summary": "Submit a request",
        "description": "Only `images` is required. Requires the verb `create`.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("PrewarmRequest"), "example": REQUEST_EXAMPLE}},
        },
        "responses": {
            "201": _answer("The new task.", "Task"),
            "200": _answer("The existing task with the same name and the same request.", "Task"),
            **_errors(400, 409, 413, 415),
        },
    }


def _get() -> Json:
    return {
        "summary": "Read a task",
        "description": "Reads from the cluster, with the result of each image on each node. Requires the verb `get`.",
        "responses": {"200": _answer("The task.", "Task"), **_errors(404)},
    }


def _cancel() -> Json:
    return {
        "summary": "Cancel a task",
        "description": "A running task records its results before it ends. Existing results are kept. Requires the verb "
        "`delete`.",
        "responses": {
            "200": _answer("The current task. It ends within seconds.", "Task"),
            **_errors(404, 409),
        },
    }


def _retry() -> Json:
    return {
        "summary": "Retry an ended task",
        "description": "Creates a task with the same request for the failed nodes. Requires the verb `create`.",
        "responses": {
            "201": _answer("The new task.", "Task"),
            "200": _answer("The new task already exists and has not ended.", "Task"),
            **_errors(404, 409),
        },
    }


def _events() -> Json:
    text = (
        "Sends server-sent events: `task` with the task as in lists, immediately and after each change; at the end "
        '`end` with `{"status": …}`, or `deleted`. Comments keep the connection alive. Requires the verb `get`.'
    )
    return {
        "summary": "Watch a task",
        "description": text,
        "responses": {
            "200": {
                "description": "The stream of events.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **_errors(404),
        },
    }


def _probe(summary: str, good: str, bad: str) -> Json:
    return {
        "summary": summary,
        "security": [],
        "responses": {
            "200": _answer(good, "Condition"),
            "503": _answer(bad, "Condition"),
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
