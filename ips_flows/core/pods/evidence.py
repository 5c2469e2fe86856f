"""Evidence: what shows that an image is on a node, and why it is not. An exit code alone shows nothing.

Everything here reads stored pods, events and nodes. What events and errors say is read elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ips_flows.core.images.reference import Reference, parse_reference
from ips_flows.core.plan.node import Node
from ips_flows.core.plan.plan import GroupPlan, PlannedNode
from ips_flows.core.pods.container_state import (
    ENDED_CANCELLED,
    ENDED_TIMEOUT,
    ContainerState,
    _digest_of,
    container_states,
    end_reason,
)
from ips_flows.core.pods.pull_errors import PERMANENT, classify
from ips_flows.core.pods.pull_events import PullEvent, parse_events, pulled_event
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.results import MESSAGE_LIMIT, ImageResult

WORKER_CONTAINER = "worker"
# The kubelet's first back-off. A second try comes after it, and later than this it has certainly been made.
_BACK_OFF_SECONDS = 10.0
_SEEN_TWICE_SECONDS = 25.0

_PULL_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "InvalidImageName",
    "ErrImageNeverPull",
)
# The image is there, only the container can't be made from it: no concern of ours.
_NOT_RUNNABLE_REASONS = (
    "CreateContainerError",
    "CreateContainerConfigError",
    "RunContainerError",
    "StartError",
)


def container_name(index: int) -> str:
    """The container that stands for the image with this index."""
    return f"image-{index}"


@dataclass(slots=True)
class FailureTracker:
    """How often a container was seen to fail for good. Kept by a driver, in memory: losing it only delays."""

    _first: dict[tuple[str, str], float] = field(default_factory=dict)
    _tries: dict[tuple[str, str], int] = field(default_factory=dict)
    _last: dict[tuple[str, str], str] = field(default_factory=dict)

    def settled(
        self, pod: Mapping[str, Any], at: float, events: Callable[[], Iterable[Mapping[str, Any]]]
    ) -> bool:
        """Whether nothing more can come of a pod: each container has ended, or fails for good, seen twice.

        `at` is a monotonic time in seconds; `events` gets those of the pod, asked only when a second try may
        have been missed. Call it for every new status of a pod.
        """
        seen = container_states(pod)
        worker = seen.get(WORKER_CONTAINER)
        if worker is not None and not worker.ended:
            names = [WORKER_CONTAINER]
        else:
            names = [entry["name"] for entry in pod["spec"]["containers"]]
        # No short cut: every container must be seen in every status.
        tries = {name: self._tries_of(pod, name, seen.get(name, ContainerState()), at) for name in names}
        if 0 in tries.values():
            return False
        once = [name for name, count in tries.items() if count == 1]
        if any(at - self._first[pod["metadata"]["uid"], name] < _BACK_OFF_SECONDS for name in once):
            return False
        pull_events = parse_events(events()) if once else []
        return all(
            sum(one.count for one in pull_events if one.failed_to_pull(_container_image(pod, name))) >= 2
            for name in once
        )

    def _tries_of(self, pod: Mapping[str, Any], name: str, seen: ContainerState, at: float) -> int:
        """0: something may still come of this container; 1: it failed for good; 2: and that was seen twice."""
        key = (pod["metadata"]["uid"], name)
        if seen.ended or seen.reason in _NOT_RUNNABLE_REASONS:
            return 2
        if seen.reason not in _PULL_REASONS or classify(_words(seen), *_image_names(pod)) not in PERMANENT:
            self._first.pop(key, None)
            return 0
        if seen.reason != self._last.get(key) and seen.reason != "ImagePullBackOff":
            self._tries[key] = self._tries.get(key, 0) + 1
        self._last[key] = seen.reason
        since = self._first.setdefault(key, at)
        return 2 if self._tries.get(key, 0) >= 2 or at - since >= _SEEN_TWICE_SECONDS else 1


def image_results(
    plan: GroupPlan,
    planned: PlannedNode,
    pod: Mapping[str, Any],
    events: Iterable[Mapping[str, Any]],
    node: Callable[[], Node | None],
    *,
    why: str = "",
) -> tuple[ImageResult, ...]:
    """What became of every image in a pod that has ended, or is given up: `why` is then one of ENDED_*.

    `node` reads the pod's node as it is now, if it is there; it is asked once, and only where nothing else tells.
    """
    case = _Evidence(
        plan, planned, pod, parse_events(events), container_states(pod), cache(node), why or end_reason(pod)
    )
    return tuple(case.result(index) for index in range(len(plan.images)))


def shows_image(plan: GroupPlan, pod: Mapping[str, Any]) -> bool:
    """Whether some container of a pod shows that its image is on the node."""
    seen = container_states(pod)
    return any(
        _started_from_it(plan, pod, index, seen.get(container_name(index), ContainerState()))
        for index in range(len(plan.images))
    )


def awaits_pull_event(plan: GroupPlan, pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the kubelet has not yet told of some image that is on the node: its events come a little late."""
    pull_events = parse_events(events)
    seen = container_states(pod)
    return any(
        seen.get(container_name(index), ContainerState()).started
        and pulled_event(parse_reference(image.image), pull_events) is None
        for index, image in enumerate(plan.images)
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """A pod that has ended, with all that speaks for or against its images."""

    plan: GroupPlan
    planned: PlannedNode
    pod: Mapping[str, Any]
    pull_events: Sequence[PullEvent]
    seen: Mapping[str, ContainerState]
    node: Callable[[], Node | None]
    why: str

    def result(self, index: int) -> ImageResult:
        """The first evidence that is found decides."""
        reference = parse_reference(self.plan.images[index].image)
        seen = self.seen.get(container_name(index), ContainerState())
        tries = sum(one.count for one in self.pull_events if one.failed_to_pull(reference))
        digest = _digest_of(seen.image_id) if self.plan.mode == "container" else seen.digest or None
        digest = digest or reference.digest
        event = pulled_event(reference, self.pull_events)
        all_told = event is not None and digest and (event.took is None or event.size is not None)
        node = None if all_told else self.node()
        held = node.image(reference) if node else None
        digest = digest or (held.digest if held else None)
        size = held.bytes if held else None
        if event is not None and event.took is None:
            return ImageResult(Result.PRESENT, digest=digest, tries=tries)
        if event is not None:
            size = event.size if event.size is not None else size
            return ImageResult(Result.PULLED, seconds=event.took, bytes=size, digest=digest, tries=tries)
        if _started_from_it(self.plan, self.pod, index, seen) or (
            held is not None and self._list_counts(index, seen, refused=tries > 0)
        ):
            if index in self.planned.present:
                return ImageResult(Result.PRESENT, digest=digest, tries=tries)
            return ImageResult(Result.PULLED, bytes=size, digest=digest, tries=tries)
        failure, message = self._failure(reference, seen)
        return ImageResult(Result.FAILED, failure.value, message[:MESSAGE_LIMIT], tries=tries)

    def _list_counts(self, index: int, seen: ContainerState, *, refused: bool) -> bool:
        """Whether the node's list may speak for an image: it names removed images, and old ones of a moved tag."""
        image = self.plan.images[index]
        if image.pull_policy == "Always" and index in self.planned.present:
            return False
        if seen.reason in _PULL_REASONS:  # the kubelet's last word
            return self._blames_worker(parse_reference(image.image), _words(seen))
        return seen.reason in _NOT_RUNNABLE_REASONS or seen.started or not refused

    def _blames_worker(self, reference: Reference, words: str) -> bool:
        """Whether what kept a volume-mode container waiting is our own image."""
        return self.plan.mode == "volume" and self.plan.worker_image in words and reference.text not in words

    def _failure(self, reference: Reference, seen: ContainerState) -> tuple[FailureReason, str]:
        """The class of a missing image, and the original message."""
        status = self.pod.get("status") or {}
        own = status.get("reason") or ""
        for failure in (FailureReason.UNSCHEDULABLE, FailureReason.NODE_LOST):
            if own == failure:
                return failure, status.get("message") or ""
        worker = self.seen.get(WORKER_CONTAINER)
        if worker is not None and worker.reason in _PULL_REASONS:
            return FailureReason.WORKER_IMAGE, _words(worker)
        if seen.reason in _PULL_REASONS:
            words = _words(seen)
            if self._blames_worker(reference, words):
                return FailureReason.WORKER_IMAGE, words
            return classify(words, *_spellings(reference)), words
        failed = [one.text for one in self.pull_events if one.failed_to_pull(reference)]
        if failed:
            return classify(failed[-1], *_spellings(reference)), failed[-1]
        if self.why == ENDED_CANCELLED:
            return FailureReason.CANCELLED, "cancelled while it was pulling"
        if self.why == ENDED_TIMEOUT or own == "DeadlineExceeded":
            return FailureReason.TIMEOUT, status.get("message") or "the node's time was up"
        return FailureReason.UNKNOWN, status.get(
            "message"
        ) or own or "the pod ended without a word on this image"


def _started_from_it(plan: GroupPlan, pod: Mapping[str, Any], index: int, seen: ContainerState) -> bool:
    """Whether a container could not have started without its image."""
    if plan.mode == "container":
        return bool(seen.image_id)
    return seen.started and _mounts(pod, index) == plan.images[index].image


def _words(seen: ContainerState) -> str:
    """A waiting container's message, without the kubelet's own frame around the registry's words."""
    text = seen.message
    if text.startswith("Back-off pulling image") and "ErrImagePull: " in text:
        text = text.split("ErrImagePull: ", 1)[1]
    return text or seen.reason


def _mounts(pod: Mapping[str, Any], index: int) -> str:
    """The image volume that the stored pod really has: an old API server drops the field."""
    for volume in pod["spec"].get("volumes") or ():
        if volume["name"] == container_name(index):
            return str((volume.get("image") or {}).get("reference") or "")
    return ""


def _spellings(reference: Reference) -> tuple[str, ...]:
    """How an image is named in errors: by its references, and in the registry's URLs. The longest stand first."""
    manifest = f"{reference.repository}/manifests/{reference.digest or reference.tag or 'latest'}"
    return (reference.canonical, reference.text, manifest, f"{reference.registry}/{reference.repository}")


def _container_image(pod: Mapping[str, Any], name: str) -> Reference:
    """The image that a container stands for: that of its image volume, else its own."""
    spec = pod["spec"]
    for volume in spec.get("volumes") or ():
        if volume["name"] == name and (volume.get("image") or {}).get("reference"):
            return parse_reference(volume["image"]["reference"])
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return parse_reference(next(entry["image"] for entry in containers if entry["name"] == name))


def _image_names(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """The spellings of all images that a pod pulls."""
    spec = pod["spec"]
    written = [(volume.get("image") or {}).get("reference") for volume in spec.get("volumes") or ()]
    written += [
        container["image"] for container in (*(spec.get("initContainers") or ()), *spec["containers"])
    ]
    return tuple(
        name for text in dict.fromkeys(filter(None, written)) for name in _spellings(parse_reference(text))
    )
