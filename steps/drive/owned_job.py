"""The Job of an attempt and its pods: created or adopted, and written by the one driver that holds it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_EPOCH,
    ANNOTATION_HOLDER,
    ANNOTATION_PROGRESS,
    LABEL_WORKFLOW_UID,
)
from ips_flows.core.counts import several
from ips_flows.core.errors import ConflictError, InvalidError, NotFoundError
from ips_flows.core.k8s.objects import Json
from ips_flows.core.pods.pull_job import (
    deadline_patch,
    epoch_patch,
    failed_status_patch,
    is_gated,
    pod_epoch,
    pull_job,
    ungate_patch,
)
from ips_flows.kube.client import PatchKind, jobs
from steps.context import ReplacePodError, say
from steps.drive.attempt import Attempt
from steps.drive.throttle import MAX_CONCURRENT
from steps.drive.timings import DriverTimings


class OwnedJob:
    """The Job of an attempt, held by the driver in this pod. `started` is its creation time, RFC 3339."""

    def __init__(self, attempt: Attempt, timings: DriverTimings) -> None:
        self._attempt = attempt
        self._timings = timings
        self._kube = attempt.context.kube
        self._path = jobs(attempt.context.namespace, attempt.name)
        self._executor = ThreadPoolExecutor(2 * MAX_CONCURRENT)
        self._deletions: list[Future[bool]] = []
        self._identity = os.environ.get("HOSTNAME") or socket.gethostname()
        self.started = clock.stamp(clock.now())

    # -- holding it

    def create_or_adopt(self, window: int) -> None:
        """Create the attempt's Job, or adopt it together with its gated pods.

        After the deadline no Job is created, but an existing one is adopted, so that its end is recorded.
        Raises ReplacePodError if the Job belongs to another task, or another driver adopts it at the same time.
        """
        attempt = self._attempt
        if attempt.seconds_left() <= 0:
            self.adopt_if_exists()
            return
        body = pull_job(
            attempt.plan,
            attempt.name,
            labels=attempt.job_labels,
            owner=attempt.owner,
            nodes=len(attempt.nodes),
            seconds_left=int(attempt.seconds_left()) + self._timings.job_slack,
            holder=self._identity,
            window=window,
        )
        try:
            made = self._kube.create(jobs(attempt.context.namespace), body)
        except ConflictError:
            self._adopt()
        else:
            self.started = made["metadata"]["creationTimestamp"]
            say(
                f"Job {attempt.name}: {several(len(attempt.nodes), 'node')}, at most {window} at the same time"
            )

    def adopt_if_exists(self) -> bool:
        """Adopt the Job, so that no other driver ungates its pods. Returns False if it does not exist."""
        try:
            self._adopt()
        except NotFoundError:
            return False
        return True

    def verify_holder(self) -> Json:
        """Return the current Job. Raises ReplacePodError if another driver holds it, NotFoundError if it is gone.

        Call this after reading pods and before ending or deleting any.
        """
        current = self._kube.get(self._path)
        holder = current["metadata"]["annotations"].get(ANNOTATION_HOLDER)
        if holder != self._identity:
            raise ReplacePodError(f"Job {self._attempt.name} is driven by {holder} now")
        self.started = current["metadata"].get("creationTimestamp") or self.started
        return current

    def _adopt(self) -> None:
        epoch = self._acquire_epoch()
        say(f"Job {self._attempt.name}: adopted in epoch {epoch}")
        for pod in self.pods():
            if is_gated(pod) and pod_epoch(pod) != epoch:
                self._patch_gated(pod, epoch_patch(pod, epoch))

    def _acquire_epoch(self) -> str:
        """Become the Job's holder in a new epoch, unless another driver does at the same time."""
        name = self._attempt.name
        first = ""
        while True:
            metadata = self._kube.get(self._path)["metadata"]
            if metadata["labels"].get(LABEL_WORKFLOW_UID) != self._attempt.context.uid:
                raise ReplacePodError(f"Job {name} belongs to another task")
            now = metadata["annotations"][ANNOTATION_EPOCH]
            first = first or now
            if now != first:
                raise ReplacePodError(f"Job {name} was taken over in epoch {now}")
            epoch = str(int(now) + 1)
            annotations = {ANNOTATION_HOLDER: self._identity, ANNOTATION_EPOCH: epoch}
            patch = {"resourceVersion": metadata["resourceVersion"], "annotations": annotations}
            try:
                self._kube.patch(self._path, {"metadata": patch})
            except ConflictError:
                continue  # the Job controller has updated the Job's status
            return epoch

    # -- the Job

    def raise_parallelism(self, pods: int) -> None:
        """Raise the Job's parallelism. Lowering it would make the Job controller kill pods that pull."""
        self._kube.patch(self._path, {"spec": {"parallelism": pods}})

    def write_progress(self, progress: str) -> None:
        """Write the progress annotation."""
        try:
            self._kube.patch(self._path, {"metadata": {"annotations": {ANNOTATION_PROGRESS: progress}}})
        except NotFoundError:
            say("the Job was deleted; its progress is no longer reported")

    def delete(self) -> None:
        """Delete the Job and its pods."""
        self._kube.delete(self._path)

    # -- its pods

    def pods(self) -> list[Json]:
        """List all pods of the Job."""
        return list(self._kube.list(self._attempt.path("pods"), labels=self._attempt.pod_selector))

    def ungate(self, pods: Sequence[tuple[Json, str]]) -> Iterator[Json]:
        """Ungate pods in parallel, each pinned to its node. Yields the patched pods, without those that are gone.

        Raises ReplacePodError if another driver has taken over a pod. Errors are raised after all ungated pods.
        """
        futures = [
            self._executor.submit(self._patch_gated, pod, ungate_patch(pod, node)) for pod, node in pods
        ]
        wait(futures)
        for future in sorted(futures, key=lambda one: one.exception() is not None):
            pod = future.result()
            if pod is not None:
                yield pod

    def set_deadline(self, pod: Mapping[str, Any], why: str) -> None:
        """Make the kubelet end a pod; `why` is one of ENDED_*."""
        self._patch_as_seen(pod, self._pod_path(pod), deadline_patch(pod, why))

    def mark_failed(self, pod: Mapping[str, Any], reason: str, message: str) -> None:
        """Set the status of a pod to Failed. Needed for pods that no kubelet would end."""
        self._patch_as_seen(
            pod, self._pod_path(pod) + "/status", failed_status_patch(reason, message), kind="strategic"
        )

    def delete_in_background(self, pods: Iterable[Json], concurrency: int) -> list[Json]:
        """Delete ended pods in the background. Returns the pods whose deletion has started.

        At most `concurrency` deletions run, including those of earlier calls. A later call raises their errors.
        The grace period is 0: otherwise kubelets would have to delete the pods a second time.
        """
        done = [one for one in self._deletions if one.done()]
        self._deletions = [one for one in self._deletions if not one.done()]
        for one in done:
            one.result()
        taken = list(islice(pods, max(0, concurrency - len(self._deletions))))
        delete = partial(self._kube.delete, grace_seconds=0)
        self._deletions += [self._executor.submit(delete, self._pod_path(pod)) for pod in taken]
        return taken

    def _patch_as_seen(
        self, pod: Mapping[str, Any], path: str, patch: Json, *, kind: PatchKind = "merge"
    ) -> None:
        """Patch a pod at the version that was read. If it has changed or is gone, the next pass handles it."""
        metadata = {**patch.get("metadata", {}), "resourceVersion": pod["metadata"]["resourceVersion"]}
        with suppress(NotFoundError, ConflictError):
            self._kube.patch(path, {**patch, "metadata": metadata}, kind=kind)

    def _patch_gated(self, pod: Mapping[str, Any], patch: list[Json]) -> Json | None:
        """Patch a gated pod; None if it is gone. The API returns 422 if another driver has taken over the pod."""
        try:
            return self._kube.patch(self._pod_path(pod), patch, kind="json")
        except NotFoundError:
            return None
        except InvalidError as error:
            raise ReplacePodError(f"Job {self._attempt.name} was taken over: {error.message}") from error

    def _pod_path(self, pod: Mapping[str, Any]) -> str:
        return self._attempt.path("pods", pod["metadata"]["name"])
