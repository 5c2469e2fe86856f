"""finish: the exit handler. Folds what is known, writes the verdict once, cleans up, and tells whoever wants to know.

Its stages are: await the drivers, fold, verdict, clean, notice. The last three leave a mark each.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_CLEANED,
    ANNOTATION_VERDICT,
    LABEL_ATTEMPT,
    LABEL_GROUP,
    LABEL_KIND,
    LABEL_STEP,
    LABEL_WORKFLOW_UID,
    base_name,
)
from ips_flows.core.errors import ConflictError, ForbiddenError, GoneError, NotFoundError, UnavailableError
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice.notice import is_open
from ips_flows.core.plan.plan import GroupPlan
from ips_flows.core.pods.container_state import ENDED_CANCELLED, is_terminal
from ips_flows.core.pods.pull_job import completion_index, is_gated, read_index, results_map
from ips_flows.core.results.reasons import Result, SkipReason
from ips_flows.core.results.results import FINISH_GROUP, Chunk, ImageResult, NodeResult, fold, same_for_all
from ips_flows.core.results.stored_results import split
from ips_flows.core.task.workflow_status import is_stopped
from ips_flows.kube.client import core, jobs
from steps.context import ReplacePodError, StepContext, say
from steps.drive.evidence_reader import EvidenceReader
from steps.finish import notify
from steps.verdict import write_verdict

_DRIVERS_SECONDS = 40.0
_CLEAN_SECONDS = 30.0
_PATIENCE_SECONDS = 120.0
_REFUSED_SECONDS = 15.0  # an API server that has just started knows no rights yet
_RETRY_SECONDS = 2.0


def run(context: StepContext, _arguments: Sequence[str]) -> int:
    """Argo does not retry an exit handler, so an API that does not answer, or refuses, is asked again for a while."""
    since: float | None = None
    while True:
        try:
            return _finish(context)
        except (UnavailableError, GoneError, ForbiddenError) as error:
            at = time.monotonic()
            since = since or at
            if at - since > (_REFUSED_SECONDS if isinstance(error, ForbiddenError) else _PATIENCE_SECONDS):
                raise
            say(f"the API does not answer, trying again: {error.message}")
            time.sleep(_RETRY_SECONDS)


def _finish(context: StepContext) -> int:
    """Finish a task; of one whose Workflow was deleted there is nothing to judge, only to clean up and to tell."""
    try:
        return _stages(context)
    except (NotFoundError, ReplacePodError):
        if not _is_deleted(context):
            raise
    say("the Workflow was deleted: deleting what is left of it")
    _clean(context, "plan", "index", "results")
    notify.send_notice_of_deleted(context)
    return 0


def _is_deleted(context: StepContext) -> bool:
    try:
        context.workflow()
    except (NotFoundError, ReplacePodError):
        return True
    return False


def _stages(context: StepContext) -> int:
    """Every stage leaves a mark, and one that has its mark is skipped: it can be run again at any time."""
    workflow = context.workflow()
    annotations = dict(objects.annotations(workflow))
    if ANNOTATION_VERDICT not in annotations:
        _await_drivers(context)
        gathered = _gather(context, workflow)
        verdict = write_verdict(context, gathered.chunks, gathered.waves)
        annotations[ANNOTATION_VERDICT] = verdict.to_json()
    if ANNOTATION_CLEANED not in annotations:
        _clean(context, "plan", "index")
        context.annotate({ANNOTATION_CLEANED: clock.stamp(clock.now())})
    if is_open(annotations, clock.now()):
        notify.send_notice(context)
    return 0


def _await_drivers(context: StepContext) -> None:
    """Argo starts the exit handler while a stopped driver still handles its SIGTERM."""
    path = core(context.namespace, "pods")
    labels = f"workflows.argoproj.io/workflow={context.task},{LABEL_STEP}=drive"
    end = time.monotonic() + _DRIVERS_SECONDS
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
            say(f"watching the drivers: {error.message}")
    say(f"a driver still runs after {_DRIVERS_SECONDS:.0f} s; going on without it")


@dataclass(frozen=True, slots=True)
class _Gathered:
    """All that is known of a task's nodes, and which of them each wave has."""

    chunks: Sequence[Chunk]
    waves: Sequence[Collection[str]]


def _gather(context: StepContext, workflow: Json) -> _Gathered:
    """All results: those stored, those of pods that nobody recorded, and the nodes never reached."""
    groups = _groups(context)
    chunks = context.stored_chunks()
    fresh = _unrecorded(context, groups, chunks, stopped=is_stopped(workflow))
    folded = fold([*chunks, *fresh])
    at = clock.stamp(clock.now())
    missing = {
        node.name: same_for_all(len(plan.images), ImageResult(Result.SKIPPED, SkipReason.NOT_REACHED), at)
        for plan in groups.values()
        for node in plan.nodes
        if node.name not in folded
    }
    if missing:
        fresh.append(Chunk(FINISH_GROUP, 0, missing))
    numbers = count()
    for piece in (piece for chunk in fresh for piece in split(chunk)):
        while not _store(context, next(numbers), piece):
            pass
    waves = [[node.name for node in plan.nodes] for _, plan in sorted(groups.items())]
    return _Gathered(context.stored_chunks(), waves)


def _store(context: StepContext, number: int, piece: Chunk) -> bool:
    """Store results under a number; False when a finish before us used it."""
    name = f"{base_name(context.task, context.uid)}-finish-r{number}"
    path = core(context.namespace, "configmaps")
    try:
        context.kube.create(path, results_map(name, context.task, context.uid, piece))
    except ConflictError:
        return False
    return True


def _groups(context: StepContext) -> dict[int, GroupPlan]:
    labels = f"{LABEL_WORKFLOW_UID}={context.uid},{LABEL_KIND}=plan"
    plans = (
        GroupPlan.decode(entry["binaryData"])
        for entry in context.kube.list(core(context.namespace, "configmaps"), labels=labels)
    )
    return {plan.group: plan for plan in plans}


def _unrecorded(
    context: StepContext, groups: Mapping[int, GroupPlan], chunks: Sequence[Chunk], *, stopped: bool
) -> list[Chunk]:
    """The results of pods that were let go and that no driver recorded."""
    fresh: list[Chunk] = []
    labels = f"{LABEL_WORKFLOW_UID}={context.uid}"
    for found in context.kube.list(jobs(context.namespace), labels=labels, metadata_only=True):
        metadata = found["metadata"]
        group, attempt = int(metadata["labels"][LABEL_GROUP]), int(metadata["labels"][LABEL_ATTEMPT])
        if group not in groups:
            continue
        plan = groups[group]
        planned = {node.name: node for node in plan.nodes}
        names = read_index(context.kube.get(core(context.namespace, "configmaps", metadata["name"])))
        recorded = {
            name
            for chunk in chunks
            if (chunk.group, chunk.attempt) == (group, attempt)
            for name in chunk.nodes
        }
        reader = EvidenceReader(context, plan)
        nodes: dict[str, NodeResult] = {}
        pods = context.kube.list(
            core(context.namespace, "pods"),
            labels=f"batch.kubernetes.io/job-name={metadata['name']},{labels}",
        )
        for pod in pods:
            node = names[completion_index(pod)]
            if node not in recorded and not is_gated(pod):
                images = reader.results_now(planned[node], pod, why=ENDED_CANCELLED if stopped else "")
                nodes[node] = NodeResult(images, clock.stamp(clock.now()))
        if nodes:
            fresh.append(Chunk(group, attempt, nodes, metadata.get("creationTimestamp") or ""))
    return fresh


def _clean(context: StepContext, *kinds: str) -> None:
    """Delete the Jobs, then these ConfigMaps, so that a straggler's late Job is collected as an orphan."""
    path = jobs(context.namespace)
    labels = f"{LABEL_WORKFLOW_UID}={context.uid}"
    end = time.monotonic() + _CLEAN_SECONDS
    while True:
        page = context.kube.get(path, labelSelector=labels)
        if not page["items"]:
            break
        for item in page["items"]:
            if not item["metadata"].get("deletionTimestamp"):
                context.kube.delete(jobs(context.namespace, item["metadata"]["name"]))
        left = end - time.monotonic()
        if left <= 0:
            say("some Jobs are still being deleted")
            break
        try:
            version = page["metadata"]["resourceVersion"]
            for event in context.kube.watch(path, resource_version=version, seconds=left, labels=labels):
                if event["type"] == "DELETED":
                    break
        except (GoneError, UnavailableError) as error:
            say(f"watching the Jobs: {error.message}")
    context.kube.delete_all(
        core(context.namespace, "configmaps"), labels=f"{labels},{LABEL_KIND} in ({','.join(kinds)})"
    )
