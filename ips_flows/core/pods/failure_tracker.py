"""Detect pull pods whose remaining containers fail permanently, so that a driver can end them early."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ips_flows.core.images.reference import Reference, parse_reference
from ips_flows.core.pods.container_state import (
    NOT_RUNNABLE_REASONS,
    PULL_REASONS,
    WORKER_CONTAINER,
    ContainerState,
    container_states,
    waiting_message,
)
from ips_flows.core.pods.pull_errors import PERMANENT, classify, error_spellings
from ips_flows.core.pods.pull_events import parse_events

# The kubelet's first back-off ends after the first value. The second try has certainly been made by the second value.
_BACK_OFF_SECONDS = 10.0
_SEEN_TWICE_SECONDS = 25.0


@dataclass(slots=True)
class FailureTracker:
    """Counts the permanent failures seen of each container.

    A driver keeps the tracker in memory: without it, pods only end later.
    """

    _first: dict[tuple[str, str], float] = field(default_factory=dict)
    _tries: dict[tuple[str, str], int] = field(default_factory=dict)
    _last: dict[tuple[str, str], str] = field(default_factory=dict)

    def is_final(
        self, pod: Mapping[str, Any], at: float, events: Callable[[], Iterable[Mapping[str, Any]]]
    ) -> bool:
        """Return whether a pod can pull no further image: each container has ended or failed permanently twice.

        `at` is a monotonic time in seconds. `events` reads the pod's events; it is called only if a second try may
        have been missed. Call this for every new status of a pod.
        """
        seen = container_states(pod)
        worker = seen.get(WORKER_CONTAINER)
        if worker is not None and not worker.ended:
            names = [WORKER_CONTAINER]
        else:
            names = [entry["name"] for entry in pod["spec"]["containers"]]
        # Do not stop at the first 0: every container must be counted in every status.
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
        """Return 0 if the container may still start, 1 after one permanent failure, 2 after two or if it ended."""
        key = (pod["metadata"]["uid"], name)
        if seen.ended or seen.reason in NOT_RUNNABLE_REASONS:
            return 2
        if (
            seen.reason not in PULL_REASONS
            or classify(waiting_message(seen), *_image_names(pod)) not in PERMANENT
        ):
            self._first.pop(key, None)
            return 0
        if seen.reason != self._last.get(key) and seen.reason != "ImagePullBackOff":
            self._tries[key] = self._tries.get(key, 0) + 1
        self._last[key] = seen.reason
        since = self._first.setdefault(key, at)
        return 2 if self._tries.get(key, 0) >= 2 or at - since >= _SEEN_TWICE_SECONDS else 1


def _container_image(pod: Mapping[str, Any], name: str) -> Reference:
    """Return the image that a container pulls: that of its image volume, else the container's own."""
    spec = pod["spec"]
    for volume in spec.get("volumes") or ():
        if volume["name"] == name and (volume.get("image") or {}).get("reference"):
            return parse_reference(volume["image"]["reference"])
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return parse_reference(next(entry["image"] for entry in containers if entry["name"] == name))


def _image_names(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the spellings of all images that a pod pulls."""
    spec = pod["spec"]
    written = [(volume.get("image") or {}).get("reference") for volume in spec.get("volumes") or ()]
    written += [
        container["image"] for container in (*(spec.get("initContainers") or ()), *spec["containers"])
    ]
    return tuple(
        name
        for text in dict.fromkeys(filter(None, written))
        for name in error_spellings(parse_reference(text))
    )
