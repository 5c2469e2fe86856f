"""Records the results of an attempt's nodes, stores them in chunks, and reports progress."""

from __future__ import annotations

import time

from ips_flows.core import clock
from ips_flows.core.pods.pull_job import results_map
from ips_flows.core.results.attempts import count_by_class
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import FailureLine, GroupProgress, failure_lines
from ips_flows.core.results.results import Chunk, ImageResult, NodeResult, fold, same_for_all
from ips_flows.core.results.stored_results import split
from steps.context import report_progress, say
from steps.drive.attempt import Attempt
from steps.drive.owned_job import OwnedJob
from steps.drive.timings import DriverTimings

_FAILURES_SHOWN = 10


class ResultRecorder:
    """The results of an attempt's nodes, by index. Starts with the results that an earlier driver stored."""

    def __init__(self, attempt: Attempt, job: OwnedJob, timings: DriverTimings) -> None:
        self._attempt = attempt
        self._job = job
        self._timings = timings
        self._results: dict[int, NodeResult] = {}
        # Counted when a node is recorded: each pass reads the counts, and there may be thousands of nodes.
        self.failed = 0  # nodes that lack an image
        self._reached = 0
        self._chunks = 0
        self._before: dict[str, NodeResult] = {}
        self._reached_before = 0
        self._failures: list[FailureLine] = []
        self._progress = ""
        self._progress_at = 0.0
        self._read_stored()
        self._persisted = set(self._results)
        self._persisted_at = time.monotonic()

    def _read_stored(self) -> None:
        """Read the results that earlier drivers and attempts stored."""
        group, number = self._attempt.plan.group, self._attempt.number
        index = {node.name: place for place, node in enumerate(self._attempt.nodes)}
        stored = [chunk for chunk in self._attempt.context.stored_chunks() if chunk.group == group]
        for chunk in stored:
            if chunk.attempt == number:
                self._chunks += 1
                for name, node in chunk.nodes.items():
                    self._set_result(index[name], node)
        earlier = [chunk for chunk in stored if chunk.attempt < number]
        self._before = fold(earlier)
        # An image that a node of the wave holds is not a typo, so the breaker stays closed in a retry.
        reached = {name for chunk in earlier for name, node in chunk.nodes.items() if _reached(node)}
        self._reached_before = len(reached)

    def __contains__(self, index: int) -> bool:
        return index in self._results

    def __len__(self) -> int:
        return len(self._results)

    @property
    def left(self) -> list[int]:
        """The indexes without a result."""
        return [index for index in range(len(self._attempt.nodes)) if index not in self._results]

    @property
    def complete(self) -> bool:
        """Whether every node has a result."""
        return len(self._results) == len(self._attempt.nodes)

    @property
    def reached(self) -> int:
        """The number of nodes with at least one image, including those of earlier attempts."""
        return self._reached_before + self._reached

    def add(self, index: int, images: tuple[ImageResult, ...]) -> None:
        """Record the results of a node, one for each image of the plan in order."""
        self._record(index, NodeResult(images, clock.stamp(clock.now())))

    def add_for_all_images(self, index: int, result: ImageResult) -> None:
        """Record the same result for every image of a node."""
        images = len(self._attempt.plan.images)
        self._record(index, same_for_all(images, result, clock.stamp(clock.now())))

    def add_untried(self, index: int, result: ImageResult) -> None:
        """Record a node that this attempt did not try. Images that an earlier attempt pulled count as present."""
        before = self._before.get(self._attempt.nodes[index].name)
        if before is None:
            self.add_for_all_images(index, result)
        else:
            self.add(index, tuple(image if image.ok else result for image in before.images))

    def _record(self, index: int, result: NodeResult) -> None:
        node = self._attempt.nodes[index].name
        self._set_result(index, result)
        failures = failure_lines(node, result, [image.image for image in self._attempt.plan.images])
        self._failures = [*self._failures, *failures][-_FAILURES_SHOWN:]
        counts = ", ".join(
            f"{count} {kind}"
            for kind in Result
            if (count := sum(image.result is kind for image in result.images))
        )
        say(f"{node}: {counts}")
        for line in failures:
            say(f"{node}: {line.image}: {line.reason}: {line.message}")

    def _set_result(self, index: int, result: NodeResult) -> None:
        before = self._results.get(index)
        if before is not None:  # two drivers stored a result, one after the other
            self.failed -= not before.ok
            self._reached -= _reached(before)
        self._results[index] = result
        self.failed += not result.ok
        self._reached += _reached(result)

    def is_stored(self, index: int) -> bool:
        """Return whether the result of a node is stored, so that its pod is no longer needed."""
        return index in self._persisted

    def persist_when_due(self) -> None:
        """Store new results if the interval since the last store has passed."""
        if time.monotonic() - self._persisted_at >= self._timings.persist:
            self.persist()

    def persist(self) -> None:
        """Store new results."""
        self._persisted_at = time.monotonic()
        fresh = set(self._results) - self._persisted
        if not fresh:
            return
        attempt = self._attempt
        chunk = Chunk(
            attempt.plan.group,
            attempt.number,
            {attempt.nodes[index].name: self._results[index] for index in sorted(fresh)},
            self._job.started,
        )
        for piece in split(chunk):
            name = f"{attempt.name}-r{self._chunks}"
            body = results_map(name, attempt.context.task, attempt.context.uid, piece)
            attempt.context.kube.create(attempt.path("configmaps"), body)
            self._chunks += 1
        self._persisted |= fresh

    def report(self, *, pulling: int, window: int) -> None:
        """Write the progress to the Job's annotation and to Argo. While nodes are left, not in every pass."""
        at = time.monotonic()
        if at - self._progress_at < self._timings.progress and not self.complete:
            return
        progress = GroupProgress(
            group=self._attempt.plan.group,
            attempt=self._attempt.number,
            wave=self._attempt.plan.wave,
            total=len(self._attempt.nodes),
            done=len(self._results) - self.failed,
            pulling=pulling,
            failed=self.failed,
            window=window,
            failures=tuple(self._failures),
            classes=count_by_class(self._results.values()),
            started=self._job.started,
        )
        text = progress.to_json()
        if text == self._progress:
            return
        self._progress, self._progress_at = text, at
        report_progress(progress.done, progress.total)
        self._job.write_progress(progress.model_copy(update={"at": clock.stamp(clock.now())}).to_json())


def _reached(node: NodeResult) -> bool:
    return any(image.ok for image in node.images)
