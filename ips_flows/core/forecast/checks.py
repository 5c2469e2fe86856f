"""Preflight checks of a task: nodes that would fail, whether that fails the task by the verdict's rule, and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from ips_flows.core.counts import several
from ips_flows.core.forecast import duration, forecast
from ips_flows.core.forecast.disk import GROWTH, overflows, triggers_garbage_collection
from ips_flows.core.forecast.forecast import Forecast, ForecastInputs, NodeForecast
from ips_flows.core.forecast.issues import Issue, IssueKind
from ips_flows.core.forecast.resolve import PlatformImage, Resolved, Unresolved
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.plan import Plan
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.results import ImageResult, NodeResult
from ips_flows.core.results.verdict import loss_violation


@dataclass(frozen=True, slots=True)
class _Blocker:
    """An issue that makes nodes fail."""

    issue: Issue
    nodes: Sequence[str]


def forecast_of(inputs: ForecastInputs) -> Forecast:
    """Build the forecast, with errors first, then warnings."""
    nodes = forecast.node_forecasts(inputs)
    waiting = list(forecast.to_do(nodes))
    blockers = list(_blockers(inputs, waiting))
    lost = {name for blocker in blockers for name in blocker.nodes}
    fails = would_fail(inputs.plan, lost)
    seconds = forecast.task_seconds(inputs, nodes)
    issues = [replace(blocker.issue, level="error" if fails else "warning") for blocker in blockers]
    issues += inputs.notes
    issues += _unverified(inputs, waiting)
    issues += _of_contents(inputs, nodes, waiting)
    issues += _of_disks(inputs, waiting, lost)
    issues += _of_time(inputs, waiting, seconds)
    return Forecast(
        inputs.request,
        inputs.plan.summary,
        forecast.image_forecasts(inputs, nodes),
        nodes,
        inputs.bandwidth,
        seconds,
        sorted(issues, key=lambda one: one.level),
    )


def would_fail(plan: Plan, lost: Iterable[str]) -> bool:
    """Return whether a task fails if these nodes fail."""
    gone = frozenset(lost)
    at = plan.summary.planned_at
    outcomes = {True: Result.FAILED, False: Result.PULLED}
    waves = [[node.name for node in group.nodes] for group in plan.groups]
    results = {
        name: NodeResult((ImageResult(outcomes[name in gone]),), at) for wave in waves for name in wave
    }
    allowed, deadline = plan.summary.losses_allowed, plan.summary.deadline
    return bool(loss_violation(waves, results, allowed=allowed, deadline=deadline))


def _asked(
    inputs: ForecastInputs, waiting: Sequence[NodeForecast]
) -> Iterator[tuple[str, Resolved | Unresolved | None, Sequence[str]]]:
    """Yield each image with its resolution and the nodes that request it; the worker image comes last."""
    for index, (spec, resolution) in enumerate(zip(inputs.request.images, inputs.resolved, strict=True)):
        yield spec.image, resolution, [node.name for node in waiting if index in node.asked]
    lacking = [node.name for node in waiting if not inputs.node_info[node.name].worker]
    yield inputs.worker_image, inputs.worker, lacking


def _blockers(inputs: ForecastInputs, waiting: Sequence[NodeForecast]) -> Iterator[_Blocker]:
    *asked, worker = _asked(inputs, waiting)
    for one in asked:
        yield from _refused(inputs, *one, "")
    for blocker in _refused(inputs, *worker, "the worker image: "):
        yield replace(blocker, issue=replace(blocker.issue, kind=FailureReason.WORKER_IMAGE))
    pressed = [node.name for node in waiting if inputs.node_info[node.name].pressure]
    if pressed:
        yield _blocker(
            FailureReason.NO_SPACE,
            "the node has DiskPressure, so its kubelet rejects pull pods",
            pressed,
            hint="Free disk space on the node, or exclude it with --exclude-nodes.",
        )
    full = [
        node.name
        for node in waiting
        if node.bytes > (inputs.node_info[node.name].allocatable or node.bytes)
        or ((disk := (inputs.disks or {}).get(node.name)) and overflows(disk, node.bytes))
    ]
    if full:
        yield _blocker(
            FailureReason.NO_SPACE,
            "the compressed images alone do not fit into the node's ephemeral storage",
            full,
            hint="Request fewer images, or select nodes with larger disks.",
        )


def _refused(
    inputs: ForecastInputs,
    image: str,
    resolution: Resolved | Unresolved | None,
    asking: Sequence[str],
    prefix: str,
) -> Iterator[_Blocker]:
    """Yield the blocker of the nodes for which an image does not exist."""
    if isinstance(resolution, Unresolved) and resolution.certain and asking:
        hint = _HINTS.get(resolution.failure, "")
        yield _blocker(resolution.failure, prefix + resolution.message, asking, image=image, hint=hint)
    if isinstance(resolution, Resolved):
        unsupported = [
            name for name in asking if resolution.contents.get(_architecture(inputs, name)) is None
        ]
        if unsupported:
            wanted = ", ".join(sorted({f"linux/{_architecture(inputs, name)}" for name in unsupported}))
            available = ", ".join(map(str, resolution.platforms)) or "no platform"
            message = f"{prefix}no image for {wanted}; available: {available}"
            hint = "Exclude these nodes, or build the image for their platform."
            yield _blocker(FailureReason.WRONG_PLATFORM, message, unsupported, image=image, hint=hint)


_HINTS = {
    FailureReason.NOT_FOUND: "Check the reference.",
    FailureReason.UNAUTHORIZED: "Set --pull-secrets to a Secret that can pull the image.",
    FailureReason.INVALID_IMAGE: "Build and push the image again.",
}


def _unverified(inputs: ForecastInputs, waiting: Sequence[NodeForecast]) -> Iterator[Issue]:
    for image, resolution, names in _asked(inputs, waiting):
        if isinstance(resolution, Unresolved) and not resolution.certain and names:
            message = f"{resolution.failure.value} when checked from this host: {resolution.message}"
            yield _about(IssueKind.UNVERIFIED, message, names, image=image)


def _of_contents(
    inputs: ForecastInputs, nodes: Sequence[NodeForecast], waiting: Sequence[NodeForecast]
) -> Iterator[Issue]:
    for index, (spec, resolution) in enumerate(zip(inputs.request.images, inputs.resolved, strict=True)):
        if not isinstance(resolution, Resolved):
            continue
        fetching = [node for node in waiting if index in node.missing]

        def of(name: str, resolution: Resolved = resolution) -> PlatformImage | None:
            return resolution.contents.get(_architecture(inputs, name))

        unsupported = [node.name for node in fetching if (content := of(node.name)) and content.made_for]
        if unsupported:
            content = of(unsupported[0])
            platform = content.made_for if content else ""
            message = f"the image is built only for {platform}: nodes can pull it, but not run it"
            yield _about(IssueKind.UNSUITED, message, unsupported, image=spec.image)
        elsewhere = max((content.foreign for node in fetching if (content := of(node.name))), default=0)
        if elsewhere:
            message = f"layers stored outside the registry, which were not checked: {elsewhere}"
            yield _about(IssueKind.ELSEWHERE, message, [node.name for node in fetching], image=spec.image)
        if not resolution.platforms and fetching:
            message = "not a container image; a runtime can at most mount it as a volume"
            yield _about(IssueKind.NO_IMAGE, message, [node.name for node in fetching], image=spec.image)
        yield from _stale(inputs, resolution, index, nodes)


def _stale(
    inputs: ForecastInputs, resolution: Resolved, index: int, nodes: Sequence[NodeForecast]
) -> Iterator[Issue]:
    """Yield a warning for nodes that keep other content for a tag than the registry has.

    Nodes of an architecture that was not resolved are not checked: their content may be the registry's.
    """
    spec = inputs.request.images[index]
    if parse_reference(spec.image).pinned or inputs.request.pull_policy_of(index) == "Always":
        return
    known = {resolution.digest, *(content.digest for content in resolution.contents.values() if content)}
    stale = [
        node.name
        for node in nodes
        if index in node.held
        and _architecture(inputs, node.name) in resolution.contents
        and (digest := inputs.node_info[node.name].digests[index])
        and digest not in known
    ]
    if stale:
        yield _about(
            IssueKind.STALE,
            f"the registry now has {resolution.digest[:19]}… for this tag, nodes have other content",
            stale,
            image=spec.image,
            hint="Use --pin or --pull-policy Always to get the same content on all nodes.",
        )


def _of_disks(inputs: ForecastInputs, waiting: Sequence[NodeForecast], lost: set[str]) -> Iterator[Issue]:
    waiting = [node for node in waiting if node.name not in lost and node.bytes]
    if inputs.disks is not None:
        disks = inputs.disks
        unknown = [node.name for node in waiting if disks.get(node.name) is None]
        if unknown:
            yield _about(IssueKind.DISK_UNKNOWN, "the kubelet reported no disk usage", unknown)
        waking = [
            node.name
            for node in waiting
            if (disk := disks.get(node.name)) and triggers_garbage_collection(disk, node.bytes)
        ]
        if waking:
            message = (
                f"with the images (estimated at {GROWTH} times the download size) disk usage reaches the level at"
                " which the kubelet removes unused images"
            )
            hint = "Free disk space, or request fewer images."
            yield _about(IssueKind.IMAGE_COLLECTION, message, waking, hint=hint)
        waiting = [node for node in waiting if disks.get(node.name) is None]
    tight = [
        node.name
        for node in waiting
        if (room := inputs.node_info[node.name].allocatable) and GROWTH * node.bytes > room
    ]
    if tight:
        message = f"the images (estimated at {GROWTH} times the download size) do not fit into the node's ephemeral storage"
        hint = "Use --check-disk to read the free disk space from the kubelets."
        yield _about(IssueKind.DISK_TIGHT, message, tight, hint=hint)


def _of_time(
    inputs: ForecastInputs, waiting: Sequence[NodeForecast], seconds: float | None
) -> Iterator[Issue]:
    if seconds is None:
        return
    window = inputs.plan.summary.window
    largest = max(len(group.nodes) for group in inputs.plan.groups)
    pulling = min(window, largest)

    def takes(node: NodeForecast) -> float:
        return duration.node_seconds(inputs.bandwidth, node.bytes, pulling)

    request = inputs.request
    late = [node.name for node in waiting if takes(node) > request.node_timeout_seconds]
    if late:
        message = f"at this bandwidth the node needs more time than nodeTimeout ({request.node_timeout})"
        yield _about(IssueKind.NODE_TIMEOUT, message, late, hint="Increase --node-timeout.")
    if seconds > request.timeout_seconds:
        message = f"at this bandwidth the task needs more time than timeout ({request.timeout})"
        yield _about(
            IssueKind.TASK_TIMEOUT,
            message,
            (),
            hint="Increase --task-timeout or --batch-size.",
        )
    fed = duration.max_fed_window(fmean(takes(node) for node in waiting))
    if all(node.whole for node in waiting) and pulling > fed:
        message = (
            f"a window of {window} is larger than Kubernetes' controllers can fill with default settings: they create"
            f" about {duration.PODS_A_SECOND} pods per second, which keeps about {several(fed, 'node')} pulling at the same"
            " time"
        )
        yield _about(
            IssueKind.WINDOW, message, (), hint="Use a smaller --batch-size; the task takes no longer."
        )


def _architecture(inputs: ForecastInputs, node: str) -> str:
    return inputs.node_info[node].architecture


def _blocker(
    failure: FailureReason, message: str, nodes: Sequence[str], *, image: str = "", hint: str = ""
) -> _Blocker:
    return _Blocker(replace(_about(failure, message, nodes, image=image, hint=hint), level="error"), nodes)


def _about(
    kind: IssueKind | FailureReason, message: str, nodes: Sequence[str], *, image: str = "", hint: str = ""
) -> Issue:
    return Issue("warning", kind, message, image, len(nodes), nodes[0] if nodes else "", hint)
