"""Forecast of a task: the images, bytes and seconds of each node, and issues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ips_flows.core.forecast import duration
from ips_flows.core.forecast.disk import Disk
from ips_flows.core.forecast.issues import Issue
from ips_flows.core.forecast.node_info import NodeInfo
from ips_flows.core.forecast.resolve import Resolved, Unresolved
from ips_flows.core.plan.plan import Plan, PlannedNode
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.core.results.records import PlanSummary

NodeState = Literal["warm", "to do", "skipped"]


@dataclass(frozen=True, slots=True)
class ForecastInputs:
    """Observations of the cluster and of registries.

    `resolved` has the images in the request's order, with None for an image that no node requests. `disks` is None if
    no kubelet was queried, and has None for a node whose kubelet reported no disk.
    """

    request: PrewarmRequest
    plan: Plan
    node_info: Mapping[str, NodeInfo]
    resolved: Sequence[Resolved | Unresolved | None]
    worker_image: str
    worker: Resolved | Unresolved | None
    bandwidth: duration.Bandwidth
    disks: Mapping[str, Disk | None] | None = None
    notes: Sequence[Issue] = ()


@dataclass(frozen=True, slots=True)
class NodeForecast:
    """Forecast of a node.

    `missing` has the indexes of the images that the node would pull, `asked` those of the images that it would request
    from a registry. `bytes` is the known size of the pulls, `saved` the bytes that shared layers save. `whole` is True
    if all sizes are known.
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
    """Forecast of an image. `held` counts the eligible nodes that list it, `missing` those that would pull it."""

    image: str
    held: int
    missing: int
    resolved: Resolved | Unresolved | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast of a task. `seconds` is None if no node would get a pod."""

    request: PrewarmRequest
    plan: PlanSummary
    images: Sequence[ImageForecast]
    nodes: Sequence[NodeForecast]
    bandwidth: duration.Bandwidth
    seconds: float | None
    issues: Sequence[Issue] = field(default=())

    @property
    def bytes(self) -> int:
        """The known bytes that all nodes together would pull."""
        return sum(node.bytes for node in self.nodes)

    @property
    def whole(self) -> bool:
        """Whether the bytes of every missing image are known."""
        return all(node.whole for node in self.nodes)

    @property
    def fails(self) -> bool:
        """Whether the task would fail now."""
        return any(issue.level == "error" for issue in self.issues)


class PullSizes:
    """Computes the bytes that a node would pull: its missing distinct blobs. Nodes that lack the same share one result."""

    def __init__(self, inputs: ForecastInputs) -> None:
        self._inputs = inputs
        self._known: dict[tuple[str, tuple[int, ...], bool], tuple[int, int, bool]] = {}

    def of(self, node_info: NodeInfo, missing: tuple[int, ...]) -> tuple[int, int, bool]:
        """Return the known bytes, the bytes that shared layers save, and whether all sizes are known."""
        key = (node_info.architecture, missing, node_info.worker)
        if key not in self._known:
            self._known[key] = self._count(*key)
        return self._known[key]

    def _count(self, architecture: str, missing: tuple[int, ...], worker: bool) -> tuple[int, int, bool]:  # noqa: FBT001
        resolutions = [self._inputs.resolved[index] for index in missing]
        resolutions += [] if worker else [self._inputs.worker]
        blobs: dict[str, int] = {}
        alone, whole = 0, True
        for resolution in resolutions:
            content = resolution.contents.get(architecture) if isinstance(resolution, Resolved) else None
            if isinstance(resolution, Unresolved) and not resolution.certain:
                whole = False
            if content is not None:
                blobs |= content.blobs
                alone += content.bytes
        size = sum(blobs.values())
        return size, alone - size, whole


def node_forecasts(inputs: ForecastInputs) -> list[NodeForecast]:
    """Return the forecasts of all nodes of the cluster, sorted by name."""
    every = tuple(range(len(inputs.request.images)))
    pull_sizes = PullSizes(inputs)
    found = []
    for name, result in inputs.plan.known.nodes.items():
        skipped = result.skipped
        reason = result.images[0].reason if skipped else ""
        found.append(
            NodeForecast(name, "skipped" if skipped else "warm", reason, held=() if skipped else every)
        )
    for group in inputs.plan.groups:
        for node in group.nodes:
            node_info = inputs.node_info[node.name]
            asked = images_to_ask(inputs.request, node)
            missing = tuple(
                index
                for index in asked
                if index not in node.present or not _same(inputs.resolved[index], node_info, index)
            )
            pull_size = pull_sizes.of(node_info, missing)
            found.append(NodeForecast(node.name, "to do", "", node.present, missing, asked, *pull_size))
    return sorted(found, key=lambda one: one.name)


def images_to_ask(request: PrewarmRequest, node: PlannedNode) -> tuple[int, ...]:
    """Return the indexes of the images that a node with pending pulls requests from a registry."""
    return tuple(
        index
        for index in range(len(request.images))
        if index not in node.present or request.pull_policy_of(index) == "Always"
    )


def image_forecasts(inputs: ForecastInputs, nodes: Sequence[NodeForecast]) -> list[ImageForecast]:
    """Return the forecasts of the request's images, in its order."""
    held, missing = ([0] * len(inputs.request.images) for _ in range(2))
    for node in nodes:
        for index in node.held:
            held[index] += 1
        for index in node.missing:
            missing[index] += 1
    return [
        ImageForecast(spec.image, held[index], missing[index], inputs.resolved[index])
        for index, spec in enumerate(inputs.request.images)
    ]


def task_seconds(inputs: ForecastInputs, nodes: Sequence[NodeForecast]) -> float | None:
    """Return the seconds from the start of the first pull to the end of the last; None if no node gets a pod."""
    if not inputs.plan.groups:
        return None
    sizes = {node.name: node.bytes for node in nodes}
    waves = [[sizes[node.name] for node in group.nodes] for group in inputs.plan.groups]
    return duration.task_seconds(inputs.bandwidth, waves, inputs.plan.summary.window, inputs.request.order)


def to_do(nodes: Sequence[NodeForecast]) -> Iterator[NodeForecast]:
    """Return the nodes that get a pod."""
    return (node for node in nodes if node.state == "to do")


def _same(resolution: Resolved | Unresolved | None, node_info: NodeInfo, index: int) -> bool:
    """Return whether a node has the image that the registry has."""
    return isinstance(resolution, Resolved) and node_info.digests[index] == resolution.digest
