"""Harness that runs a keeper round by round without its threads, and its finish Jobs in place of Kubernetes."""

from __future__ import annotations

from typing import Any

from ips_flows.controller.keeper import Keeper
from ips_flows.core import clock
from ips_flows.core.constants import LABEL_TASK, TEMPLATE_PREWARM
from ips_flows.core.reconcile.decide import is_over
from ips_flows.kube.client import workflows
from steps.context import StepContext
from steps.finish import finish
from tests.support.step_harness import Stage

OWN, INSTALLED = "flow:own", "flow:installed"  # images of the running task and of the template


def argo_ends(stage: Stage, phase: str = "Failed", *, finished_at: str = "", began_with: Any = None) -> None:
    """End the Workflow as Argo's controller does, now or at a given time; its status holds the stored template."""
    status = {
        "phase": phase,
        "finishedAt": finished_at or clock.stamp(clock.now()),
        "storedWorkflowTemplateSpec": began_with or _steps(OWN),
    }
    stage.workflow({"metadata": {"labels": {"workflows.argoproj.io/phase": phase}}, "status": status})


def keeper(stage: Stage, name: str = "keeper-1") -> Keeper:
    """Return a keeper of the task's namespace; install the template there."""
    stage.server.change("workflowtemplates", TEMPLATE_PREWARM, {"spec": _steps(INSTALLED)})
    return Keeper(stage.kube, "warm", name)


def run_round(stage: Stage, one: Keeper) -> None:
    """Run a round of a keeper that has just listed the tasks, if it holds or gets the Lease."""
    one.lease.hold()
    listed = stage.kube.list(workflows("warm"), labels=f"{LABEL_TASK}=true", metadata_only=True)
    one._index.replace(listed)
    one.round()


def finish_jobs(stage: Stage) -> list[Any]:
    """Return the existing finish Jobs."""
    return [
        item
        for (kind, _, name), item in sorted(stage.server.store.objects.items())
        if kind == "jobs" and name.startswith("ips-finish-")
    ]


def run_jobs(stage: Stage) -> list[str]:
    """Run the finish Jobs that have not run yet; return their images."""
    images = []
    for job in [one for one in finish_jobs(stage) if not is_over(one)]:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        images.append(container["image"])
        task, uid = container["args"]
        assert finish.run(StepContext(stage.kube, task, uid), (), stage.finish_timings) == 0
        ended = {"type": "Complete", "status": "True", "lastTransitionTime": clock.stamp(clock.now())}
        stage.server.change("jobs", job["metadata"]["name"], {"status": {"conditions": [ended]}})
    return images


def left(stage: Stage) -> list[str]:
    """Return the kinds of a task's remaining objects, without its Workflow and its finish Job."""
    found = []
    for (kind, _, name), item in sorted(stage.server.store.objects.items()):
        labels = item["metadata"].get("labels") or {}
        ours = labels.get("ips-flow.io/workflow-uid") == stage.uid
        if ours and kind in ("jobs", "pods", "configmaps") and not name.startswith("ips-finish-"):
            found.append(labels.get("ips-flow.io/kind", kind))
    return found


def _steps(image: str) -> Any:
    """Return the part of a template's spec that the keeper reads."""
    return {"templates": [{"container": {"command": ["python", "-m", "steps.finish"], "image": image}}]}
