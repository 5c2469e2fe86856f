"""filter: lists the nodes, decides which of them to pull on, and writes the plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_CLEANED,
    ANNOTATION_ERROR,
    ANNOTATION_PLAN,
    ANNOTATION_VERDICT,
    ANNOTATION_WEBHOOK,
    LABEL_KIND,
    LABEL_WORKFLOW_UID,
    base_name,
    group_name,
)
from ips_flows.core.counts import several
from ips_flows.core.errors import BadRequestError, NewerFormatError, NotInstalledError, PlanError
from ips_flows.core.k8s import objects
from ips_flows.core.notice.notice import Webhook
from ips_flows.core.plan.node import read_node
from ips_flows.core.plan.plan import Plan, make_plan
from ips_flows.core.pods.pull_job import config_map, results_map, task_labels, workflow_owner
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.core.results.records import PlanSummary
from ips_flows.core.results.stored_results import split
from ips_flows.core.task.task import priority_of
from ips_flows.kube.client import core
from ips_flows.operations.settings import keeps_image_volumes, worker_image
from steps.context import StepContext, is_over, read_request, report_progress, say, say_error, start
from steps.verdict import write_verdict

OUTPUTS = Path("/tmp/outputs")  # noqa: S108  (an emptyDir of the step pod, named in the template)
EXIT_NO_PLAN = 1


def run(context: StepContext, _arguments: Sequence[str]) -> int:
    """Plan the task once. If an earlier filter pod failed, use the plan that it announced, or plan again."""
    workflow = context.workflow()
    annotations = objects.annotations(workflow)
    try:
        summary = (
            PlanSummary.from_json(annotations[ANNOTATION_PLAN]) if ANNOTATION_PLAN in annotations else None
        )
        judged = summary is not None and not summary.to_do and ANNOTATION_VERDICT in annotations
        if is_over(workflow) and not judged:
            say("the task was stopped")
            return EXIT_NO_PLAN
        ended = judged and ANNOTATION_CLEANED in annotations
        request = read_request(workflow)
        if summary is None:
            plan = _make_plan(context, request, priority_of(workflow))
            summary, ended = plan.summary, _end_if_nothing_to_do(context, request, plan)
    except (BadRequestError, NewerFormatError, NotInstalledError, PlanError) as error:
        say_error(error)
        context.annotate({ANNOTATION_ERROR: error.message})
        return EXIT_NO_PLAN
    _write_outputs(request, summary, ended=ended)
    report_progress(summary.warm, summary.eligible)
    return 0


def _make_plan(context: StepContext, request: PrewarmRequest, priority: int) -> Plan:
    kube = context.kube
    worker = worker_image(kube, context.namespace)
    # ConfigMaps of an earlier filter pod that ended before it announced the plan.
    leftovers = f"{LABEL_WORKFLOW_UID}={context.uid},{LABEL_KIND} in (plan,results)"
    kube.delete_all(core(context.namespace, "configmaps"), labels=leftovers)

    plan = make_plan(
        request,
        (read_node(node) for node in kube.list("/api/v1/nodes")),
        worker_image=worker,
        started=clock.now(),
        image_volumes_kept=lambda: keeps_image_volumes(kube, context.namespace, request, worker),
    )
    _log_plan(plan)
    _store_plan(context, plan)
    summary = plan.summary.model_copy(update={"priority": priority})  # the priority now in force
    webhook = Webhook.of_request(request)  # a task of Argo's form has no such annotation yet
    webhook_annotation = {ANNOTATION_WEBHOOK: webhook.to_json()} if webhook else {}
    context.annotate({ANNOTATION_PLAN: summary.to_json(), **webhook_annotation})
    return replace(plan, summary=summary)


def _end_if_nothing_to_do(context: StepContext, request: PrewarmRequest, plan: Plan) -> bool:
    """End a task that has no work and no webhook, so that no pod of `finish` is needed."""
    if plan.summary.to_do or Webhook.of_request(request):
        return False
    write_verdict(context, [plan.known])
    context.annotate({ANNOTATION_CLEANED: clock.stamp(clock.now())})
    return True


def _store_plan(context: StepContext, plan: Plan) -> None:
    task, uid = context.task, context.uid
    path = core(context.namespace, "configmaps")
    for group in plan.groups:
        labels = task_labels(task, uid, "plan", group.group)
        name = group_name(task, uid, group.group)
        context.kube.create(
            path,
            config_map(name, labels=labels, owner=workflow_owner(task, uid), binary=group.encode()),
        )
    if plan.known.nodes:
        for number, chunk in enumerate(split(plan.known)):
            name = f"{base_name(task, uid)}-filter-r{number}"
            context.kube.create(path, results_map(name, task, uid, chunk))


def _write_outputs(request: PrewarmRequest, summary: PlanSummary, *, ended: bool) -> None:
    """Write the outputs that the template declares: the waves, the retries, and whether the task has ended."""
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    for name, value in {
        "waves": json.dumps([wave.name for wave in summary.waves]),
        "retries": str(request.max_retries),
        "delay": f"{request.retry_delay}s",
        "factor": "2" if request.retry_strategy == "exponential" else "1",
        "timeout": f"{request.timeout_seconds}s",
        "ended": "yes" if ended else "no",
    }.items():
        (OUTPUTS / name).write_text(value, encoding="utf-8")


def _log_plan(plan: Plan) -> None:
    summary = plan.summary
    say(f"{several(summary.eligible, 'eligible node')}: {summary.warm} warm, {summary.to_do} to do")
    for reason, count in summary.skipped.items():
        say(f"{several(count, 'node')} skipped: {reason}")
    say(f"mode {summary.mode}: {summary.mode_reason}")
    for wave in summary.waves:
        say(f"{wave.name}: {several(wave.nodes, 'node')}, at most {summary.window} at the same time")


if __name__ == "__main__":
    start(run)
