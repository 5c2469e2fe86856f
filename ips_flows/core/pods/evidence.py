"""The result of each image of a pull pod, decided from evidence in the stored pod, its events and its node.

An exit code alone is not evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ips_flows.core.images.reference import Reference, parse_reference
from ips_flows.core.plan.node import Node
from ips_flows.core.plan.plan import GroupPlan, PlannedNode
from ips_flows.core.pods.container_state import (
    ENDED_CANCELLED,
    ENDED_TIMEOUT,
    NOT_RUNNABLE_REASONS,
    PULL_REASONS,
    WORKER_CONTAINER,
    ContainerState,
    container_name,
    container_states,
    digest_of,
    end_reason,
    waiting_message,
)
from ips_flows.core.pods.pull_errors import classify, error_spellings
from ips_flows.core.pods.pull_events import PullEvent, parse_events, pulled_event
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.results import MESSAGE_LIMIT, ImageResult


def image_results(
    plan: GroupPlan,
    planned: PlannedNode,
    pod: Mapping[str, Any],
    events: Iterable[Mapping[str, Any]],
    node: Callable[[], Node | None],
    *,
    why: str | None = None,
) -> tuple[ImageResult, ...]:
    """Return the results of all images of an ended pod. `why` is one of ENDED_* for a pod that is ended early.

    `node` reads the pod's node as it is now, or returns None if the node no longer exists. It is called at most once,
    and only if the pod and its events are not sufficient.
    """
    case = _Evidence(
        plan, planned, pod, parse_events(events), container_states(pod), cache(node), why or end_reason(pod)
    )
    return tuple(case.result(index) for index in range(len(plan.images)))


def shows_image(plan: GroupPlan, pod: Mapping[str, Any]) -> bool:
    """Return whether at least one container of a pod shows that its image is on the node."""
    seen = container_states(pod)
    return any(
        _started_from_it(plan, pod, index, seen.get(container_name(index), ContainerState()))
        for index in range(len(plan.images))
    )


def awaits_pull_event(plan: GroupPlan, pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether an image is on the node but its pull event is still missing: events can arrive late."""
    pull_events = parse_events(events)
    seen = container_states(pod)
    return any(
        seen.get(container_name(index), ContainerState()).started
        and pulled_event(parse_reference(image.image), pull_events) is None
        for index, image in enumerate(plan.images)
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """An ended pod and all evidence for its images."""

    plan: GroupPlan
    planned: PlannedNode
    pod: Mapping[str, Any]
    pull_events: Sequence[PullEvent]
    seen: Mapping[str, ContainerState]
    node: Callable[[], Node | None]
    why: str | None

    def result(self, index: int) -> ImageResult:
        """Return the result of one image. The first evidence found decides."""
        reference = parse_reference(self.plan.images[index].image)
        seen = self.seen.get(container_name(index), ContainerState())
        tries = sum(one.count for one in self.pull_events if one.failed_to_pull(reference))
        digest = digest_of(seen.image_id) if self.plan.mode == "container" else seen.digest or None
        digest = digest or reference.digest
        event = pulled_event(reference, self.pull_events)
        complete = event is not None and digest and (event.took is None or event.size is not None)
        node = None if complete else self.node()
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
        """Return whether the node's image list is evidence.

        The list may contain images that were removed, and the previous image of a tag that has moved.
        """
        image = self.plan.images[index]
        if image.pull_policy == "Always" and index in self.planned.present:
            return False
        if seen.reason in PULL_REASONS:  # the kubelet's latest status
            return self._blames_worker(parse_reference(image.image), waiting_message(seen))
        return seen.reason in NOT_RUNNABLE_REASONS or seen.started or not refused

    def _blames_worker(self, reference: Reference, message: str) -> bool:
        """Return whether a container in mode volume waits for the worker image, not for the image to pull."""
        return (
            self.plan.mode == "volume" and self.plan.worker_image in message and reference.text not in message
        )

    def _failure(self, reference: Reference, seen: ContainerState) -> tuple[FailureReason, str]:
        """Return the failure class of a missing image, and the original message."""
        status = self.pod.get("status") or {}
        own = status.get("reason") or ""
        for failure in (FailureReason.UNSCHEDULABLE, FailureReason.NODE_LOST):
            if own == failure:
                return failure, status.get("message") or ""
        worker = self.seen.get(WORKER_CONTAINER)
        if worker is not None and worker.reason in PULL_REASONS:
            return FailureReason.WORKER_IMAGE, waiting_message(worker)
        if seen.reason in PULL_REASONS:
            message = waiting_message(seen)
            if self._blames_worker(reference, message):
                return FailureReason.WORKER_IMAGE, message
            return classify(message, *error_spellings(reference)), message
        failed = [one.text for one in self.pull_events if one.failed_to_pull(reference)]
        if failed:
            return classify(failed[-1], *error_spellings(reference)), failed[-1]
        if self.why == ENDED_CANCELLED:
            return FailureReason.CANCELLED, "cancelled during the pull"
        if self.why == ENDED_TIMEOUT or own == "DeadlineExceeded":
            return FailureReason.TIMEOUT, status.get("message") or "the pull did not finish in time"
        return FailureReason.UNKNOWN, status.get(
            "message"
        ) or own or "the pod ended without a result for this image"


def _started_from_it(plan: GroupPlan, pod: Mapping[str, Any], index: int, seen: ContainerState) -> bool:
    """Return whether the container's state proves that its image is on the node."""
    if plan.mode == "container":
        return bool(seen.image_id)
    return seen.started and _mounts(pod, index) == plan.images[index].image


def _mounts(pod: Mapping[str, Any], index: int) -> str:
    """Return the reference of the image volume in the stored pod; '' if an old API server dropped the field."""
    for volume in pod["spec"].get("volumes") or ():
        if volume["name"] == container_name(index):
            return str((volume.get("image") or {}).get("reference") or "")
    return ""
