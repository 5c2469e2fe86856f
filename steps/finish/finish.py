"""finish, the exit handler: waits for the drivers, writes the verdict once, cleans up, notifies the webhook.

Verdict, clean-up and notification are each marked on the Workflow, so that each is done once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_CLEANED, ANNOTATION_VERDICT, LABEL_STEP
from ips_flows.core.errors import ForbiddenError, GoneError, NotFoundError, UnavailableError
from ips_flows.core.k8s import objects
from ips_flows.core.notice.notice import is_open
from ips_flows.core.pods.container_state import is_terminal
from ips_flows.core.task.workflow_status import is_stopped
from ips_flows.kube.client import core
from steps.context import ReplacePodError, StepContext, say
from steps.finish import notify
from steps.finish.cleanup import delete_objects
from steps.finish.gather import complete_results
from steps.finish.timings import FinishTimings
from steps.verdict import write_verdict


def run(context: StepContext, _arguments: Sequence[str], timings: FinishTimings | None = None) -> int:
    """Finish the task. If the API fails, try again for a while, since Argo does not retry an exit handler."""
    timings = timings or FinishTimings()
    since: float | None = None
    while True:
        try:
            return _finish(context, timings)
        except (UnavailableError, GoneError, ForbiddenError) as error:
            at = time.monotonic()
            since = since or at
            if at - since > (timings.refused if isinstance(error, ForbiddenError) else timings.patience):
                raise
            say(f"API request failed, trying again: {error.message}")
            time.sleep(timings.retry)


def _finish(context: StepContext, timings: FinishTimings) -> int:
    """Finish a task. If its Workflow was deleted, only clean up and notify the webhook: there is no verdict to write."""
    try:
        return _stages(context, timings)
    except (NotFoundError, ReplacePodError):
        if not _is_deleted(context):
            raise
    say("the Workflow was deleted; deleting its remaining objects")
    delete_objects(context, "plan", "index", "results", seconds=timings.cleanup)
    notify.send_notice_of_deleted(context, timings)
    return 0


def _is_deleted(context: StepContext) -> bool:
    try:
        context.workflow()
    except (NotFoundError, ReplacePodError):
        return True
    return False


def _stages(context: StepContext, timings: FinishTimings) -> int:
    """Run the stages that are not marked as done, so that finish can be run again at any time."""
    workflow = context.workflow()
    annotations = dict(objects.annotations(workflow))
    if ANNOTATION_VERDICT not in annotations:
        _await_drivers(context, timings.drivers)
        results = complete_results(context, stopped=is_stopped(workflow))
        verdict = write_verdict(context, results.chunks, results.waves, patience=timings.verdict)
        annotations[ANNOTATION_VERDICT] = verdict.to_json()
    if ANNOTATION_CLEANED not in annotations:
        delete_objects(context, "plan", "index", seconds=timings.cleanup)
        context.annotate({ANNOTATION_CLEANED: clock.stamp(clock.now())})
    if is_open(annotations, clock.now()):
        notify.send_notice(context, timings)
    return 0


def _await_drivers(context: StepContext, seconds: float) -> None:
    """Wait until the drivers have ended: Argo starts the exit handler while they still handle SIGTERM."""
    path = core(context.namespace, "pods")
    labels = f"workflows.argoproj.io/workflow={context.task},{LABEL_STEP}=drive"
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        page = context.kube.get(path, labelSelector=labels)
        if all(is_terminal(pod) for pod in page["items"]):
            return
        try:
            version = page["metadata"]["resourceVersion"]
            for event in context.kube.watch(path, resource_version=version, seconds=left, labels=labels):
                if event["type"] in ("MODIFIED", "DELETED"):
                    break
        except (GoneError, UnavailableError) as error:
            say(f"the drivers can't be watched, trying again: {error.message}")
    say(f"a driver still runs after {seconds:.0f} s; continuing without it")
