"""Tracks the pods of an attempt: records those that have ended, and ends those that can bring no further image."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ips_flows.core import clock
from ips_flows.core.k8s.objects import Json, condition
from ips_flows.core.pods.container_state import (
    ENDED_CANCELLED,
    ENDED_SETTLED,
    ENDED_TIMEOUT,
    end_reason,
    is_terminal,
)
from ips_flows.core.pods.evidence import shows_image
from ips_flows.core.pods.failure_tracker import FailureTracker
from ips_flows.core.pods.pull_job import completion_index, is_gated
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.results import ImageResult
from steps.drive.attempt import Attempt
from steps.drive.evidence_reader import EvidenceReader
from steps.drive.owned_job import OwnedJob
from steps.drive.pod_events import PodEvents
from steps.drive.recorder import ResultRecorder
from steps.drive.timings import DriverTimings

_HANGS = {
    ENDED_SETTLED: "the pod can't pull any more images",
    ENDED_TIMEOUT: "the node timeout has passed, and a pull still hangs",
    ENDED_CANCELLED: "the task was stopped",
}


@dataclass(slots=True)
class _Memory:
    """State that a driver keeps only in memory: its loss causes delays, but no wrong results."""

    failures: FailureTracker = field(default_factory=FailureTracker)
    ungated_at: dict[int, float] = field(default_factory=dict)  # index → first seen without its gate
    node_checked: dict[int, float] = field(default_factory=dict)
    deadline_seen: dict[int, float] = field(default_factory=dict)  # index → first seen with its deadline set


class PodTracker:
    """Tracks the pods of one attempt, pass by pass."""

    def __init__(
        self,
        attempt: Attempt,
        job: OwnedJob,
        recorder: ResultRecorder,
        events: PodEvents,
        timings: DriverTimings,
    ) -> None:
        self._attempt = attempt
        self._job = job
        self._timings = timings
        self._recorder = recorder
        self._reader = EvidenceReader(attempt.context, attempt.plan, timings)
        self._events = events
        self._memory = _Memory()
        self._awaited: dict[int, Json] = {}  # pods that had ended in the last pass and have no result yet

    @property
    def awaited(self) -> int:
        """The number of pods that had ended in the last pass and have no result yet."""
        return len(self._awaited)

    @property
    def awaited_reached(self) -> int:
        """The number of awaited pods that show an image on their node."""
        return sum(shows_image(self._attempt.plan, pod) for pod in self._awaited.values())

    def sync(self, pods: Iterable[Json]) -> tuple[dict[int, Json], int]:
        """Record ended pods and end pods that must end. Returns the gated pods by index, and the number that pull."""
        gated: dict[int, Json] = {}
        pulling = 0
        before, self._awaited = self._awaited, {}
        at = time.monotonic()
        for pod in pods:
            index = completion_index(pod)
            if is_terminal(pod):
                if index not in self._recorder:
                    self._record_ended(index, pod)
                    if index not in self._recorder:
                        self._awaited[index] = pod
            elif is_gated(pod):
                gated[index] = pod
            else:
                pulling += 1
                self._memory.ungated_at.setdefault(index, at)
                self._check_pulling(index, pod, at)
        for index in [index for index in gated if index in self._recorder]:
            # Its Job was recreated after its result was stored.
            self._job.mark_failed(gated.pop(index), "Recorded", "the result of this node is already recorded")
        for index in before.keys() - self._awaited.keys():
            self._record_now(index, before[index])  # deleted by another client
        return gated, pulling

    def record_awaited(self) -> None:
        """Record the ended pods from the current evidence, since no more will arrive."""
        for index, pod in self._awaited.items():
            self._record_now(index, pod)
        self._awaited = {}

    def find_lost(self, pods: Iterable[Json], current: Mapping[str, Any]) -> None:
        """Record the indexes that the Job has counted but whose pods are gone: another client deleted them."""
        status = current.get("status") or {}
        counted = set(_indexes(status.get("failedIndexes") or "")) | set(
            _indexes(status.get("completedIndexes") or "")
        )
        missing = [
            index
            for index in counted - {completion_index(pod) for pod in pods}
            if index not in self._recorder
        ]
        there = {completion_index(pod) for pod in self._job.pods()} if missing else set()
        for index in missing:
            if index in there:  # the watch has not reported it yet
                continue
            lost = self._reader.silence_reason(self._attempt.nodes[index].name)
            failure = FailureReason.NODE_LOST if lost else FailureReason.UNKNOWN
            message = lost or "its pull pod was deleted by another client"
            self._recorder.add_for_all_images(index, ImageResult(Result.FAILED, failure, message))

    def record_ungated(self, pods: Sequence[Json], why: str) -> None:
        """Record every ungated pod from the current evidence; `why` is one of ENDED_*."""
        for pod in pods:
            index = completion_index(pod)
            if index not in self._recorder and not is_gated(pod):
                node = self._attempt.nodes[index]
                self._recorder.add(index, self._reader.current_results(node, pod, why=why))

    def _record_now(self, index: int, pod: Json) -> None:
        if index not in self._recorder:
            self._recorder.add(index, self._reader.current_results(self._attempt.nodes[index], pod, why=None))

    def _record_ended(self, index: int, pod: Json) -> None:
        images = self._reader.final_results(self._attempt.nodes[index], pod, self._events)
        if images is not None:
            self._recorder.add(index, images)

    def _check_pulling(self, index: int, pod: Json, at: float) -> None:
        """End a pulling pod that can pull no further image, or whose timeout has passed."""
        why = end_reason(pod)
        if why:
            # A kubelet never aborts a pull. While a pull hangs, it does not apply the pod's deadline either.
            if at - self._memory.deadline_seen.setdefault(index, at) >= self._timings.pod_end:
                self._job.mark_failed(pod, "DeadlineExceeded", _HANGS[why])
        elif not pod["spec"].get("nodeName"):
            if at - self._memory.ungated_at[index] >= self._timings.unbound:
                self._job.mark_failed(pod, FailureReason.UNSCHEDULABLE, _unschedulable_message(pod))
        elif self._memory.failures.is_final(pod, at, lambda: self._events.for_pod(pod["metadata"]["uid"])):
            self._job.set_deadline(pod, ENDED_SETTLED)
        elif self._seconds_on_node(index, pod, at) > self._attempt.plan.node_timeout:
            self._job.set_deadline(pod, ENDED_TIMEOUT)
        elif at - self._memory.node_checked.setdefault(index, at) >= self._timings.node_check:
            self._check_node(index, pod, at)

    def _check_node(self, index: int, pod: Json, at: float) -> None:
        """End a pod whose kubelet stopped reporting, since that kubelet will not end it."""
        self._memory.node_checked[index] = at
        silent = self._reader.silence_reason(pod["spec"]["nodeName"])
        if silent:
            self._job.mark_failed(pod, FailureReason.NODE_LOST, silent)

    def _seconds_on_node(self, index: int, pod: Mapping[str, Any], at: float) -> float:
        """Return the seconds since the kubelet started the pod, else since it was first seen ungated."""
        started = pod["status"].get("startTime")
        if not started:
            return at - self._memory.ungated_at[index]
        return (clock.now() - clock.parse(started)).total_seconds()


def is_pulling(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod is ungated and has not ended."""
    return not is_terminal(pod) and not is_gated(pod)


def _unschedulable_message(pod: Mapping[str, Any]) -> str:
    scheduled = condition(pod, "PodScheduled")
    return "no scheduler has handled the pod" if scheduled is None else scheduled.get("message") or ""


def _indexes(text: str) -> Iterator[int]:
    """Parse completion indexes of a Job's status: `1,3-5` → 1, 3, 4, 5."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
