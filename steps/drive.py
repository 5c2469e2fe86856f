"""drive: works one attempt of one group: a gated Indexed Job, let go node by node, judged by evidence."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from ips_flows import clock
from ips_flows.conventions import (
    ANNOTATION_BATCH_SIZE,
    ANNOTATION_EPOCH,
    ANNOTATION_HOLDER,
    ANNOTATION_PROGRESS,
    LABEL_WORKFLOW_UID,
    attempt_name,
    group_name,
)
from ips_flows.errors import ConflictError, GoneError, InvalidError, NotFoundError, UnavailableError
from ips_flows.evidence import (
    ENDED_CANCELLED,
    ENDED_SETTLED,
    ENDED_TIMEOUT,
    Sightings,
    is_terminal,
    why_ended,
)
from ips_flows.jobgroup import (
    config_map,
    end_bound,
    end_unbound,
    index_data,
    index_of,
    is_gated,
    job,
    owner,
    pod_epoch,
    read_index,
    results_map,
    take_over,
    task_labels,
    ungate,
)
from ips_flows.kube import Json, core, jobs
from ips_flows.plan import GroupPlan, PlannedNode
from ips_flows.report import FailureLine, GroupProgress, failure_lines, unbearable
from ips_flows.results import FILTER_GROUP, Chunk, Failure, ImageResult, NodeResult, Result, Skip, fold, split
from ips_flows.retries import by_class
from ips_flows.window import Standing, breaker_open, parallelism, resized, startable
from steps.footing import (
    EXIT_LOST,
    Footing,
    LostFootingError,
    is_over,
    is_stopped,
    report_progress,
    say,
    start,
)
from steps.witness import PodWitness, stored_chunks

_PERSIST_SECONDS = 30.0
_PROGRESS_SECONDS = 2.0
_UNBOUND_SECONDS = 60.0
_NODE_CHECK_SECONDS = 15.0
_END_SECONDS = 5.0  # how long a kubelet may take to end a pod that was told to
_PASS_SECONDS = 0.2  # between two passes, so that a burst of changes is one pass
_IDLE_SECONDS = 2.0  # how long a pass may be awaited when nothing changes
_PATIENCE_SECONDS = 120.0  # without an answer of the API, then another pod may try
_NET_SECONDS = 10  # how much longer the Job lives: a net that must not forestall our own end
_FAILURES_SHOWN = 10
_HANGS = {
    ENDED_SETTLED: "nothing more could come of it",
    ENDED_TIMEOUT: "the node's time was up, and a pull still hangs",
    ENDED_CANCELLED: "the task was stopped",
}


class _StoppedError(Exception):
    """SIGTERM came while the driver waited."""


@dataclass(slots=True)
class _Memory:
    """What a driver may forget: losing it delays, and falsifies nothing."""

    sightings: Sightings = field(default_factory=Sightings)
    let_go: dict[int, float] = field(default_factory=dict)  # index → first seen without its gate
    node_checked: dict[int, float] = field(default_factory=dict)
    told_to_end: dict[int, float] = field(default_factory=dict)  # index → first seen told so


class Driver:
    """One life of the driver of one attempt."""

    def __init__(self, footing: Footing, wave: str, attempt: int) -> None:
        self._footing = footing
        self._kube = footing.kube
        self._attempt = attempt
        self._group = int(wave.removeprefix("wave-")) - 1
        self._name = attempt_name(footing.task, footing.uid, self._group, attempt)
        self._me = os.environ.get("HOSTNAME") or socket.gethostname()
        self._memory = _Memory()
        self._results: dict[int, NodeResult] = {}
        self._persisted: set[int] = set()
        self._chunks = 0
        self._persisted_at = time.monotonic()
        self._progress_at = 0.0
        self._progress = ""
        self._failures: list[FailureLine] = []
        self._stopping = False
        self._waiting = False
        self._plan: GroupPlan
        self._nodes: list[PlannedNode]
        self._window = 0
        self._barrier: int | None = None
        self._reached_before = 0
        self._started = clock.stamp(clock.now())
        self._witness: PodWitness

    def run(self) -> int:
        """Work the attempt to its end: 0 when no node of the group fails any more, or its losses are allowed."""
        signal.signal(signal.SIGTERM, self._terminate)
        workflow = self._footing.workflow()
        if is_over(workflow):
            say("the task was stopped")
            return 1
        plan_map = self._own_map(group_name(self._footing.task, self._footing.uid, self._group))
        self._plan = GroupPlan.decode(plan_map["binaryData"])
        self._witness = PodWitness(self._footing, self._plan)
        self._window = self._wanted_window(workflow)
        self._nodes = self._take_nodes(plan_map)
        self._read_stored()
        if self._left():
            self._take_job(plan_map)
        return self._loop()

    # -- taking the attempt up

    def _own_map(self, name: str) -> Json:
        """A ConfigMap of this task: its name holds but six digits of the task's uid, its label all."""
        found = self._kube.get(self._path("configmaps", name))
        if found["metadata"]["labels"].get(LABEL_WORKFLOW_UID) != self._footing.uid:
            raise LostFootingError(f"ConfigMap {name} belongs to another task")
        return found

    def _take_nodes(self, plan_map: Json) -> list[PlannedNode]:
        """The nodes of this attempt by index, as they were written down before its Job existed."""
        planned = {node.name: node for node in self._plan.nodes}
        try:
            index = self._own_map(self._name)
        except NotFoundError:
            done = {
                name
                for chunk in stored_chunks(self._footing)
                if chunk.group == self._group and chunk.attempt < self._attempt
                for name, node in chunk.nodes.items()
                if node.ok
            }
            names = [node.name for node in self._plan.nodes if node.name not in done]
            index = self._kube.create(
                self._path("configmaps"),
                config_map(
                    self._name,
                    labels=self._labels("index"),
                    owner_reference=_owned_by(plan_map),
                    data=index_data(names),
                ),
            )
        return [planned[name] for name in read_index(index)]

    def _read_stored(self) -> None:
        """What a previous life recorded is not done again."""
        index = {node.name: number for number, node in enumerate(self._nodes)}
        reached = set()
        for chunk in stored_chunks(self._footing):
            if chunk.group == self._group and chunk.attempt < self._attempt:
                reached |= {name for name, node in chunk.nodes.items() if _reached(node)}
            if (chunk.group, chunk.attempt) == (self._group, self._attempt):
                self._chunks += 1
                self._results.update({index[name]: node for name, node in chunk.nodes.items()})
        self._persisted = set(self._results)
        # A wave that had images somewhere is no typo: its breaker stays shut when it is tried again.
        self._reached_before = len(reached)

    def _take_job(self, plan_map: Json) -> None:
        """Create the attempt's Job, or adopt it: then its epoch is ours, and so are the pods still gated.

        Past the deadline none is created, but one that is there is adopted, so that its end is recorded.
        """
        if self._seconds_left() <= 0:
            with suppress(NotFoundError):
                self._adopt()
            return
        body = job(
            self._plan,
            self._name,
            labels=self._labels("pull"),
            owner_reference=_owned_by(plan_map),
            nodes=len(self._nodes),
            seconds_left=int(self._seconds_left()) + _NET_SECONDS,
            holder=self._me,
            window=self._window,
        )
        try:
            made = self._kube.create(jobs(self._footing.namespace), body)
        except ConflictError:
            self._adopt()
        else:
            self._started = made["metadata"]["creationTimestamp"]
            say(f"Job {self._name}: {len(self._nodes)} nodes, at most {self._window} at once")

    def _adopt(self) -> None:
        epoch = self._take_epoch()
        say(f"Job {self._name}: adopted in epoch {epoch}")
        for pod in self._pods()[0]:
            if is_gated(pod) and pod_epoch(pod) != epoch:
                self._patch_pod(pod, take_over(pod, epoch))

    def _take_epoch(self) -> str:
        """Become the Job's holder in an epoch of our own, unless another driver does at the same time."""
        path = jobs(self._footing.namespace, self._name)
        first = ""
        while True:
            metadata = self._kube.get(path)["metadata"]
            if metadata["labels"].get(LABEL_WORKFLOW_UID) != self._footing.uid:
                raise LostFootingError(f"Job {self._name} belongs to another task")
            now = metadata["annotations"][ANNOTATION_EPOCH]
            first = first or now
            if now != first:
                raise LostFootingError(f"Job {self._name} was taken over in epoch {now}")
            epoch = str(int(now) + 1)
            annotations = {ANNOTATION_HOLDER: self._me, ANNOTATION_EPOCH: epoch}
            patch = {"resourceVersion": metadata["resourceVersion"], "annotations": annotations}
            try:
                self._kube.patch(path, {"metadata": patch})
            except ConflictError:
                continue  # the Job controller counts its pods there
            return epoch

    # -- the loop

    def _loop(self) -> int:
        silent_since: float | None = None
        while self._left():
            try:
                version = self._pass()
                silent_since = None
                if self._left():
                    self._wait(version)
            except (UnavailableError, GoneError) as error:
                at = time.monotonic()
                silent_since = silent_since or at
                if at - silent_since > _PATIENCE_SECONDS:
                    raise
                say(f"the API does not answer, trying again: {error.message}")
                self._back_off()
            except _StoppedError:
                return self._stop()
            if self._stopping:
                return self._stop()
        self._finish_up()
        failed = sum(not node.ok for node in self._results.values())
        say(f"{self._plan.wave}: {len(self._results) - failed} nodes done, {failed} failed")
        return 1 if failed and self._losses_spoil() else 0

    def _losses_spoil(self) -> bool:
        """Whether the group fails with the nodes that it lost; retries are spent before losses are allowed."""
        left = self._plan.max_retries - self._attempt
        if left > 0:
            say(f"{left} of {self._plan.max_retries} retries left")
            return True
        chunks = [one for one in stored_chunks(self._footing) if FILTER_GROUP < one.group <= self._group]
        waves: dict[int, set[str]] = {}
        for chunk in chunks:
            waves.setdefault(chunk.group, set()).update(chunk.nodes)
        waves.setdefault(self._group, set()).update(node.name for node in self._plan.nodes)
        allowed = self._plan.losses_allowed
        results = fold(chunks)
        why = unbearable(
            [waves[group] for group in sorted(waves)], results, allowed=allowed, deadline=self._plan.deadline
        )
        lost = sum(not node.ok for node in results.values())
        say(why or f"{lost} nodes lost so far, {allowed} allowed")
        return bool(why)

    def _pass(self) -> str:
        """One look and what follows from it; returns the resourceVersion of the look."""
        pods, version = self._pods()
        try:
            current = self._kube.get(jobs(self._footing.namespace, self._name))
        except NotFoundError as error:
            return self._without_job(version, error)
        holder = current["metadata"]["annotations"].get(ANNOTATION_HOLDER)
        if holder != self._me:
            raise LostFootingError(f"Job {self._name} is driven by {holder} now")
        self._started = current["metadata"].get("creationTimestamp") or self._started
        if self._seconds_left() <= 0:
            self._give_up(pods, ENDED_TIMEOUT, Failure.TIMEOUT, "the task's time was up")
            return version
        gated, pulling = self._look_at(pods)
        self._resize(current, pulling)
        self._find_lost(pods, current)
        standing = self._standing(gated, pulling)
        if breaker_open(standing) and not pulling:
            self._open_breaker()
        else:
            pulling += self._let_go(gated, startable(standing))
        self._persist_when_due(pods)
        self._show(pulling)
        return version

    def _without_job(self, version: str, error: NotFoundError) -> str:
        if self._seconds_left() <= 0:
            self._give_up([], ENDED_TIMEOUT, Failure.TIMEOUT, "the task's time was up")
            return version
        self._persist()  # the pods that showed it are gone as well
        raise LostFootingError(f"Job {self._name} is gone") from error

    def _look_at(self, pods: Sequence[Json]) -> tuple[dict[int, Json], int]:
        """Record what has ended, end what must; returns the gated pods by index, and how many pull."""
        gated: dict[int, Json] = {}
        pulling = 0
        at = time.monotonic()
        for pod in pods:
            index = index_of(pod)
            if is_terminal(pod):
                if index not in self._results:
                    self._witnessed(index, pod)
            elif is_gated(pod):
                gated[index] = pod
            else:
                pulling += 1
                self._memory.let_go.setdefault(index, at)
                self._watch_over(index, pod, at)
        for index in [index for index in gated if index in self._results]:
            # Its Job was made anew after its result was stored: it has nothing more to do.
            self._fail_unbound(gated.pop(index), "Recorded", "this node's result was recorded before")
        return gated, pulling

    def _witnessed(self, index: int, pod: Json, why: str = "") -> None:
        images = self._witness.results(self._nodes[index], pod, why=why)
        if images is not None:
            self._record(index, images)

    def _watch_over(self, index: int, pod: Json, at: float) -> None:
        """End a pod that pulls when nothing more can come of it."""
        why = why_ended(pod)
        if why:
            # A kubelet never breaks off a pull: while one hangs, it does not even see the pod's deadline.
            if at - self._memory.told_to_end.setdefault(index, at) >= _END_SECONDS:
                self._fail_unbound(pod, "DeadlineExceeded", _HANGS[why])
        elif not pod["spec"].get("nodeName"):
            if at - self._memory.let_go[index] >= _UNBOUND_SECONDS:
                self._fail_unbound(pod, Failure.UNSCHEDULABLE, _unschedulable_message(pod))
        elif self._memory.sightings.settled(pod, at, lambda: self._witness.events(pod)):
            self._end_bound(pod, ENDED_SETTLED)
        elif self._age(index, pod, at) > self._plan.node_timeout:
            self._end_bound(pod, ENDED_TIMEOUT)
        elif at - self._memory.node_checked.setdefault(index, at) >= _NODE_CHECK_SECONDS:
            self._check_node(index, pod, at)

    def _check_node(self, index: int, pod: Json, at: float) -> None:
        """A silent kubelet will never end its pod, so we do."""
        self._memory.node_checked[index] = at
        silent = self._witness.silent(pod["spec"]["nodeName"])
        if silent:
            self._fail_unbound(pod, Failure.NODE_LOST, silent)

    def _end_bound(self, pod: Json, why: str) -> None:
        with suppress(NotFoundError):  # someone else was quicker
            self._kube.patch(self._path("pods", pod["metadata"]["name"]), end_bound(pod, why))

    def _fail_unbound(self, pod: Json, reason: str, message: str) -> None:
        with suppress(NotFoundError):
            self._kube.patch(
                self._path("pods", pod["metadata"]["name"]) + "/status",
                end_unbound(reason, message),
                kind="strategic",
            )

    def _find_lost(self, pods: Sequence[Json], current: Mapping[str, Any]) -> None:
        """Indexes that the Job has counted although their pods are gone: someone deleted them."""
        status = current.get("status") or {}
        counted = set(_indexes(status.get("failedIndexes") or "")) | set(
            _indexes(status.get("completedIndexes") or "")
        )
        for index in counted - {index_of(pod) for pod in pods} - set(self._results):
            lost = self._witness.silent(self._nodes[index].name)
            failure = Failure.NODE_LOST if lost else Failure.UNKNOWN
            message = lost or "its pull pod was deleted by someone else"
            self._record(index, (ImageResult(Result.FAILED, failure, message),) * len(self._plan.images))

    def _resize(self, current: Mapping[str, Any], pulling: int) -> None:
        """Take in a window that was changed meanwhile. The Job's parallelism only ever rises."""
        window = self._wanted_window(self._kube.get(self._footing.path, metadata_only=True))
        if window != self._window:
            say(f"window {self._window} → {window}" if window else f"window {self._window} → 0: paused")
            self._window, self._barrier = window, None
        if self._plan.order == "batch" and self._barrier is None:
            self._barrier = len(self._results) + pulling
        pods = parallelism(window, len(self._nodes)) if window else 0
        if pods > current["spec"]["parallelism"]:
            self._kube.patch(jobs(self._footing.namespace, self._name), {"spec": {"parallelism": pods}})

    def _wanted_window(self, workflow: Mapping[str, Any]) -> int:
        """The window that the task is to have now; the plan's, where nobody asked for another."""
        if workflow["metadata"]["uid"] != self._footing.uid:
            raise LostFootingError(f"Workflow {self._footing.task} was replaced")
        asked = (workflow["metadata"].get("annotations") or {}).get(ANNOTATION_BATCH_SIZE)
        wanted = None if asked is None else resized(asked, self._plan.eligible)
        return self._plan.window if wanted is None else wanted

    def _standing(self, gated: Mapping[int, Json], pulling: int) -> Standing:
        return Standing(
            window=self._window,
            pulling=pulling,
            gated=tuple(gated),
            ended=len(self._results),
            reached=self._reached_before + sum(_reached(node) for node in self._results.values()),
            barrier=self._barrier,
        )

    def _let_go(self, gated: Mapping[int, Json], indexes: Sequence[int]) -> int:
        """Ungate pods; a pod that another driver took over answers 422."""
        started = 0
        for index in indexes:
            if self._stopping:
                break
            started += self._patch_pod(gated[index], ungate(gated[index], self._nodes[index].name))
        return started

    def _patch_pod(self, pod: Json, patch: list[Json]) -> bool:
        try:
            self._kube.patch(self._path("pods", pod["metadata"]["name"]), patch, kind="json")
        except NotFoundError:
            return False
        except InvalidError as error:
            raise LostFootingError(f"Job {self._name} was taken over: {error.message}") from error
        return True

    def _open_breaker(self) -> None:
        say(f"the breaker opened: {len(self._results)} nodes ended and no image is on any of them")
        for index in self._left():
            self._record(index, (ImageResult(Result.SKIPPED, Skip.BREAKER_OPEN),) * len(self._plan.images))

    # -- recording

    def _record(self, index: int, images: tuple[ImageResult, ...]) -> None:
        node = self._nodes[index].name
        result = NodeResult(images, clock.stamp(clock.now()))
        self._results[index] = result
        names = [image.image for image in self._plan.images]
        failures = failure_lines(node, result, names)
        self._failures = [*self._failures, *failures][-_FAILURES_SHOWN:]
        counts = ", ".join(
            f"{count} {kind}" for kind in Result if (count := sum(image.result is kind for image in images))
        )
        say(f"{node}: {counts}")
        for line in failures:
            say(f"{node}: {line.image}: {line.reason}: {line.message}")

    def _persist_when_due(self, pods: Sequence[Json]) -> None:
        if time.monotonic() - self._persisted_at < _PERSIST_SECONDS:
            return
        self._persist()
        for pod in pods:
            if is_terminal(pod) and index_of(pod) in self._persisted:
                self._kube.delete(self._path("pods", pod["metadata"]["name"]))

    def _persist(self) -> None:
        self._persisted_at = time.monotonic()
        fresh = set(self._results) - self._persisted
        if not fresh:
            return
        chunk = Chunk(
            self._group,
            self._attempt,
            {self._nodes[index].name: self._results[index] for index in sorted(fresh)},
            self._started,
        )
        for piece in split(chunk):
            body = results_map(f"{self._name}-r{self._chunks}", self._footing.task, self._footing.uid, piece)
            self._kube.create(self._path("configmaps"), body)
            self._chunks += 1
        self._persisted |= fresh

    def _show(self, pulling: int) -> None:
        """The annotation that others watch, and Argo's progress; at most every 2 s."""
        failed = sum(not node.ok for node in self._results.values())
        progress = GroupProgress(
            group=self._group,
            attempt=self._attempt,
            wave=self._plan.wave,
            total=len(self._nodes),
            done=len(self._results) - failed,
            pulling=pulling,
            failed=failed,
            window=self._window,
            failures=tuple(self._failures),
            classes=by_class(self._results.values()),
            started=self._started,
        )
        text = progress.to_json()
        at = time.monotonic()
        if text == self._progress or (at - self._progress_at < _PROGRESS_SECONDS and self._left()):
            return
        self._progress, self._progress_at = text, at
        report_progress(progress.done, progress.total)
        stamped = progress.model_copy(update={"at": clock.stamp(clock.now())}).to_json()
        try:
            self._kube.patch(
                jobs(self._footing.namespace, self._name),
                {"metadata": {"annotations": {ANNOTATION_PROGRESS: stamped}}},
            )
        except NotFoundError:
            say("the Job is gone, its progress is not shown any more")

    # -- ends

    def _give_up(self, pods: Sequence[Json], why: str, failure: Failure, message: str) -> None:
        """Record every node that is left: what is there counts, the rest failed for this reason."""
        for pod in pods:
            if index_of(pod) not in self._results and not is_gated(pod):
                self._record(index_of(pod), self._witness.now(self._nodes[index_of(pod)], pod, why=why))
        for index in self._left():
            self._record(index, (ImageResult(Result.FAILED, failure, message),) * len(self._plan.images))

    def _stop(self) -> int:
        """SIGTERM: the task was stopped, or only this pod is to go."""
        if not is_stopped(self._footing.workflow()):
            self._persist()
            say("this pod is to go: the next driver takes over")
            return EXIT_LOST
        pods, _ = self._pods()
        for pod in pods:
            index = index_of(pod)
            if index not in self._results and not is_gated(pod):
                self._record(index, self._witness.now(self._nodes[index], pod, why=ENDED_CANCELLED))
        self._persist()
        self._kube.delete(jobs(self._footing.namespace, self._name))
        say("the task was stopped")
        return 1

    def _finish_up(self) -> None:
        self._persist()
        self._show(0)

    def _wait(self, version: str) -> None:
        """Until a pod changes, or the next look is due."""
        seconds = _PASS_SECONDS if self._witness.expecting else _IDLE_SECONDS
        with self._interruptible():
            time.sleep(_PASS_SECONDS)
            for event in self._kube.watch(
                self._path("pods"),
                resource_version=version,
                seconds=max(1.0, seconds),
                labels=self._selector(),
            ):
                if event["type"] != "BOOKMARK":
                    return

    def _back_off(self) -> None:
        """Pause before the API is asked again; SIGTERM ends it, and is seen by the loop."""
        with suppress(_StoppedError), self._interruptible():
            time.sleep(_IDLE_SECONDS)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Inside, SIGTERM ends a wait at once; elsewhere it is seen after the pass."""
        self._waiting = True
        try:
            if self._stopping:
                raise _StoppedError
            yield
        finally:
            self._waiting = False

    def _terminate(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._waiting:
            raise _StoppedError

    # -- small things

    def _left(self) -> list[int]:
        return [index for index in range(len(self._nodes)) if index not in self._results]

    def _seconds_left(self) -> float:
        return (clock.parse(self._plan.deadline) - clock.now()).total_seconds()

    def _age(self, index: int, pod: Mapping[str, Any], at: float) -> float:
        """For how long the node has had the pod: by its kubelet, or since it was seen to be let go."""
        started = pod["status"].get("startTime")
        if not started:
            return at - self._memory.let_go[index]
        return (clock.now() - clock.parse(started)).total_seconds()

    def _pods(self) -> tuple[list[Json], str]:
        pods: list[Json] = []
        version = ""
        for page in self._kube.pages(self._path("pods"), labels=self._selector()):
            version = version or page["metadata"]["resourceVersion"]
            pods += page["items"]
        return pods, version

    def _selector(self) -> str:
        return f"batch.kubernetes.io/job-name={self._name},{LABEL_WORKFLOW_UID}={self._footing.uid}"

    def _labels(self, kind: str) -> Json:
        return task_labels(self._footing.task, self._footing.uid, kind, self._group, self._attempt)

    def _path(self, kind: str, name: str = "") -> str:
        return core(self._footing.namespace, kind, name)


def _reached(node: NodeResult) -> bool:
    return any(image.ok for image in node.images)


def _owned_by(plan_map: Mapping[str, Any]) -> Json:
    metadata = plan_map["metadata"]
    return owner("v1", "ConfigMap", metadata["name"], metadata["uid"])


def _unschedulable_message(pod: Mapping[str, Any]) -> str:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next(
        (condition.get("message") or "" for condition in conditions if condition["type"] == "PodScheduled"),
        "no scheduler placed the pod",
    )


def _indexes(text: str) -> Iterator[int]:
    """`1,3-5` → 1, 3, 4, 5, as a Job's status writes them."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def run(footing: Footing, arguments: Sequence[str]) -> int:
    """Drive `wave` in attempt number `attempt`."""
    wave, attempt = arguments
    return Driver(footing, wave, int(attempt)).run()


if __name__ == "__main__":
    start(run, ("wave", "attempt"))
