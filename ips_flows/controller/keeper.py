"""The keeper: finishes tasks whose exit handler failed, cleans up after deleted tasks, deletes stuck step pods.

It also runs `finish` again if a webhook notification was not delivered. One thread renews the Lease; another
watches the Workflows and acts while the Lease is held. `core.reconcile.decide` decides on each action. All actions
are idempotent: a second keeper or a restart may repeat them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_NOTICE,
    LABEL_KIND,
    LABEL_STEP,
    LABEL_TASK,
    LABEL_WORKFLOW_UID,
    TEMPLATE_PREWARM,
)
from ips_flows.core.errors import ApiError, ConflictError, NotFoundError, UnavailableError
from ips_flows.core.k8s.objects import Json
from ips_flows.core.reconcile import decide, finish_job
from ips_flows.core.reconcile.decide import Action, Decision, TaskIndex
from ips_flows.core.reconcile.finish_job import KIND_DELETED, KIND_FINISH, KIND_NOTICE, copy_name, job_name
from ips_flows.core.task.workflow_status import stored_spec
from ips_flows.jsonlog import info, warning
from ips_flows.kube.client import Kube, core, jobs, workflows
from ips_flows.kube.lease import Lease
from ips_flows.kube.list_watch import Informer, ListWatch, Replaced, Updated, WatchError

_MOST_JOBS = 10  # finish Jobs at a time: a keeper that starts late must not flood the API server
_REMEMBERED_SECONDS = 300.0  # how long a keeper without the Lease remembers a deleted task


@dataclass(frozen=True, slots=True)
class KeeperIntervals:
    """Intervals and limits of the keeper, in seconds."""

    tick: float = 1.0  # the longest wait for an event; the keeper stops within it
    round: float = 5.0  # between two rounds
    pods: float = 30.0  # between two checks for stuck pods
    relist: float = 30.0  # between two lists of the Workflows
    lease: float = 5.0  # between two renewals of the Lease
    stale: float = 90.0  # without an event from the API server: not ready
    stuck: float = 300.0  # without a pass of the loop: not alive


class Keeper:
    """The reconcile loop of one namespace, in two threads. It reports whether it is alive and ready."""

    def __init__(
        self, kube: Kube, namespace: str, identity: str, *, intervals: KeeperIntervals | None = None
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._intervals = intervals or KeeperIntervals()
        self.lease = Lease(kube, namespace, identity, seconds=self._intervals.lease * 3)
        self._index = TaskIndex()
        self._deleted_seen: dict[str, float] = {}
        self._stop = threading.Event()
        self._beat = time.monotonic()
        self._heard = -self._intervals.stale
        self._pods_at = 0.0
        self.finish_jobs = 0  # started by this keeper
        self._threads = [
            threading.Thread(target=self._keep_lease, name="lease", daemon=True),
            threading.Thread(target=self._follow, name="keeper", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the loop after its current round, and release the Lease."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        try:
            self.lease.release()
        except ApiError as error:
            warning("the Lease can't be released and will expire", error=error.message)

    def alive(self) -> bool:
        """Return whether both threads run and the loop makes progress."""
        running = all(thread.is_alive() for thread in self._threads)
        return running and time.monotonic() - self._beat < self._intervals.stuck

    @property
    def holds_lease(self) -> bool:
        """Whether this keeper holds the Lease, so that it acts and no other keeper does."""
        return self.lease.held

    def not_ready(self) -> str | None:
        """Return why the known Workflows may be out of date; None if they are current."""
        if not self._index.listed:
            return "the Workflows are not listed yet"
        silent = time.monotonic() - self._heard
        return (
            f"no response from the API server for {silent:.0f} s" if silent > self._intervals.stale else None
        )

    def _keep_lease(self) -> None:
        held = False
        while not self._stop.is_set():
            try:
                holds = self.lease.hold()
            except ApiError as error:
                warning("the Lease can't be renewed", error=error.message)
                holds = self.lease.held
            if holds != held:
                info("holds the Lease" if holds else "does not hold the Lease", identity=self.lease.identity)
                held = holds
            self._stop.wait(self._intervals.lease)

    def _follow(self) -> None:
        source = ListWatch(
            workflows(self._namespace),
            labels=f"{LABEL_TASK}=true",
            metadata_only=True,
            relist_seconds=self._intervals.relist,
            page=100,  # other threads of the server wait while one page is parsed, so pages are small
        )
        while not self._stop.is_set():
            try:
                with Informer(self._kube) as informer:
                    informer.add({"workflows": source})
                    self._handle_events(informer)
            except ApiError as error:
                self._beat = time.monotonic()
                warning("the Workflows can't be read; trying again", error=error.message)
                self._stop.wait(self._intervals.round)

    def _handle_events(self, informer: Informer) -> None:
        round_at = 0.0
        while not self._stop.is_set():
            got = informer.next(self._intervals.tick)
            self._beat = time.monotonic()
            if got:
                event = got[1]
                if isinstance(event, WatchError):
                    warning("the Workflows can't be watched", error=event.error.message)
                    continue
                self._heard = time.monotonic()
                if isinstance(event, Replaced):
                    self._index.replace(event.items)
                elif isinstance(event, Updated):
                    self._index.change(event.item, gone=event.gone)
            if self._index.listed and time.monotonic() >= round_at:
                self.round()
                round_at = time.monotonic() + self._intervals.round

    def round(self) -> None:
        """Run one round if the Lease is held. Failures are logged, and tried again in the next round."""
        self._forget()
        if not self.lease.held:
            return
        duties = [self._finish_ended, self._tidy_deleted]
        if time.monotonic() >= self._pods_at:
            duties.append(self._free_pods)
        for duty in duties:
            try:
                duty()
            except ApiError as error:
                warning(f"{duty.__name__.strip('_').replace('_', ' ')}: {error.message}")

    def _forget(self) -> None:
        """Forget deleted tasks that no keeper recorded in time, so that memory stays bounded."""
        now = time.monotonic()
        for uid in self._index.deleted:
            self._deleted_seen.setdefault(uid, now)
        for uid, seen in list(self._deleted_seen.items()):
            if now - seen > _REMEMBERED_SECONDS or uid not in self._index.deleted:
                self._index.deleted.pop(uid, None)
                del self._deleted_seen[uid]

    def _finish_ended(self) -> None:
        due = self._index.due()
        if not due:
            return
        # Read the Jobs before the Workflows: a Job that has ended by then has already annotated its Workflow.
        found = self._finish_jobs()
        room = _MOST_JOBS - sum(not decide.is_over(job) for job in found.values())
        for metadata in due:
            name, uid = metadata["name"], metadata["uid"]
            job = found.get(job_name(uid))
            if decide.next_try(metadata, job, clock.now()).do is Action.WAIT:
                continue  # the Workflow can't change this, so it is not read
            try:
                workflow = self._kube.get(workflows(self._namespace, name))
            except NotFoundError:
                continue
            if workflow["metadata"]["uid"] != uid:
                continue
            decision = decide.decide_ended(workflow, job, clock.now())
            starts = decision.do in (Action.START, Action.REPLACE)
            if starts and room <= 0:
                return
            owner = finish_job.task_owner(workflow["metadata"])
            if self._start_job(decision, job, metadata, owner, stored_spec(workflow)):
                room -= starts

    def _tidy_deleted(self) -> None:
        for uid, metadata in list(self._index.deleted.items()):
            if not self.lease.held:
                return
            copy = finish_job.copy_of(metadata, clock.stamp(clock.now()))
            try:
                self._kube.create(core(self._namespace, "configmaps"), copy)
            except ConflictError:
                pass  # already recorded
            else:
                info("task deleted before its end was recorded", task=metadata["name"], uid=uid)
            self._index.deleted.pop(uid)
        copies = list(
            self._kube.list(core(self._namespace, "configmaps"), labels=f"{LABEL_KIND}={KIND_DELETED}")
        )
        if not copies:
            return
        # Read the Jobs before the notifications: a Job that has ended by then has already recorded its outcome.
        found, notices = self._finish_jobs(), self._notices()
        for copy in copies:
            metadata, at = finish_job.read_copy(copy)
            uid = metadata["uid"]
            if uid in notices:
                known = metadata.get("annotations") or {}
                metadata = metadata | {"annotations": known | {ANNOTATION_NOTICE: notices[uid]}}
            job = found.get(job_name(uid))
            decision = decide.decide_deleted(
                metadata, at, left=partial(self._anything_left, uid), job=job, now=clock.now()
            )
            if decision.do is Action.DONE and self.lease.held:
                self._kube.delete(
                    core(self._namespace, "configmaps", copy_name(uid)), uid=copy["metadata"]["uid"]
                )
                info("clean-up of a deleted task is done", task=metadata["name"], uid=uid)
            else:
                self._start_job(decision, job, metadata, finish_job.copy_owner(copy), None)

    def _start_job(
        self, decision: Decision, job: Json | None, metadata: Json, owner: Json, spec: Json | None
    ) -> bool:
        """Start or replace the finish Job of a task. If the cluster refuses it, log that and return False."""
        try:
            self._create_job(decision, job, metadata, owner, spec)
        except UnavailableError:
            raise
        except ApiError as error:  # one task must not block other tasks
            warning(f"finish Job refused: {error.message}", task=metadata["name"], uid=metadata["uid"])
            return False
        return True

    def _create_job(
        self, decision: Decision, job: Json | None, metadata: Json, owner: Json, spec: Json | None
    ) -> None:
        if not self.lease.held:
            return
        name, uid = metadata["name"], metadata["uid"]
        if decision.do is Action.REPLACE and job:
            self._kube.delete(jobs(self._namespace, job_name(uid)), uid=job["metadata"]["uid"])
            info("finish Job did not complete its work", task=name, uid=uid, tries=decision.number - 1)
        elif decision.do is not Action.START:
            return
        image = finish_job.finish_image(spec) or self._template_image()
        if not image:
            warning(f"WorkflowTemplate {TEMPLATE_PREWARM} has no image for the step finish", task=name)
            return
        body = finish_job.finish_job(name, uid, image=image, number=decision.number, owner=owner)
        try:
            self._kube.create(jobs(self._namespace), body)
        except ConflictError:
            return  # the old Job is still being deleted, or another keeper created one: the next round checks
        self.finish_jobs += 1
        info("finish Job started", task=name, uid=uid, number=decision.number)

    def _template_image(self) -> str | None:
        template = self._kube.get(workflows(self._namespace, TEMPLATE_PREWARM, "workflowtemplates"))
        return finish_job.finish_image(template.get("spec"))

    def _finish_jobs(self) -> dict[str, Json]:
        listed = self._kube.list(jobs(self._namespace), labels=f"{LABEL_KIND}={KIND_FINISH}")
        return {job["metadata"]["name"]: job for job in listed}

    def _notices(self) -> dict[str, str]:
        """Return the outcomes of the webhook notifications of deleted tasks, by uid."""
        maps = self._kube.list(core(self._namespace, "configmaps"), labels=f"{LABEL_KIND}={KIND_NOTICE}")
        return finish_job.latest_notice(maps)

    def _anything_left(self, uid: str) -> bool:
        """Return whether Jobs or records of a task exist that garbage collection should have deleted."""
        ours = f"{LABEL_WORKFLOW_UID}={uid}"
        kinds = (
            (jobs(self._namespace), ours),
            (core(self._namespace, "configmaps"), f"{ours},{LABEL_KIND} in (plan,index,results)"),
        )
        return any(
            True
            for path, labels in kinds
            for _ in self._kube.list(path, labels=labels, metadata_only=True, page=1)
        )

    def _free_pods(self) -> None:
        """Force-delete step pods on nodes that can no longer report that the pods have ended."""
        self._pods_at = time.monotonic() + self._intervals.pods
        path = core(self._namespace, "pods")
        pods = list(self._kube.list(path, labels=LABEL_STEP, metadata_only=True))
        for found in pods:
            metadata = found["metadata"]
            if not decide.is_overdue(metadata, clock.now()):
                continue
            try:
                pod = self._kube.get(core(self._namespace, "pods", metadata["name"]))
            except NotFoundError:
                continue
            node = pod["spec"].get("nodeName")
            if node and decide.is_lost(self._node(node), clock.now()) and self.lease.held:
                at = core(self._namespace, "pods", metadata["name"])
                if self._kube.delete(at, grace_seconds=0, uid=metadata["uid"]):
                    info("step pod of a failed node deleted", pod=metadata["name"], node=node)

    def _node(self, name: str) -> Json | None:
        try:
            return self._kube.get(core("", "nodes", name))
        except NotFoundError:
            return None
