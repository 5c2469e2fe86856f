"""What Argo says of a Workflow: the only reader of the shape of its spec and status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json

Status = Literal["pending", "running", "completed", "failed", "cancelled"]

STATUSES: tuple[Status, ...] = ("pending", "running", "completed", "failed", "cancelled")
LABEL_PHASE = "workflows.argoproj.io/phase"  # set by Argo as soon as it has seen the Workflow
TERMINATE = "Terminate"  # ends a Workflow without its exit handler
STOP = "Stop"  # runs the exit handler

# What is read below, beside arguments and nodes: a server keeps no more of a Workflow.
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
_FAILED_ATTEMPT = "1"  # the exit code of a driver that worked its Job to the end

# What Argo says when a Workflow ends without our verdict, and what a person can do about it.
_ADVICE = (
    (
        "max-concurrent-tasks",
        "ConfigMap ips-config lacks a usable max-concurrent-tasks: run `ips-flow doctor`",
    ),
    ("ips-config", "ConfigMap ips-config can't be read: run `ips-flow doctor`"),
    ("workflowtemplate", "the templates of IPS Flow are missing or broken: run `ips-flow install`"),
    ("deadline", "the task ran out of time before it could say more"),
    ("max duration", "the task ran out of time before it could say more"),
    ("shutdown", "stopped before it could say more"),
    ("imagepull", "the image of a step can't be pulled: run `ips-flow doctor`"),
    ("forbidden", "a step lacks a right: run `ips-flow doctor`"),
)


def phase_of(workflow: Mapping[str, Any]) -> str:
    """Argo's phase; for metadata alone, what Argo's label says."""
    if "status" in workflow or "spec" in workflow:
        return str(_status(workflow).get(_PHASE) or "")
    return str(objects.labels(workflow).get(LABEL_PHASE) or "")


def status_by_phase(workflow: Mapping[str, Any]) -> Status:
    """The task's status as far as Argo's phase tells it; an unknown phase counts as running."""
    return _BY_PHASE.get(phase_of(workflow), "running")


def is_finished(workflow: Mapping[str, Any]) -> bool:
    """Whether Argo is done with a Workflow."""
    return phase_of(workflow) in _FINISHED_PHASES


def shutdown_of(workflow: Mapping[str, Any]) -> str | None:
    """`Stop` or `Terminate` where somebody asked for the Workflow's end."""
    word = (workflow.get("spec") or {}).get(_SHUTDOWN)
    return str(word) if word else None


def is_stopped(workflow: Mapping[str, Any]) -> bool:
    """Whether somebody asked the Workflow to stop."""
    return shutdown_of(workflow) is not None


def started_at(workflow: Mapping[str, Any]) -> str:
    """When Argo started the Workflow, RFC 3339 UTC; empty while it has not."""
    return str(_status(workflow).get(_STARTED_AT) or "")


def finished_at(workflow: Mapping[str, Any]) -> str:
    """When the Workflow ended, RFC 3339 UTC; empty while it has not."""
    return str(_status(workflow).get(_FINISHED_AT) or "")


def message_of(workflow: Mapping[str, Any]) -> str:
    """Argo's message about the Workflow."""
    return str(_status(workflow).get(_MESSAGE) or "")


def advice_on(message: str) -> str | None:
    """Advice on a message of Argo, where there is some."""
    lowered = message.lower()
    return next((text for mark, text in _ADVICE if mark in lowered), None)


def parameters_of(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """The Workflow's arguments: name → value as it was submitted, not always a text."""
    arguments = (workflow.get("spec") or {}).get("arguments") or {}
    return {one["name"]: one.get("value") for one in arguments.get("parameters") or ()}


def nodes_of(workflow: Mapping[str, Any]) -> Mapping[str, Json]:
    """Argo's nodes by id."""
    return _status(workflow).get("nodes") or {}


def stored_spec(workflow: Mapping[str, Any]) -> Json:
    """The spec with the templates that Argo runs: those stored when it started the Workflow, else its own spec."""
    spec: Json = _status(workflow).get("storedWorkflowTemplateSpec") or workflow["spec"]
    return spec


def trimmed(workflow: Mapping[str, Any], request: str) -> Json:
    """The spec and the status as far as this module reads them, with `request` as the only argument."""
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
    """The priority by which Argo queues; 0 where none is set, None for metadata alone."""
    return int(workflow["spec"].get(_PRIORITY) or 0) if "spec" in workflow else None


def lost_drivers(nodes: Mapping[str, Json]) -> dict[str, Json]:
    """Those of Argo's nodes that are drivers' pods which ended without working their Job to its end."""
    return {
        node_id: node
        for node_id, node in nodes.items()
        if node.get("type") == "Pod"
        and node.get("templateName") == "drive"
        and node.get("phase") in ("Failed", "Error")
        and str((node.get("outputs") or {}).get("exitCode")) != _FAILED_ATTEMPT
    }


def attempt_of(node: Json) -> tuple[str, str]:
    """For which wave and which attempt a driver was started; '' where that is not said."""
    given = {one["name"]: str(one.get("value")) for one in (node.get("inputs") or {}).get("parameters") or ()}
    return given.get("wave", ""), given.get("attempt", "")


def _status(workflow: Mapping[str, Any]) -> Mapping[str, Any]:
    return workflow.get("status") or {}
