"""The plan of a task: skipped nodes with reasons, warm nodes, and groups of nodes to pull on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from ips_flows.core import clock
from ips_flows.core.errors import PlanError
from ips_flows.core.plan.eligibility import Eligibility, lacks_image_volumes, pod_tolerations, references
from ips_flows.core.plan.node import Node
from ips_flows.core.request.choices import RolloutOrder
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import Mode, PlanSummary, Record, StoredRecord, WaveSummary
from ips_flows.core.results.results import FILTER_GROUP, Chunk, ImageResult, NodeResult, same_for_all
from ips_flows.core.results.stored_results import pack, unpack

_PLAN_KEY = "plan.json.gz"


class PlannedImage(Record):
    """An image of the task, as the pull pods specify it."""

    image: str
    pull_policy: str


class PlannedNode(Record):
    """A node to pull on. `present` has the indexes of the images that the node listed when the plan was made."""

    name: str
    present: tuple[int, ...] = ()


class GroupPlan(StoredRecord):
    """The plan of a group, for its driver. Times are in seconds; `deadline` is RFC 3339 UTC."""

    group: int
    wave: str
    mode: Mode
    window: int
    deadline: str
    node_timeout: int
    images: tuple[PlannedImage, ...]
    pull_secrets: tuple[str, ...]
    tolerations: tuple[dict[str, Any], ...]
    worker_image: str
    losses_allowed: int
    nodes: tuple[PlannedNode, ...]
    eligible: int = 0  # eligible nodes of the whole task; the base of a window in percent
    order: RolloutOrder = "rolling"
    max_retries: int = 0

    def encode(self) -> dict[str, str]:
        """Return the plan as the `binaryData` of the group's ConfigMap."""
        return pack(_PLAN_KEY, self.model_dump(by_alias=True))

    @classmethod
    def decode(cls, binary: Mapping[str, str]) -> Self:
        """Parse the output of `encode`. Raises NewerFormatError if a newer program wrote it."""
        return cls.model_validate(unpack(_PLAN_KEY, binary))


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan: its summary, the groups, and the results that are known before any pod runs."""

    summary: PlanSummary
    groups: Sequence[GroupPlan]
    known: Chunk


def make_plan(
    request: PrewarmRequest,
    nodes: Iterable[Node],
    *,
    worker_image: str,
    started: datetime,
    image_volumes_kept: Callable[[], bool],
) -> Plan:
    """Make the plan: find the skipped nodes, the warm nodes and the nodes to pull on.

    `image_volumes_kept` checks whether the API server stores image volumes; it is called only if every eligible node
    supports them. Raises PlanError if no node is eligible.
    """
    wanted = references(request)
    eligibility = Eligibility(request)
    at = clock.stamp(started)
    known: dict[str, NodeResult] = {}
    skipped: Counter[str] = Counter()
    to_do: list[PlannedNode] = []
    no_volumes: str | None = None
    warm = 0
    for node in nodes:
        reason = eligibility.skip_reason(node)
        if reason is not None:
            skipped[reason.value] += 1
            known[node.name] = same_for_all(len(wanted), ImageResult(Result.SKIPPED, reason.value), at)
            continue
        no_volumes = no_volumes or lacks_image_volumes(node)
        held = [node.image(reference) for reference in wanted]
        policies = [request.pull_policy_of(index) for index in range(len(wanted))]
        if all(image and policy != "Always" for image, policy in zip(held, policies, strict=True)):
            warm += 1
            known[node.name] = NodeResult(
                tuple(ImageResult(Result.PRESENT, digest=image.digest) for image in held if image), at
            )
        else:
            present = tuple(index for index, image in enumerate(held) if image)
            to_do.append(PlannedNode(name=node.name, present=present))
    eligible = warm + len(to_do)
    if not eligible:
        raise PlanError(_nothing_eligible(skipped))
    mode, why = _choose_mode(request, no_volumes, image_volumes_kept)
    deadline = clock.stamp(started + timedelta(seconds=request.timeout_seconds))
    window = resolve_up(request.batch_size, eligible)
    losses = resolve_down(request.max_failed_nodes, eligible)
    to_do.sort(key=lambda node: node.name)
    groups = [
        GroupPlan(
            group=index,
            wave=f"wave-{index + 1}",
            mode=mode,
            window=window,
            deadline=deadline,
            node_timeout=request.node_timeout_seconds,
            images=tuple(
                PlannedImage(image=spec.image, pull_policy=request.pull_policy_of(number))
                for number, spec in enumerate(request.images)
            ),
            pull_secrets=tuple(request.pull_secrets),
            tolerations=tuple(pod_tolerations(request)),
            worker_image=worker_image,
            losses_allowed=losses,
            nodes=tuple(members),
            eligible=eligible,
            order=request.order,
            max_retries=request.max_retries,
        )
        for index, members in enumerate(cut_waves(to_do, request.waves))
    ]
    summary = PlanSummary(
        mode=mode,
        mode_reason=why,
        window=window,
        eligible=eligible,
        warm=warm,
        to_do=len(to_do),
        skipped=dict(sorted(skipped.items())),
        waves=tuple(WaveSummary(name=group.wave, nodes=len(group.nodes)) for group in groups),
        images=tuple(spec.image for spec in request.images),
        priority=request.priority,
        losses_allowed=losses,
        deadline=deadline,
        planned_at=at,
        max_retries=request.max_retries,
        retry_strategy=request.retry_strategy,
        retry_delay=request.retry_delay,
    )
    return Plan(summary, groups, Chunk(FILTER_GROUP, 0, known))


def resolve_up(size: int | str, total: int) -> int:
    """Return a count, or a percentage of a total rounded up; at least 1."""
    return max(1, size if isinstance(size, int) else math.ceil(total * _percent(size) / 100))


def resolve_down(size: int | str, total: int) -> int:
    """Return a count, or a percentage of a total rounded down."""
    return size if isinstance(size, int) else total * _percent(size) // 100


def cut_waves(nodes: Sequence[PlannedNode], waves: Sequence[int | str]) -> list[Sequence[PlannedNode]]:
    """Split nodes at cumulative sizes. The nodes beyond the last size are one more wave. Empty waves are removed."""
    ends = [min(len(nodes), resolve_up(size, len(nodes))) for size in waves] + [len(nodes)]
    groups: list[Sequence[PlannedNode]] = []
    start = 0
    for end in ends:
        if end > start:
            groups.append(nodes[start:end])
            start = end
    return groups


def _percent(size: str) -> int:
    return int(size.removesuffix("%"))


def _choose_mode(
    request: PrewarmRequest, no_volumes: str | None, kept: Callable[[], bool]
) -> tuple[Mode, str]:
    always = [
        spec.image for number, spec in enumerate(request.images) if request.pull_policy_of(number) == "Always"
    ]
    if always:
        return "container", f"{always[0]} has the pull policy Always"
    if no_volumes:
        return "container", no_volumes
    if not kept():
        return "container", "the API server does not store image volumes"
    return "volume", "every eligible node mounts image volumes"


def _nothing_eligible(skipped: Mapping[str, int]) -> str:
    if not skipped:
        return "no eligible node: the cluster has no nodes"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
    return f"no eligible node among {sum(skipped.values())}: {reasons}"
