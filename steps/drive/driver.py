"""drive: runs one attempt of a group. Creates a gated Indexed Job, ungates pods within the window, records results."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from ips_flows.core.constants import ANNOTATION_BATCH_SIZE
from ips_flows.core.counts import several
from ips_flows.core.errors import GoneError, NotFoundError, UnavailableError
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.plan.window import WindowState, breaker_open, job_parallelism, parse_window, ungatable
from ips_flows.core.pods.container_state import ENDED_CANCELLED, ENDED_TIMEOUT, is_terminal
from ips_flows.core.pods.pull_job import completion_index
from ips_flows.core.results.reasons import FailureReason, Result, SkipReason
from ips_flows.core.results.results import FILTER_GROUP, ImageResult, fold
from ips_flows.core.results.verdict import loss_violation
from ips_flows.core.task.workflow_status import is_stopped
from steps.context import EXIT_REPLACE_POD, ReplacePodError, StepContext, is_over, say
from steps.drive.attempt import Attempt
from steps.drive.owned_job import OwnedJob
from steps.drive.pod_cache import PodCache
from steps.drive.pod_events import PodEvents
from steps.drive.pod_tracker import PodTracker, is_pulling
from steps.drive.recorder import ResultRecorder
from steps.drive.throttle import Throttle
from steps.drive.timings import DriverTimings

_TOO_MANY_REQUESTS = 429  # the API server is up: another pod would get the same response


class _StoppedError(Exception):
    """SIGTERM arrived while the driver waited."""


class _Sigterm:
    """Handles SIGTERM: it interrupts a wait; otherwise the driver stops after the current pass."""

    def __init__(self) -> None:
        self.came = False
        self._waiting = False
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self.came = True
        if self._waiting:
            raise _StoppedError

    @contextmanager
    def ends_wait(self) -> Iterator[None]:
        """Raise _StoppedError in this block on SIGTERM, even if SIGTERM arrived before it."""
        self._waiting = True
        try:
            if self.came:
                raise _StoppedError
            yield
        finally:
            self._waiting = False


class Driver:
    """The driver of one attempt. In each pass it reads the pods, ungates as many as the window allows, and waits."""

    def __init__(
        self, attempt: Attempt, workflow: Mapping[str, Any], sigterm: _Sigterm, timings: DriverTimings
    ) -> None:
        self._context = attempt.context
        self._attempt = attempt
        self._plan = attempt.plan
        self._sigterm = sigterm
        self._timings = timings
        self._window = self._requested_window(workflow)
        self._barrier: int | None = None
        self._job = OwnedJob(attempt, timings)
        self._recorder = ResultRecorder(attempt, self._job, timings)
        self._pods = PodCache(attempt, timings)
        self._events = PodEvents(attempt.context, f"{attempt.name}-", timings)
        self._tracker = PodTracker(attempt, self._job, self._recorder, self._events, timings)
        self._throttle = Throttle(timings)
        self._earlier: list[OwnedJob] = []
        self._earlier_until = 0.0

    def run(self) -> int:
        """Run the attempt until it ends. Returns 0 if no node of the group failed, or the failures are allowed."""
        if not self._recorder.complete:
            self._adopt_earlier_jobs()
            self._job.create_or_adopt(self._window)
        # Listed after the Job is adopted, so that its pods carry the new epoch.
        with self._events, self._pods:
            return self._loop()

    def _loop(self) -> int:
        silent_since: float | None = None
        while True:
            try:
                if self._recorder.complete:
                    return self._finish_attempt()
                self._run_pass()
                self._throttle.succeeded()
                silent_since = None
                if not self._recorder.complete:
                    self._wait()
            except (UnavailableError, GoneError) as error:
                at = time.monotonic()
                silent_since = None if error.status == _TOO_MANY_REQUESTS else silent_since or at
                if silent_since is not None and at - silent_since > self._timings.patience:
                    raise
                pause = self._throttle.failed(error)
                say(f"API request failed, trying again in {pause:g} s: {error.message}")
                self._back_off(pause)
            except _StoppedError:
                return self._handle_sigterm()
            if self._sigterm.came:
                return self._handle_sigterm()

    # -- a pass

    def _run_pass(self) -> None:
        """Read Job and pods, and act on what they show."""
        pods = self._pods.list()
        try:
            current = self._job.verify_holder()
        except NotFoundError as error:
            self._handle_missing_job(error)
            return
        if self._attempt.seconds_left() <= 0:
            self._end_at_deadline(self._job.pods())
            return
        gated, pulling = self._tracker.sync(pods)
        self._update_window(current, pulling)
        self._tracker.find_lost(pods, current)
        pulling += self._count_earlier_pulls()
        state = self._window_state(gated, pulling)
        if breaker_open(state) and not pulling:
            self._open_breaker()
        else:
            pulling += self._ungate(gated, ungatable(state))
        self._recorder.persist_when_due()
        self._delete_stored_pods(pods)
        self._recorder.report(pulling=pulling, window=self._window)

    def _adopt_earlier_jobs(self) -> None:
        """Adopt remaining Jobs of earlier attempts, so that no earlier driver ungates their pods."""
        self._earlier = [
            job
            for job in (OwnedJob(one, self._timings) for one in self._attempt.earlier)
            if job.adopt_if_exists()
        ]
        self._earlier_until = time.monotonic() + self._plan.node_timeout + self._timings.earlier_slack

    def _count_earlier_pulls(self) -> int:
        """Return the number of pods of earlier attempts that still pull. They count while such a pod may still run."""
        if time.monotonic() > self._earlier_until:
            self._earlier = []
        pulling = {job: sum(is_pulling(pod) for pod in job.pods()) for job in self._earlier}
        self._earlier = [job for job, count in pulling.items() if count]
        return sum(pulling.values())

    def _handle_missing_job(self, error: NotFoundError) -> None:
        if self._attempt.seconds_left() <= 0:
            self._end_at_deadline([])
            return
        self._tracker.record_awaited()
        self._recorder.persist()  # the pods and their evidence are gone as well
        raise ReplacePodError(f"Job {self._attempt.name} was deleted") from error

    def _end_at_deadline(self, pods: Sequence[Json]) -> None:
        """Record all nodes at the task's deadline. Nodes without evidence of their images have timed out."""
        self._tracker.record_ungated(pods, ENDED_TIMEOUT)
        timeout = ImageResult(Result.FAILED, FailureReason.TIMEOUT, "the task's timeout expired")
        for index in self._recorder.left:
            self._recorder.add_untried(index, timeout)

    def _update_window(self, current: Mapping[str, Any], pulling: int) -> None:
        """Apply a changed window. The Job's parallelism is only raised, never lowered."""
        window = self._requested_window(self._context.kube.get(self._context.path, metadata_only=True))
        if window != self._window:
            say(f"window {self._window} → {window}" if window else f"window {self._window} → 0: paused")
            self._window, self._barrier = window, None
        if self._plan.order == "batch" and self._barrier is None:
            self._barrier = len(self._recorder) + self._tracker.awaited + pulling
        pods = job_parallelism(window, len(self._attempt.nodes)) if window else 0
        if pods > current["spec"]["parallelism"]:
            self._job.raise_parallelism(pods)

    def _requested_window(self, workflow: Mapping[str, Any]) -> int:
        """Return the window in the Workflow's annotation, else the window of the plan."""
        if workflow["metadata"]["uid"] != self._context.uid:
            raise ReplacePodError(f"Workflow {self._context.task} was replaced")
        asked = objects.annotations(workflow).get(ANNOTATION_BATCH_SIZE)
        wanted = None if asked is None else parse_window(asked, self._plan.eligible)
        return self._plan.window if wanted is None else wanted

    def _window_state(self, gated: Mapping[int, Json], pulling: int) -> WindowState:
        return WindowState(
            window=self._window,
            pulling=pulling,
            gated=tuple(gated),
            ended=len(self._recorder),
            reached=self._recorder.reached + self._tracker.awaited_reached,
            barrier=self._barrier,
            awaited=self._tracker.awaited,
        )

    def _ungate(self, gated: Mapping[int, Json], indexes: Sequence[int]) -> int:
        """Ungate pods. Returns the number of pods that still existed."""
        started = 0
        for first in range(0, len(indexes), self._throttle.concurrency):
            if self._sigterm.came:
                break
            some = indexes[first : first + self._throttle.concurrency]
            for pod in self._job.ungate([(gated[index], self._attempt.nodes[index].name) for index in some]):
                self._pods.update(pod)
                started += 1
        return started

    def _delete_stored_pods(self, pods: Iterable[Json]) -> None:
        """Delete pods whose results are stored."""
        stored = (
            pod
            for pod in pods
            if is_terminal(pod)
            and self._recorder.is_stored(completion_index(pod))
            and "deletionTimestamp" not in pod["metadata"]
        )
        self._pods.remove(self._job.delete_in_background(stored, self._throttle.concurrency))

    def _open_breaker(self) -> None:
        say(f"breaker opened: {several(len(self._recorder), 'node')} ended, none with an image")
        for index in self._recorder.left:
            self._recorder.add_for_all_images(index, ImageResult(Result.SKIPPED, SkipReason.BREAKER_OPEN))

    # -- waits

    def _wait(self) -> None:
        """Wait until a pod changes or the next pass is due."""
        rest = self._throttle.rest
        with self._sigterm.ends_wait():
            time.sleep(rest)
            self._pods.wait_for_change(rest if self._tracker.awaited else self._timings.idle)

    def _back_off(self, seconds: float) -> None:
        """Pause before the next request; SIGTERM ends the pause, and the loop handles it."""
        with suppress(_StoppedError), self._sigterm.ends_wait():
            time.sleep(seconds)

    # -- ends

    def _finish_attempt(self) -> int:
        """End an attempt with a result for every node. Returns 0 if no node failed or the failures are allowed."""
        self._recorder.persist()
        self._recorder.report(pulling=0, window=self._window)
        failed = self._recorder.failed
        say(f"{self._plan.wave}: {several(len(self._recorder) - failed, 'node')} done, {failed} failed")
        return 1 if failed and self._losses_fail_group() else 0

    def _handle_sigterm(self) -> int:
        """Stop on SIGTERM: either the task was stopped, or this pod is evicted and another driver takes over."""
        if not is_stopped(self._context.workflow()):
            self._recorder.persist()
            say("this pod is evicted; another driver takes over")
            return EXIT_REPLACE_POD
        self._tracker.record_ungated(self._job.pods(), ENDED_CANCELLED)
        self._recorder.persist()
        self._job.delete()
        say("the task was stopped")
        return 1

    def _losses_fail_group(self) -> bool:
        """Return whether the failed nodes fail the group. Failures are allowed only in the last attempt."""
        left = self._plan.max_retries - self._attempt.number
        if left > 0:
            say(f"retries left: {left} of {self._plan.max_retries}")
            return True
        group = self._plan.group
        chunks = [one for one in self._context.stored_chunks() if FILTER_GROUP < one.group <= group]
        waves: dict[int, set[str]] = {}
        for chunk in chunks:
            waves.setdefault(chunk.group, set()).update(chunk.nodes)
        waves.setdefault(group, set()).update(node.name for node in self._plan.nodes)
        allowed = self._plan.losses_allowed
        results = fold(chunks)
        why = loss_violation(
            [waves[one] for one in sorted(waves)], results, allowed=allowed, deadline=self._plan.deadline
        )
        lost = sum(not node.ok for node in results.values())
        say(why or f"{several(lost, 'node')} lost so far, {allowed} allowed")
        return why is not None


def run(context: StepContext, arguments: Sequence[str], timings: DriverTimings | None = None) -> int:
    """Drive `wave` in attempt number `attempt`."""
    wave, attempt = arguments
    sigterm = _Sigterm()
    workflow = context.workflow()
    if is_over(workflow):
        say("the task was stopped")
        return 1
    driven = Attempt.read_or_create(context, wave, int(attempt))
    return Driver(driven, workflow, sigterm, timings or DriverTimings()).run()
