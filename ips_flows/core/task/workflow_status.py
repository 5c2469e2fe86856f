"""Argo's state of a Workflow. Only this module knows the structure of a Workflow's spec and status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json

Status = Literal["pending", "running", "completed", "failed", "cancelled"]

STATUSES: tuple[Status, ...] = ("pending", "running", "completed", "failed", "cancelled")
LABEL_PHASE = "workflows.argoproj.io/phase"  # set by Argo when it first processes the Workflow
TERMINATE = "Terminate"  # ends a Workflow without its exit handler
STOP = "Stop"  # runs the exit handler

# The fields read below, besides arguments and nodes. A server keeps no other fields of a Workflow.
_PRIORITY, _SHUTDOWN = "priority", "shutdown"
_PHASE, _STARTED_AT, _FINISHED_AT, _MESSAGE = "phase", "startedAt", "finishedAt", "message"
_SPEC_KEYS = (_PRIORITY, _SHUTDOWN)
_STATUS_KEYS = (_PHASE, _STARTED_AT, _FINISHED_AT, _MESSAGE)
_BY_PHASE: dict[str, Status] = {
    "": "pending",
    "Pending": "pending",
    "Running": "running",
    "Succeeded": "completed",
    "Failed": "failed",
    "Error": "failed",
}
_FINISHED_PHASES = frozenset({"Succeeded", "Failed", "Error"})
_FAILED_ATTEMPT = "1"  # the exit code of a driver that finished its Job

# Parts of Argo's messages for Workflows that end without our verdict, each with advice for the user.
_ADVICE = (
    (
        "max-concurrent-tasks",
        "max-concurrent-tasks is missing or invalid in ConfigMap ips-config: run `ips-flow doctor`",
    ),
    ("ips-config", "ConfigMap ips-config can't be read: run `ips-flow doctor`"),
    ("workflowtemplate", "the templates of IPS Flow are missing or invalid: run `ips-flow install`"),
    ("deadline", "the task exceeded its time limit before it recorded a verdict"),
    ("max duration", "the task exceeded its time limit before it recorded a verdict"),
    ("shutdown", "the task was stopped before it recorded a verdict"),
    ("imagepull", "the image of a step can't be pulled: run `ips-flow doctor`"),
    ("forbidden", "a step lacks a permission: run `ips-flow doctor`"),
)


def phase_of(workflow: Mapping[str, Any]) -> str:
    """Return Argo's phase; from metadata only, the phase in Argo's label."""
    if "status" in workflow or "spec" in workflow:
        return str(_status(workflow).get(_PHASE) or "")
    return str(objects.labels(workflow).get(LABEL_PHASE) or "")


def status_by_phase(workflow: Mapping[str, Any]) -> Status:
    """Return the task status that corresponds to Argo's phase. An unknown phase counts as running."""
    return _BY_PHASE.get(phase_of(workflow), "running")


def is_finished(workflow: Mapping[str, Any]) -> bool:
    """Return whether Argo has finished a Workflow."""
    return phase_of(workflow) in _FINISHED_PHASES


def shutdown_of(workflow: Mapping[str, Any]) -> str | None:
    """Return `Stop` or `Terminate` if one was requested for the Workflow, else None."""
    shutdown = (workflow.get("spec") or {}).get(_SHUTDOWN)
    return str(shutdown) if shutdown else None


def is_stopped(workflow: Mapping[str, Any]) -> bool:
    """Return whether a stop of the Workflow was requested."""
    return shutdown_of(workflow) is not None


def started_at(workflow: Mapping[str, Any]) -> str:
    """Return when Argo started the Workflow, RFC 3339 UTC; '' if it has not started."""
    return str(_status(workflow).get(_STARTED_AT) or "")


def finished_at(workflow: Mapping[str, Any]) -> str:
    """Return when the Workflow ended, RFC 3339 UTC; '' if it has not ended."""
    return str(_status(workflow).get(_FINISHED_AT) or "")


def message_of(workflow: Mapping[str, Any]) -> str:
    """Return Argo's message about the Workflow."""
    return str(_status(workflow).get(_MESSAGE) or "")


def advice_on(message: str) -> str | None:
    """Return advice for a message of Argo; None if there is none."""
    lowered = message.lower()
    return next((text for mark, text in _ADVICE if mark in lowered), None)


def parameters_of(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Workflow's arguments: name → value as submitted, not always a string."""
    arguments = (workflow.get("spec") or {}).get("arguments") or {}
    return {one["name"]: one.get("value") for one in arguments.get("parameters") or ()}


def nodes_of(workflow: Mapping[str, Any]) -> Mapping[str, Json]:
    """Return Argo's nodes by ID."""
    return _status(workflow).get("nodes") or {}


def stored_spec(workflow: Mapping[str, Any]) -> Json:
    """Return the spec that Argo runs: the one stored at the start of the Workflow, else the Workflow's own."""
    spec: Json = _status(workflow).get("storedWorkflowTemplateSpec") or workflow["spec"]
    return spec


def trimmed(workflow: Mapping[str, Any], request: str) -> Json:
    """Return the fields of spec and status that this module reads, with `request` as the only argument."""
    spec, status = workflow.get("spec") or {}, _status(workflow)
    return {
        "spec": {
            **{key: spec[key] for key in _SPEC_KEYS if key in spec},
            "arguments": {"parameters": [{"name": "request", "value": request}]},
        },
        "status": {
            **{key: status[key] for key in _STATUS_KEYS if key in status},
            "nodes": lost_drivers(nodes_of(workflow)),
        },
    }


def priority_of_spec(workflow: Mapping[str, Any]) -> int | None:
    """Return the priority by which Argo queues; 0 if none is set, None for metadata only."""
    return int(workflow["spec"].get(_PRIORITY) or 0) if "spec" in workflow else None


def lost_drivers(nodes: Mapping[str, Json]) -> dict[str, Json]:
    """Return the Argo nodes of drivers' pods that ended before they finished their Job."""
    return {
        node_id: node
        for node_id, node in nodes.items()
        if node.get("type") == "Pod"
        and node.get("templateName") == "drive"
        and node.get("phase") in ("Failed", "Error")
        and str((node.get("outputs") or {}).get("exitCode")) != _FAILED_ATTEMPT
    }


def attempt_of(node: Json) -> tuple[str, str]:
    """Return the wave and the attempt for which a driver was started; '' if unknown."""
    given = {one["name"]: str(one.get("value")) for one in (node.get("inputs") or {}).get("parameters") or ()}
    return given.get("wave", ""), given.get("attempt", "")


def _status(workflow: Mapping[str, Any]) -> Mapping[str, Any]:
    return workflow.get("status") or {}
