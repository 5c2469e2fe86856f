"""Completes the results of a task: for pods that no driver recorded, and for nodes that were never reached."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from ips_flows.core import clock
from ips_flows.core.constants import LABEL_ATTEMPT, LABEL_GROUP, LABEL_KIND, LABEL_WORKFLOW_UID, base_name
from ips_flows.core.errors import ConflictError
from ips_flows.core.plan.plan import GroupPlan
from ips_flows.core.pods.container_state import ENDED_CANCELLED
from ips_flows.core.pods.pull_job import completion_index, is_gated, read_index, results_map
from ips_flows.core.results.reasons import Result, SkipReason
from ips_flows.core.results.results import FINISH_GROUP, Chunk, ImageResult, NodeResult, fold, same_for_all
from ips_flows.core.results.stored_results import split
from ips_flows.kube.client import core, jobs
from steps.context import StepContext
from steps.drive.evidence_reader import EvidenceReader


@dataclass(frozen=True, slots=True)
class TaskResults:
    """All results of a task, and the names of the nodes of each wave."""

    chunks: Sequence[Chunk]
    waves: Sequence[Collection[str]]


def complete_results(context: StepContext, *, stopped: bool) -> TaskResults:
    """Store the missing results of a task, and return all its results.

    Results are missing for pods that no driver recorded, and for nodes that were never reached.
    """
    groups = _group_plans(context)
    chunks = context.stored_chunks()
    fresh = _unrecorded_chunks(context, groups, chunks, stopped=stopped)
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
        while not _store_chunk(context, next(numbers), piece):
            pass
    waves = [[node.name for node in plan.nodes] for _, plan in sorted(groups.items())]
    return TaskResults(context.stored_chunks(), waves)


def _store_chunk(context: StepContext, number: int, piece: Chunk) -> bool:
    """Store results under a number. Returns False if an earlier finish used this number."""
    name = f"{base_name(context.task, context.uid)}-finish-r{number}"
    path = core(context.namespace, "configmaps")
    try:
        context.kube.create(path, results_map(name, context.task, context.uid, piece))
    except ConflictError:
        return False
    return True


def _group_plans(context: StepContext) -> dict[int, GroupPlan]:
    labels = f"{LABEL_WORKFLOW_UID}={context.uid},{LABEL_KIND}=plan"
    plans = (
        GroupPlan.decode(entry["binaryData"])
        for entry in context.kube.list(core(context.namespace, "configmaps"), labels=labels)
    )
    return {plan.group: plan for plan in plans}


def _unrecorded_chunks(
    context: StepContext, groups: Mapping[int, GroupPlan], chunks: Sequence[Chunk], *, stopped: bool
) -> list[Chunk]:
    """Return the results of ungated pods that no driver recorded."""
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
                images = reader.current_results(planned[node], pod, why=ENDED_CANCELLED if stopped else None)
                nodes[node] = NodeResult(images, clock.stamp(clock.now()))
        if nodes:
            fresh.append(Chunk(group, attempt, nodes, metadata.get("creationTimestamp") or ""))
    return fresh
