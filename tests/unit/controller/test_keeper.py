"""The keeper against the fake API server; a stand-in for Kubernetes runs its finish Jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ips_flows.controller.keeper import Keeper, KeeperIntervals
from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_CLEANED,
    ANNOTATION_NOTICE,
    ANNOTATION_PLAN,
    ANNOTATION_VERDICT,
    ANNOTATION_WEBHOOK,
    LABEL_TASK,
    LABEL_WORKFLOW_UID,
)
from ips_flows.core.notice import notice
from ips_flows.core.notice.notice import Notice, Webhook
from ips_flows.core.reconcile import decide
from ips_flows.core.reconcile.finish_job import copy_of, finish_job
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import Verdict
from ips_flows.core.results.results import Chunk, ImageResult, NodeResult
from ips_flows.kube.client import Kube
from ips_flows.operations.install.manifests import COMPONENTS, load_manifests
from ips_flows.webhook.delivery import DeliveryIO
from steps.context import StepContext
from steps.finish import finish
from steps.finish import notify as notice_step
from tests.fakes.apiserver import ApiServer, _StatusError, running
from tests.fakes.webhook_receiver import Receiver, Reply, receiving
from tests.support import kube_objects
from tests.support.kube_objects import GOOD
from tests.support.rbac import needed
from tests.support.step_harness import TASK, Stage

AT = "2026-01-01T00:00:00Z"
PULLED = NodeResult((ImageResult(Result.PULLED, seconds=1.0, bytes=5),), AT)
QUICK = KeeperIntervals(tick=0.01, round=0.02, pods=0.02, relist=0.5, lease=0.1, stale=5.0, stuck=5.0)


class Jobs:
    """Simulates how Kubernetes runs finish Jobs: each once, with its result in the status.

    `fail` is the number of next Jobs that fail; an `old` image has no notifications.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.started: list[str] = []
        self.fail = 0
        self.old = False
        self._seen: set[str] = set()
        stage.server.on_change = self._changed

    def _changed(self, kind: str, item: Any) -> None:
        metadata = item["metadata"]
        if (
            kind == "jobs"
            and metadata["name"].startswith("ips-finish-")
            and metadata["uid"] not in self._seen
        ):
            self._seen.add(metadata["uid"])
            self.started.append(metadata["annotations"][decide.ANNOTATION_TRY])
            threading.Thread(target=self._run, args=(item,), daemon=True).start()

    def _run(self, job: Any) -> None:
        task, uid = job["spec"]["template"]["spec"]["containers"][0]["args"]
        if self.fail:
            self.fail -= 1
            condition = "Failed"
        elif self.old:
            condition = "Complete"
        else:
            assert finish.run(StepContext(self.stage.kube, task, uid), (), self.stage.finish_timings) == 0
            condition = "Complete"
        conditions = [{"type": condition, "status": "True", "lastTransitionTime": clock.stamp(clock.now())}]
        self.stage.server.change("jobs", job["metadata"]["name"], {"status": {"conditions": conditions}})


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with running() as one:
        for found in load_manifests("warm"):
            if found["kind"] == "WorkflowTemplate":
                one.put("workflowtemplates", found)
        yield one


@pytest.fixture
def stage(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(decide, "FIRST_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(decide, "COLLECTION_SECONDS", 0.0)
    one = Stage(server, tmp_path, monkeypatch)
    one.workflow({"metadata": {"labels": {LABEL_TASK: "true"}}})
    return one


@pytest.fixture
def keep(stage: Stage) -> Iterator[Callable[..., Keeper]]:
    """Start keepers, and stop them at the end of the test."""
    started: list[Keeper] = []

    def start(name: str = "a", *, begin: bool = True) -> Keeper:
        # Each keeper has its own connection, as each process does.
        one = Keeper(Kube.connect(str(stage.kubeconfig)), "warm", name, intervals=QUICK)
        if begin:
            one.start()
        started.append(one)
        return one

    yield start
    for one in started:
        if one._threads[0].is_alive():
            one.stop()


def planned(stage: Stage) -> None:
    """Store a task with a plan and the results of all its nodes."""
    stage.planned(GOOD, nodes=["n1"])
    summary = kube_objects.summary(eligible=1).model_copy(update={"images": (GOOD,)})
    stage.workflow({"metadata": {"annotations": {ANNOTATION_PLAN: summary.to_json()}}})
    stage.recorded("r0", Chunk(0, 0, {"n1": PULLED}))


def end(stage: Stage, seconds_ago: float = 90) -> None:
    """End the Workflow as Argo does after its finish pod failed."""
    finished = clock.stamp(clock.now() - timedelta(seconds=seconds_ago))
    labels = {"workflows.argoproj.io/phase": "Succeeded"}
    stage.workflow({"metadata": {"labels": labels}, "status": {"phase": "Succeeded", "finishedAt": finished}})


def until(server: ApiServer, holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until `holds` is true. It is checked when an object changes, and at short intervals."""
    end = time.monotonic() + seconds
    with server.store.changed:
        while not holds():
            assert time.monotonic() < end, server.calls[-20:]
            server.store.changed.wait(0.02)


def marked(stage: Stage) -> bool:
    return {ANNOTATION_VERDICT, ANNOTATION_CLEANED} <= stage.annotations().keys()


def maps(server: ApiServer, prefix: str) -> list[str]:
    names = [key[2] for key in server.store.objects if key[0] == "configmaps"]
    return [name for name in names if name.startswith(prefix)]


def copy_gone(server: ApiServer) -> bool:
    """Return whether the copy of a deleted task is deleted; a recorded request alone may still be in progress."""
    asked = any(call.startswith("DELETE") and "ips-deleted-" in call for call in server.calls)
    return asked and not maps(server, "ips-deleted-")


def verdicts(server: ApiServer) -> set[str]:
    """Return the verdicts of all versions of the task's Workflow."""
    return {
        Verdict.from_json(said).event_id
        for _, _, kind, item in server.store.history
        if kind == "workflows"
        and (said := (item["metadata"].get("annotations") or {}).get(ANNOTATION_VERDICT))
    }


def finish_jobs(server: ApiServer) -> list[Any]:
    return [item for key, item in server.store.objects.items() if key[0] == "jobs"]


def test_a_task_whose_finish_pod_was_lost_is_finished(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper]
) -> None:
    """The keeper runs finish as a Job with the task's image and ServiceAccount: one verdict, no objects left."""
    planned(stage)
    stored = {
        "templates": [{"container": {"command": ["python", "-m", "steps.finish"], "image": "flow:own"}}]
    }
    stage.workflow({"status": {"storedWorkflowTemplateSpec": stored}})
    end(stage)
    jobs = Jobs(stage)
    keep()
    until(server, lambda: marked(stage))
    assert stage.workflow()["metadata"]["labels"]["ips-flow.io/verdict"] == "completed"
    assert len(verdicts(server)) == 1
    assert jobs.started == ["1"]
    (job,) = finish_jobs(server)
    spec = job["spec"]["template"]["spec"]
    assert (spec["containers"][0]["image"], spec["serviceAccountName"]) == ("flow:own", "ips-flow-finish")
    assert job["metadata"]["name"] == f"ips-finish-{stage.uid}"
    assert job["metadata"]["ownerReferences"][0]["uid"] == stage.uid


@pytest.mark.parametrize("mark", [ANNOTATION_VERDICT, ANNOTATION_CLEANED, ANNOTATION_NOTICE])
def test_finish_killed_before_a_mark(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], receiver: Receiver, mark: str
) -> None:
    """If finish is killed before any of its marks, the keeper's Job completes it and keeps an existing verdict."""
    planned(stage)
    tells(stage, receiver)
    patch = Kube.patch

    class KilledError(BaseException):
        pass

    def killed(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if isinstance(body, dict) and mark in (body.get("metadata", {}).get("annotations") or {}):
            raise KilledError
        return patch(self, path, body, **options)

    with pytest.MonkeyPatch.context() as inner:
        inner.setattr(Kube, "patch", killed)
        with pytest.raises(KilledError):
            finish.run(stage.context, ())
    end(stage)
    Jobs(stage)
    keep()
    until(server, lambda: marked(stage) and told(stage) is not None)
    assert len(verdicts(server)) == 1
    assert set(stage.results()) == {"n1"}
    assert set(receiver.ids) == verdicts(server)
    assert len(receiver.received) == (
        2 if mark == ANNOTATION_NOTICE else 1
    )  # sent before the kill, but not recorded


def test_argos_finish_has_one_minute(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper starts a Job only one minute after the task has ended."""
    monkeypatch.setattr(decide, "GRACE_SECONDS", 3600.0)
    planned(stage)
    end(stage)
    Jobs(stage)
    one = keep()
    until(server, lambda: one.lease.held and sum(TASK in call for call in server.calls) > 3)
    assert finish_jobs(server) == []
    monkeypatch.setattr(decide, "GRACE_SECONDS", 60.0)
    until(server, lambda: marked(stage))


def test_a_failed_job_is_replaced(stage: Stage, server: ApiServer, keep: Callable[..., Keeper]) -> None:
    """Each try has its number, and at most one Job exists at a time."""
    planned(stage)
    end(stage)
    jobs = Jobs(stage)
    jobs.fail = 2
    keep()
    until(server, lambda: marked(stage))
    assert jobs.started == ["1", "2", "3"]
    assert len(verdicts(server)) == 1


def test_two_keepers_one_acts(stage: Stage, server: ApiServer, keep: Callable[..., Keeper]) -> None:
    """The second keeper waits for the Lease, and takes over when the first has stopped."""
    jobs = Jobs(stage)
    first = keep("a")
    until(server, lambda: first.lease.held)
    second = keep("b", begin=False)
    acted: list[str] = []
    second._finish_ended = lambda: acted.append("b")  # type: ignore[method-assign]
    second.start()
    planned(stage)
    end(stage)
    until(server, lambda: marked(stage))
    assert (acted, jobs.started, second.lease.held) == ([], ["1"], False)
    first.stop()
    until(server, lambda: acted != [])
    assert server.get("leases", "ips-keeper")["spec"]["holderIdentity"] == "b"


def test_without_the_lease_nothing_is_done(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper]
) -> None:
    """A keeper without the Lease only watches, but is ready."""
    lease = {"holderIdentity": "other", "leaseDurationSeconds": 3600, "renewTime": "x"}
    server.put("leases", {"metadata": {"name": "ips-keeper"}, "spec": lease})
    planned(stage)
    end(stage)
    one = keep()
    until(server, lambda: sum("workflows" in call for call in server.calls) > 3)
    assert (one.not_ready(), one.alive()) == (None, True)
    assert {call.split()[0] for call in server.calls} == {"GET"}


def test_a_restart_does_nothing_twice(stage: Stage, server: ApiServer, keep: Callable[..., Keeper]) -> None:
    """After a keeper was killed, the next one finds its Job by name and creates no second one."""
    planned(stage)
    end(stage)
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": TASK, "uid": stage.uid}
    server.put("jobs", finish_job(TASK, stage.uid, image="flow:1", number=1, owner=owner))
    one = keep("b")
    until(server, lambda: one.lease.held and sum("kind%3Dfinish" in call for call in server.calls) > 3)
    assert not any(call.startswith("POST /apis/batch") for call in server.calls)
    finish.run(stage.context, ())
    calls = len(server.calls)
    until(server, lambda: len(server.calls) > calls + 5)
    assert not any(call.startswith(("POST /apis/batch", "DELETE")) for call in server.calls[calls:])


def test_expired_watches_and_api_failures(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper]
) -> None:
    """Expired watches, 5xx responses and broken connections only delay the work."""
    planned(stage)
    Jobs(stage)
    one = keep()
    until(server, lambda: not one.not_ready() and one.lease.held)
    server.forget_history()
    server.fail("GET .*(workflows|jobs)|POST .*jobs", 503, times=2)
    server.fail("GET .*(workflows|leases)", 0, times=2)
    end(stage)
    until(server, lambda: marked(stage))
    assert len(verdicts(server)) == 1
    assert one.alive()


def test_a_refusal_is_logged_and_tried_again(
    stage: Stage,
    server: ApiServer,
    keep: Callable[..., Keeper],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A missing right is logged and fails only the current round."""
    planned(stage)
    end(stage)
    server.fail("GET .*workflows.watch|GET .*/workflows\\?", 403, "Forbidden", "no list", times=1)
    server.fail("POST .*jobs", 403, "Forbidden", "no jobs", times=2)
    Jobs(stage)
    keep()
    until(server, lambda: marked(stage))
    assert any("no list" in str(getattr(record, "fields", "")) for record in caplog.records)
    assert any("no jobs" in record.getMessage() for record in caplog.records)


def test_a_task_deleted_before_its_verdict(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper]
) -> None:
    """The keeper deletes the objects that garbage collection left; then it deletes the copy."""
    planned(stage)
    labels = {LABEL_WORKFLOW_UID: stage.uid, "ips-flow.io/kind": "pull"}
    server.put("jobs", {"metadata": {"name": "straggler", "labels": labels}})
    jobs = Jobs(stage)
    one = keep()
    until(server, lambda: one.lease.held and not one.not_ready())
    server.remove("workflows", TASK)
    until(server, lambda: jobs.started == ["1"])
    until(
        server, lambda: not [k for k in server.store.objects if k[0] == "configmaps" and k[2] != "ips-config"]
    )
    assert not [item for item in finish_jobs(server) if item["metadata"]["name"] == "straggler"]
    copies = [
        item for _, _, kind, item in server.store.history if item["metadata"]["name"].startswith("ips-del")
    ]
    assert copies[0]["metadata"]["labels"][LABEL_WORKFLOW_UID] == stage.uid
    assert "ownerReferences" not in copies[0]["metadata"]
    (job,) = finish_jobs(server)
    assert job["metadata"]["ownerReferences"][0]["kind"] == "ConfigMap"


@pytest.mark.usefixtures("stage")
def test_a_deleted_task_without_remaining_objects(server: ApiServer, keep: Callable[..., Keeper]) -> None:
    """If garbage collection has deleted all objects, no Job runs."""
    one = keep()
    until(server, lambda: one.lease.held and not one.not_ready())
    server.remove("workflows", TASK)
    until(server, lambda: copy_gone(server))
    assert finish_jobs(server) == []


def test_a_deletion_that_a_dead_keeper_recorded(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper]
) -> None:
    """The next keeper continues with the copy that a failed keeper stored."""
    planned(stage)
    metadata = stage.workflow()["metadata"]
    server.put("configmaps", copy_of(metadata, AT))
    server.remove("workflows", TASK)
    Jobs(stage)
    keep("b")
    until(
        server, lambda: not [k for k in server.store.objects if k[0] == "configmaps" and k[2] != "ips-config"]
    )


@pytest.fixture
def receiver(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that webhooks may reach; rounds follow without a pause."""
    monkeypatch.setattr(notice, "PAUSES", (0.0,))
    monkeypatch.setattr(notice_step, "DELIVERY_IO", DeliveryIO(sleep=lambda _seconds: None))
    networks = {"webhook-allowed-networks": "127.0.0.0/8"}
    stage.server.change("configmaps", "ips-config", {"data": networks})
    with receiving() as one:
        yield one


def tells(stage: Stage, receiver: Receiver) -> None:
    """Set the receiver as the task's webhook, in the request and in the metadata, as `run` does."""
    request = f'{{"images":["{GOOD}"],"webhookUrl":"{receiver.url}"}}'
    annotations = {ANNOTATION_WEBHOOK: Webhook(url=receiver.url).to_json()}
    parameters = [{"name": "request", "value": request}]
    stage.workflow(
        {"metadata": {"annotations": annotations}, "spec": {"arguments": {"parameters": parameters}}}
    )


def told(stage: Stage) -> Notice | None:
    return notice.recorded_notice(stage.annotations())


def test_a_notification_that_finish_did_not_send(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], receiver: Receiver
) -> None:
    """The notification is sent once, with the id of the verdict."""
    planned(stage)
    tells(stage, receiver)
    end(stage)
    jobs = Jobs(stage)
    keep()
    until(server, lambda: told(stage) is not None)
    assert [(set(receiver.ids), receiver.events[0][1])] == [(verdicts(server), "task.completed")]
    assert len(receiver.received) == 1
    assert jobs.started == ["1"]


def test_an_undelivered_notification_is_sent_again(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], receiver: Receiver
) -> None:
    """After Argo's finish could not deliver the notification, each Job is another round of it."""
    planned(stage)
    tells(stage, receiver)
    receiver.will(*[Reply(503)] * 10)
    assert finish.run(stage.context, ()) == 0
    end(stage)
    jobs = Jobs(stage)
    keep()
    until(server, lambda: bool((made := told(stage)) and made.final))
    made = told(stage)
    assert made
    assert (made.outcome, made.rounds, made.tries) == ("delivered", 3, 11)
    assert len(set(receiver.ids)) == 1
    assert jobs.started == ["2", "3"]
    assert len(verdicts(server)) == 1


def test_no_requests_between_two_rounds(
    stage: Stage,
    server: ApiServer,
    keep: Callable[..., Keeper],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a notification waits for its next try, there are no Jobs and no reads of its Workflow."""
    monkeypatch.setattr(notice, "PAUSES", (60.0,))
    planned(stage)
    tells(stage, receiver)
    receiver.otherwise = Reply(503)
    assert finish.run(stage.context, ()) == 0
    end(stage)
    Jobs(stage)
    one = keep()
    until(server, lambda: one.lease.held and not one.not_ready())
    calls = len(server.calls)
    until(server, lambda: sum("kind%3Ddeleted" in call for call in server.calls[calls:]) > 5)
    assert finish_jobs(server) == []
    assert not any(TASK in call for call in server.calls[calls:])
    # The next try is due.
    monkeypatch.setattr(notice, "PAUSES", (0.0,))
    receiver.otherwise = Reply(200)
    until(server, lambda: bool((made := told(stage)) and made.final))


def test_an_image_without_notifications(
    stage: Stage,
    server: ApiServer,
    keep: Callable[..., Keeper],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Job of an image without notifications succeeds and sends nothing; the next Job starts minutes later."""
    monkeypatch.setattr(notice, "PAUSES", (60.0,))
    planned(stage)
    tells(stage, receiver)

    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as inner:
        inner.setattr(notice_step, "send_notice", killed)
        with pytest.raises(KilledError):
            finish.run(stage.context, ())
    end(stage)
    jobs = Jobs(stage)
    jobs.old = True
    keep()
    until(server, lambda: jobs.started == ["1"] and decide.is_over(finish_jobs(server)[0]))
    calls = len(server.calls)
    until(server, lambda: sum("kind%3Dfinish" in call for call in server.calls[calls:]) > 5)
    assert jobs.started == ["1"]
    assert not any(TASK in call for call in server.calls[calls:])
    monkeypatch.setattr(notice, "PAUSES", (0.0,))
    jobs.old = False
    until(server, lambda: told(stage) is not None)
    assert jobs.started == ["1", "2"]
    assert len(receiver.received) == 1


@pytest.mark.parametrize("down_for", [0, 6])
def test_a_deleted_task_is_reported_once(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], receiver: Receiver, down_for: int
) -> None:
    """A task deleted without a verdict sends one task.cancelled event with a stable id; then the copy is deleted."""
    planned(stage)
    tells(stage, receiver)
    made = stage.workflow()["metadata"]["creationTimestamp"]
    receiver.will(*[Reply(500)] * down_for)
    jobs = Jobs(stage)
    one = keep()
    until(server, lambda: one.lease.held and not one.not_ready())
    server.remove("workflows", TASK)
    until(server, lambda: copy_gone(server))
    assert receiver.events == [(f"{stage.uid}-{made}-cancelled", "task.cancelled")]
    assert len(receiver.received) == down_for + 1
    assert len(jobs.started) == (2 if down_for else 1)
    records = [server.get("configmaps", name) for name in maps(server, "ips-notice-")]
    assert {one["metadata"]["ownerReferences"][0]["name"] for one in records} == {f"ips-deleted-{stage.uid}"}


def test_a_task_deleted_after_its_verdict(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], receiver: Receiver
) -> None:
    """A notification that is still due is sent with the status and id of the verdict."""
    planned(stage)
    tells(stage, receiver)
    receiver.will(*[Reply(500)] * 4)
    assert finish.run(stage.context, ()) == 0
    Jobs(stage)
    one = keep()
    until(server, lambda: one.lease.held and not one.not_ready())
    server.remove("workflows", TASK)
    until(server, lambda: copy_gone(server))
    assert set(receiver.ids) == verdicts(server)
    assert [event for _, event in receiver.events] == ["task.completed"]


def test_a_task_deleted_after_its_notice(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], receiver: Receiver
) -> None:
    """No notification is due any more, so no copy is stored."""
    planned(stage)
    tells(stage, receiver)
    assert finish.run(stage.context, ()) == 0
    one = keep()
    until(server, lambda: one.lease.held and not one.not_ready())
    server.remove("workflows", TASK)
    calls = len(server.calls)
    until(server, lambda: sum("kind%3Ddeleted" in call for call in server.calls[calls:]) > 3)
    assert not any(call.startswith("POST /api/v1") for call in server.calls)
    assert len(receiver.received) == 1


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize(
    ("gone", "ready", "freed"), [(True, False, True), (False, False, True), (False, True, False)]
)
def test_step_pods_of_lost_nodes(
    server: ApiServer, keep: Callable[..., Keeper], gone: bool, ready: bool, freed: bool
) -> None:
    """An overdue step pod is force-deleted if its node can't report its end; other pods are not changed."""
    node = kube_objects.node("n1", ready=ready)
    if not gone:
        server.put("nodes", node, namespace="")
    for name, labels, stamp in (
        ("stuck", {"ips-flow.io/step": "drive"}, AT),
        ("fine", {"ips-flow.io/step": "drive"}, None),
        ("foreign", {}, AT),
    ):
        metadata = {"name": name, "labels": labels, **({"deletionTimestamp": stamp} if stamp else {})}
        server.put("pods", {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {}})
    one = keep()
    until(server, lambda: one.lease.held and sum("pods" in call for call in server.calls) > 6)
    left = {key[2] for key in server.store.objects if key[0] == "pods"}
    assert left == ({"fine", "foreign"} if freed else {"stuck", "fine", "foreign"})


def test_a_keeper_that_starts_late_starts_few_jobs(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many old tasks without a verdict do not start as many Jobs at the same time."""
    monkeypatch.setattr("ips_flows.controller.keeper._MOST_JOBS", 2)
    end(stage)
    workflow = stage.workflow()
    for number in range(5):
        metadata = workflow["metadata"] | {"name": f"t{number}", "uid": f"uid-{number}"}
        server.put("workflows", workflow | {"metadata": metadata})
    one = keep()
    until(server, lambda: one.lease.held and sum("kind%3Dfinish" in call for call in server.calls) > 5)
    assert len(finish_jobs(server)) == 2


def test_a_refused_job_does_not_block_other_tasks(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an admission policy refuses the old image of some tasks, the tasks after them are still finished."""
    monkeypatch.setattr("ips_flows.controller.keeper._MOST_JOBS", 1)
    planned(stage)
    end(stage)
    workflow = stage.workflow()
    for number in range(2):
        old = {"name": f"old-{number}", "uid": f"old-{number}", "creationTimestamp": AT, "annotations": {}}
        server.put("workflows", workflow | {"metadata": workflow["metadata"] | old})

    def refuse(kind: str, item: Any) -> Any:
        if kind == "jobs" and item["metadata"]["name"].startswith("ips-finish-old"):
            raise _StatusError(403, "Forbidden", "admission webhook denied the request: old image")
        return item

    server.admit = refuse
    Jobs(stage)
    keep()
    until(server, lambda: marked(stage), 5)


def test_the_role_grants_what_the_keeper_does_and_no_more(
    stage: Stage, server: ApiServer, keep: Callable[..., Keeper]
) -> None:
    """The keeper uses every right of its Role and needs no other."""
    jobs: list[Any] = []
    server.on_change = lambda kind, item: jobs.append(item) if kind == "jobs" else None
    end(stage)
    pod = {"metadata": {"name": "p", "labels": {"ips-flow.io/step": "drive"}, "deletionTimestamp": AT}}
    server.put("pods", pod | {"spec": {"nodeName": "n1"}})
    keep()
    until(server, lambda: len(jobs) == 1)
    conditions = [{"type": "Failed", "status": "True", "lastTransitionTime": AT}]
    server.change("jobs", jobs[0]["metadata"]["name"], {"status": {"conditions": conditions}})
    until(server, lambda: any(call.startswith("DELETE /apis/batch") for call in server.calls))
    server.remove("workflows", TASK)
    until(server, lambda: copy_gone(server))
    until(server, lambda: any(call.startswith("PATCH") for call in server.calls))
    roles = [one for one in load_manifests("warm", components=COMPONENTS) if one["kind"] == "Role"]
    (role,) = [one for one in roles if one["metadata"]["name"] == "ips-flow-server"]
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert needed(server.calls) == granted | {("", "nodes", "get")}
