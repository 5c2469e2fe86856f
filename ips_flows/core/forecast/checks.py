"""What stands against a task: nodes that would fail, by the very rule that the verdict uses, and what may go wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from ips_flows.core.forecast import duration as speed
from ips_flows.core.forecast import forecast as fc
from ips_flows.core.forecast.disk import GROWTH, overflows, wakes_collection
from ips_flows.core.forecast.forecast import Forecast, NodeForecast, Survey
from ips_flows.core.forecast.issues import Concern
from ips_flows.core.forecast.resolve import Content, Offer, Refusal
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.plan import Plan
from ips_flows.core.results.records import unbearable
from ips_flows.core.results.results import Failure, ImageResult, NodeResult, Result


@dataclass(frozen=True, slots=True)
class _Doom:
    """Nodes that would fail, and why."""

    concern: Concern
    nodes: Sequence[str]


def judge(survey: Survey) -> Forecast:
    """The forecast of what was seen: errors first, then warnings."""
    nodes = fc.node_forecasts(survey)
    waiting = list(fc.to_do(nodes))
    dooms = list(_dooms(survey, waiting))
    lost = {name for doom in dooms for name in doom.nodes}
    fails = would_fail(survey.plan, lost)
    seconds = fc.task_seconds(survey, nodes)
    concerns = [replace(doom.concern, level="error" if fails else "warning") for doom in dooms]
    concerns += survey.notes
    concerns += _unverified(survey, waiting)
    concerns += _of_contents(survey, nodes, waiting)
    concerns += _of_disks(survey, waiting, lost)
    concerns += _of_time(survey, waiting, seconds)
    return Forecast(
        survey.request,
        survey.plan.summary,
        fc.image_forecasts(survey, nodes),
        nodes,
        survey.pace,
        seconds,
        sorted(concerns, key=lambda one: one.level),
    )


def would_fail(plan: Plan, lost: Iterable[str]) -> bool:
    """Whether a task that loses these nodes fails."""
    gone = frozenset(lost)
    at = plan.summary.planned_at
    outcomes = {True: Result.FAILED, False: Result.PULLED}
    waves = [[node.name for node in group.nodes] for group in plan.groups]
    results = {
        name: NodeResult((ImageResult(outcomes[name in gone]),), at) for wave in waves for name in wave
    }
    allowed, deadline = plan.summary.losses_allowed, plan.summary.deadline
    return bool(unbearable(waves, results, allowed=allowed, deadline=deadline))


def _asked(
    survey: Survey, waiting: Sequence[NodeForecast]
) -> Iterator[tuple[str, Offer | Refusal | None, Sequence[str]]]:
    """Each image, the worker's last, with what is offered and the nodes that ask for it."""
    for index, (spec, offer) in enumerate(zip(survey.request.images, survey.offers, strict=True)):
        yield spec.image, offer, [node.name for node in waiting if index in node.asked]
    lacking = [node.name for node in waiting if not survey.facts[node.name].worker]
    yield survey.worker_image, survey.worker, lacking


def _dooms(survey: Survey, waiting: Sequence[NodeForecast]) -> Iterator[_Doom]:
    *asked, worker = _asked(survey, waiting)
    for one in asked:
        yield from _refused(survey, *one, "")
    for doom in _refused(survey, *worker, "the worker image: "):
        yield replace(doom, concern=replace(doom.concern, kind=Failure.WORKER_IMAGE.value))
    pressed = [node.name for node in waiting if survey.facts[node.name].pressure]
    if pressed:
        yield _doom(
            Failure.NO_SPACE,
            "the node is under DiskPressure, so its kubelet takes no pull pod",
            pressed,
            mend="Free disk on it, or leave it out: --exclude-nodes.",
        )
    full = [
        node.name
        for node in waiting
        if node.bytes > (survey.facts[node.name].allocatable or node.bytes)
        or ((disk := (survey.disks or {}).get(node.name)) and overflows(disk, node.bytes))
    ]
    if full:
        yield _doom(
            Failure.NO_SPACE,
            "the compressed images alone are more than the node's ephemeral storage has room for",
            full,
            mend="Take fewer images, or nodes with larger disks.",
        )


def _refused(
    survey: Survey, image: str, offer: Offer | Refusal | None, asking: Sequence[str], prefix: str
) -> Iterator[_Doom]:
    """The nodes that ask for an image in vain."""
    if isinstance(offer, Refusal) and offer.certain and asking:
        mend = _MENDS.get(offer.failure, "")
        yield _doom(offer.failure, prefix + offer.message, asking, image=image, mend=mend)
    if isinstance(offer, Offer):
        alien = [name for name in asking if offer.contents.get(_architecture(survey, name)) is None]
        if alien:
            wanted = ", ".join(sorted({f"linux/{_architecture(survey, name)}" for name in alien}))
            there = ", ".join(map(str, offer.platforms)) or "nothing"
            message = f"{prefix}it is there for {there}, not for {wanted}"
            mend = "Leave these nodes out, or build the image for them."
            yield _doom(Failure.WRONG_PLATFORM, message, alien, image=image, mend=mend)


_MENDS = {
    Failure.NOT_FOUND: "Check the reference.",
    Failure.UNAUTHORIZED: "Name a Secret that may pull it: --pull-secrets.",
    Failure.INVALID_IMAGE: "Build and push the image anew.",
}


def _unverified(survey: Survey, waiting: Sequence[NodeForecast]) -> Iterator[Concern]:
    for image, offer, names in _asked(survey, waiting):
        if isinstance(offer, Refusal) and not offer.certain and names:
            message = f"{offer.failure.value}, as seen from here: {offer.message}"
            yield _about("Unverified", message, names, image=image)


def _of_contents(
    survey: Survey, nodes: Sequence[NodeForecast], waiting: Sequence[NodeForecast]
) -> Iterator[Concern]:
    for index, (spec, offer) in enumerate(zip(survey.request.images, survey.offers, strict=True)):
        if not isinstance(offer, Offer):
            continue
        fetching = [node for node in waiting if index in node.missing]

        def of(name: str, offer: Offer = offer) -> Content | None:
            return offer.contents.get(_architecture(survey, name))

        alien = [node.name for node in fetching if (content := of(node.name)) and content.made_for]
        if alien:
            content = of(alien[0])
            message = f"it is made for {content.made_for if content else ''} alone: nodes may fetch it, but can't run it"
            yield _about("Unsuited", message, alien, image=spec.image)
        elsewhere = max((content.elsewhere for node in fetching if (content := of(node.name))), default=0)
        if elsewhere:
            message = (
                f"{elsewhere} of its layers come from another place than the registry, which was not asked"
            )
            yield _about("Elsewhere", message, [node.name for node in fetching], image=spec.image)
        if not offer.platforms and fetching:
            message = "it is no container image; runtimes mount it as a volume at best"
            yield _about("NoImage", message, [node.name for node in fetching], image=spec.image)
        yield from _stale(survey, offer, index, nodes)


def _stale(survey: Survey, offer: Offer, index: int, nodes: Sequence[NodeForecast]) -> Iterator[Concern]:
    """Nodes whose content of a tag is another one than the registry's, and stays so.

    Content for an architecture that nobody asked for may be the registry's: it is not judged.
    """
    spec = survey.request.images[index]
    if parse_reference(spec.image).pinned or survey.request.pull_policy_of(index) == "Always":
        return
    known = {offer.digest, *(content.digest for content in offer.contents.values() if content)}
    stale = [
        node.name
        for node in nodes
        if index in node.held
        and _architecture(survey, node.name) in offer.contents
        and (digest := survey.facts[node.name].digests[index])
        and digest not in known
    ]
    if stale:
        yield _about(
            "Stale",
            f"the registry has {offer.digest[:19]}… under it now, nodes hold another content",
            stale,
            image=spec.image,
            mend="--pin, or --pull-policy Always, brings all nodes to the same.",
        )


def _of_disks(survey: Survey, waiting: Sequence[NodeForecast], lost: set[str]) -> Iterator[Concern]:
    waiting = [node for node in waiting if node.name not in lost and node.bytes]
    if survey.disks is not None:
        disks = survey.disks
        silent = [node.name for node in waiting if disks.get(node.name) is None]
        if silent:
            yield _about("DiskUnknown", "the kubelet told nothing of its disk", silent)
        waking = [
            node.name
            for node in waiting
            if (disk := disks.get(node.name)) and wakes_collection(disk, node.bytes)
        ]
        if waking:
            message = (
                f"compressed and unpacked (taken as {GROWTH} times the download) the images pass the mark at which"
                " the kubelet removes images that no pod uses"
            )
            yield _about("ImageCollection", message, waking, mend="Free disk, or take fewer images.")
        waiting = [node for node in waiting if disks.get(node.name) is None]
    tight = [
        node.name
        for node in waiting
        if (room := survey.facts[node.name].allocatable) and GROWTH * node.bytes > room
    ]
    if tight:
        message = f"compressed and unpacked (taken as {GROWTH} times the download) the images need more than its ephemeral storage"
        yield _about("DiskTight", message, tight, mend="--check-disk asks the kubelets what is really free.")


def _of_time(survey: Survey, waiting: Sequence[NodeForecast], seconds: float | None) -> Iterator[Concern]:
    if seconds is None:
        return
    window = survey.plan.summary.window
    largest = max(len(group.nodes) for group in survey.plan.groups)
    pulling = min(window, largest)

    def takes(node: NodeForecast) -> float:
        return speed.node_seconds(survey.pace, node.bytes, pulling)

    request = survey.request
    late = [node.name for node in waiting if takes(node) > request.node_timeout_seconds]
    if late:
        message = f"at this bandwidth the node needs longer than nodeTimeout, which is {request.node_timeout}"
        yield _about("NodeTimeout", message, late, mend="Give it more: --node-timeout.")
    if seconds > request.timeout_seconds:
        message = f"at this bandwidth the task needs longer than timeout, which is {request.timeout}"
        yield _about(
            "TaskTimeout", message, (), mend="Give it more: --task-timeout, or a larger --batch-size."
        )
    fed = speed.feedable(fmean(takes(node) for node in waiting))
    if all(node.whole for node in waiting) and pulling > fed:
        message = (
            f"a window of {window} is more than stock controllers can feed: they make about"
            f" {speed.PODS_A_SECOND} pods a second, which keeps about {fed} nodes pulling at once"
        )
        yield _about("Window", message, (), mend="A smaller one takes no longer.")


def _architecture(survey: Survey, node: str) -> str:
    return survey.facts[node].architecture


def _doom(failure: Failure, message: str, nodes: Sequence[str], *, image: str = "", mend: str = "") -> _Doom:
    return _Doom(replace(_about(failure.value, message, nodes, image=image, mend=mend), level="error"), nodes)


def _about(kind: str, message: str, nodes: Sequence[str], *, image: str = "", mend: str = "") -> Concern:
    return Concern("warning", kind, message, image, len(nodes), nodes[0] if nodes else "", mend)
