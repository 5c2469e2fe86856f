"""The forecast: what a task would bring to which nodes, how many bytes and how long that takes, and what stands against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ips_flows.core.forecast import duration as speed
from ips_flows.core.forecast.disk import Disk
from ips_flows.core.forecast.issues import Concern
from ips_flows.core.forecast.node_info import Facts
from ips_flows.core.forecast.resolve import Offer, Refusal
from ips_flows.core.plan.plan import Plan, PlannedNode
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.core.results.records import PlanSummary

NodeState = Literal["warm", "to do", "skipped"]


@dataclass(frozen=True, slots=True)
class Survey:
    """All that was seen. `offers` are those of the images in the request's order, None where nobody had to be asked.

    `disks` is None where it was not asked for them, and has None for a node that did not tell.
    """

    request: PrewarmRequest
    plan: Plan
    facts: Mapping[str, Facts]
    offers: Sequence[Offer | Refusal | None]
    worker_image: str
    worker: Offer | Refusal | None
    pace: speed.Pace
    disks: Mapping[str, Disk | None] | None = None
    notes: Sequence[Concern] = ()


@dataclass(frozen=True, slots=True)
class NodeForecast:
    """A node. `missing` are the indexes of the images that it would fetch, `asked` of those that it would ask for.

    `bytes` is what it would fetch, as far as it is known, `saved` how much more that would be if images shared no
    layers; `whole` is whether all of it is known.
    """

    name: str
    state: NodeState
    reason: str = ""
    held: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    asked: tuple[int, ...] = ()
    bytes: int = 0
    saved: int = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ImageForecast:
    """An image. `held` counts the eligible nodes that list it, `missing` those that would fetch it."""

    image: str
    held: int
    missing: int
    offer: Offer | Refusal | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would happen. `seconds` is None where nothing would be fetched."""

    request: PrewarmRequest
    plan: PlanSummary
    images: Sequence[ImageForecast]
    nodes: Sequence[NodeForecast]
    pace: speed.Pace
    seconds: float | None
    concerns: Sequence[Concern] = field(default=())

    @property
    def bytes(self) -> int:
        """What all nodes together would fetch, as far as it is known."""
        return sum(node.bytes for node in self.nodes)

    @property
    def whole(self) -> bool:
        """Whether the bytes are known of every image that some node lacks."""
        return all(node.whole for node in self.nodes)

    @property
    def fails(self) -> bool:
        """Whether the task would fail, as things stand."""
        return any(concern.level == "error" for concern in self.concerns)


class Weights:
    """The bytes of a node: the distinct blobs of what it lacks, counted once for all nodes that lack the same."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._known: dict[tuple[str, tuple[int, ...], bool], tuple[int, int, bool]] = {}

    def of(self, facts: Facts, missing: tuple[int, ...]) -> tuple[int, int, bool]:
        """The bytes as far as they are known, those that shared layers save, and whether all are known."""
        key = (facts.architecture, missing, facts.worker)
        if key not in self._known:
            self._known[key] = self._counted(*key)
        return self._known[key]

    def _counted(self, architecture: str, missing: tuple[int, ...], worker: bool) -> tuple[int, int, bool]:  # noqa: FBT001
        offers = [self._survey.offers[index] for index in missing]
        offers += [] if worker else [self._survey.worker]
        blobs: dict[str, int] = {}
        alone, whole = 0, True
        for offer in offers:
            content = offer.contents.get(architecture) if isinstance(offer, Offer) else None
            if isinstance(offer, Refusal) and not offer.certain:
                whole = False
            if content is not None:
                blobs |= content.blobs
                alone += content.bytes
        size = sum(blobs.values())
        return size, alone - size, whole


def node_forecasts(survey: Survey) -> list[NodeForecast]:
    """Every node of the cluster, by name."""
    every = tuple(range(len(survey.request.images)))
    weights = Weights(survey)
    found = []
    for name, result in survey.plan.known.nodes.items():
        skipped = result.skipped
        reason = result.images[0].reason if skipped else ""
        found.append(
            NodeForecast(name, "skipped" if skipped else "warm", reason, held=() if skipped else every)
        )
    for group in survey.plan.groups:
        for node in group.nodes:
            facts = survey.facts[node.name]
            asked = asks(survey.request, node)
            missing = tuple(
                index
                for index in asked
                if index not in node.present or not _same(survey.offers[index], facts, index)
            )
            weight = weights.of(facts, missing)
            found.append(NodeForecast(node.name, "to do", "", node.present, missing, asked, *weight))
    return sorted(found, key=lambda one: one.name)


def asks(request: PrewarmRequest, node: PlannedNode) -> tuple[int, ...]:
    """The indexes of the images that a node to do asks a registry for."""
    return tuple(
        index
        for index in range(len(request.images))
        if index not in node.present or request.pull_policy_of(index) == "Always"
    )


def image_forecasts(survey: Survey, nodes: Sequence[NodeForecast]) -> list[ImageForecast]:
    """Every image of the request, in its order."""
    held, missing = ([0] * len(survey.request.images) for _ in range(2))
    for node in nodes:
        for index in node.held:
            held[index] += 1
        for index in node.missing:
            missing[index] += 1
    return [
        ImageForecast(spec.image, held[index], missing[index], survey.offers[index])
        for index, spec in enumerate(survey.request.images)
    ]


def task_seconds(survey: Survey, nodes: Sequence[NodeForecast]) -> float | None:
    """How long the task would take, from the first pull to the last; None where nothing is to do."""
    if not survey.plan.groups:
        return None
    sizes = {node.name: node.bytes for node in nodes}
    waves = [[sizes[node.name] for node in group.nodes] for group in survey.plan.groups]
    return speed.task_seconds(survey.pace, waves, survey.plan.summary.window, survey.request.order)


def to_do(nodes: Sequence[NodeForecast]) -> Iterator[NodeForecast]:
    """The nodes that get a pod."""
    return (node for node in nodes if node.state == "to do")


def _same(offer: Offer | Refusal | None, facts: Facts, index: int) -> bool:
    """Whether a node that asks again finds that it holds what the registry has."""
    return isinstance(offer, Offer) and facts.digests[index] == offer.digest
