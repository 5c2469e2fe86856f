"""Webhook notifications, the last stage of finish, against the fake API server and real receivers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_CLEANED,
    ANNOTATION_NOTICE,
    ANNOTATION_PLAN,
    ANNOTATION_VERDICT,
    ANNOTATION_WEBHOOK,
)
from ips_flows.core.errors import ConflictError
from ips_flows.core.notice.notice import Notice, Webhook
from ips_flows.core.reconcile.finish_job import copy_of
from ips_flows.core.request.model import canonical_json, parse_request
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.records import Verdict
from ips_flows.core.results.results import Chunk, ImageResult, NodeResult
from ips_flows.kube.client import Kube
from ips_flows.webhook.delivery import DeliveryIO
from steps.finish import notify
from tests.fakes.apiserver import running
from tests.fakes.webhook_receiver import Receiver, Reply, receiving
from tests.support import kube_objects
from tests.support.kube_objects import GOOD
from tests.support.rbac import granted, needed
from tests.support.step_harness import TASK, Stage, set_timings

AT = "2026-01-01T00:00:00Z"
PULLED = NodeResult((ImageResult(Result.PULLED, seconds=1.0, bytes=5),), AT)
MISSING = NodeResult((ImageResult(Result.FAILED, FailureReason.NOT_FOUND, "not found"),), AT)


class KilledError(BaseException):
    """The process was killed."""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with running() as server:
        one = Stage(server, tmp_path, monkeypatch)
        monkeypatch.setattr(notify, "DELIVERY_IO", DeliveryIO(sleep=lambda _seconds: None, try_seconds=5))
        set_timings(one.finish_timings, retry=0.01)
        server.change("configmaps", "ips-config", {"data": {"webhook-allowed-networks": "127.0.0.0/8"}})
        yield one
        assert needed(server.calls) <= granted("ips-flow-finish")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def asks(stage: Stage, *, result: NodeResult = PULLED, **fields: Any) -> None:
    """Store a task of one node whose request has these fields."""
    stage.planned(GOOD, nodes=["n1"])
    summary = kube_objects.summary(eligible=1).model_copy(update={"images": (GOOD,)})
    request = canonical_json(parse_request(json.dumps({"images": [GOOD], **fields})))
    stage.workflow(
        {
            "metadata": {"annotations": {ANNOTATION_PLAN: summary.to_json()}},
            "spec": {"arguments": {"parameters": [{"name": "request", "value": request}]}},
        }
    )
    stage.recorded("r0", Chunk(0, 0, {"n1": result}))


def recorded(stage: Stage) -> Notice:
    return Notice.from_json(stage.annotations()[ANNOTATION_NOTICE])


def verdict(stage: Stage) -> Verdict:
    return Verdict.from_json(stage.annotations()[ANNOTATION_VERDICT])


@pytest.mark.parametrize(
    ("result", "shutdown", "status"),
    [(PULLED, "", "completed"), (MISSING, "", "failed"), (MISSING, "Stop", "cancelled")],
)
def test_each_end_is_reported(
    stage: Stage, receiver: Receiver, result: NodeResult, shutdown: str, status: str
) -> None:
    """One message with the task is sent after verdict and clean-up, and the outcome is recorded."""
    asks(stage, result=result, webhookUrl=receiver.url)
    stage.workflow({"spec": {"shutdown": shutdown}})
    assert stage.finish() == 0
    (one,) = receiver.received
    said = one.json()
    assert (said["event"], one.id) == (f"task.{status}", verdict(stage).event_id)
    assert (said["timestamp"], said["message"]) == (verdict(stage).at, verdict(stage).message)
    assert (said["task"]["taskId"], said["task"]["status"]) == (TASK, status)
    assert said["task"]["nodeStatuses"]["n1"][GOOD]["result"] == result.images[0].result
    assert verdict(stage).notify
    made = recorded(stage)
    assert (made.outcome, made.status, made.tries, made.rounds) == ("delivered", 204, 1, 1)
    assert (made.id, made.event) == (one.id, said["event"])
    assert made.target == f"http://127.0.0.1:{receiver.port}"
    assert ANNOTATION_CLEANED in stage.annotations()


@pytest.mark.parametrize("form", ["json", "cloudevents", "slack", "dingtalk"])
def test_each_format_is_sent(stage: Stage, receiver: Receiver, form: str) -> None:
    """In every format, the id is in the headers."""
    receiver.otherwise = Reply(200, body=b'{"errcode":0}')
    asks(stage, webhookUrl=receiver.url, webhookFormat=form)
    assert stage.finish() == 0
    assert receiver.ids == [verdict(stage).event_id]
    assert recorded(stage).outcome == "delivered"


def test_a_task_without_a_webhook_costs_no_requests(stage: Stage) -> None:
    """Without a webhook there is no mark for a notification, and no request for one."""
    asks(stage)
    assert stage.finish() == 0
    assert not verdict(stage).notify
    assert not {ANNOTATION_NOTICE, ANNOTATION_WEBHOOK} & stage.annotations().keys()
    last = stage.server.calls[-1]
    assert last.startswith("PATCH")
    assert not any("secrets" in call or "endpointslices" in call for call in stage.server.calls)


def test_a_verdict_of_an_earlier_version_sends_nothing(stage: Stage, receiver: Receiver) -> None:
    """A verdict of a version without webhooks sends no notification."""
    asks(stage, webhookUrl=receiver.url)
    old = Verdict(status="failed", event_id="other", at=AT, started_at=AT, message="", summary=None)
    text = old.model_dump_json(by_alias=True, exclude={"notify"})
    stage.workflow({"metadata": {"annotations": {ANNOTATION_VERDICT: text}}})
    assert stage.finish() == 0
    assert receiver.received == []
    assert ANNOTATION_NOTICE not in stage.annotations()


@pytest.mark.parametrize("outcome", [204, 410])
def test_a_final_notification_is_not_sent_again(stage: Stage, receiver: Receiver, outcome: int) -> None:
    """A notification with a final outcome is not sent again."""
    receiver.otherwise = Reply(outcome)
    asks(stage, webhookUrl=receiver.url)
    assert stage.finish() == 0
    calls = len(stage.server.calls)
    assert stage.finish() == 0
    assert len(receiver.received) == 1
    assert [call.split()[0] for call in stage.server.calls[calls:]] == ["GET"]


def test_an_undelivered_notification_keeps_its_id(stage: Stage, receiver: Receiver) -> None:
    """A failed delivery changes neither verdict nor exit code; the record counts the tries of all rounds."""
    receiver.otherwise = Reply(500)
    asks(stage, webhookUrl=receiver.url)
    assert stage.finish() == 0
    first, written = recorded(stage), stage.annotations()[ANNOTATION_VERDICT]
    assert (first.outcome, first.status, first.reason, first.tries) == ("undelivered", 500, "HTTP 500", 4)
    receiver.otherwise = Reply(200)
    assert stage.finish() == 0
    second = recorded(stage)
    assert (second.outcome, second.tries, second.rounds, second.first) == ("delivered", 5, 2, first.first)
    assert set(receiver.ids) == {verdict(stage).event_id}
    assert stage.annotations()[ANNOTATION_VERDICT] == written


def test_a_notification_is_given_up_after_one_day(stage: Stage, receiver: Receiver) -> None:
    """A notification that is one day old is not sent any more."""
    asks(stage, webhookUrl=receiver.url)
    at = clock.stamp(clock.now() - timedelta(hours=24, seconds=1))
    old = Verdict(
        status="failed", event_id="other", at=at, started_at=AT, message="", summary=None, notify=True
    )
    stage.workflow({"metadata": {"annotations": {ANNOTATION_VERDICT: old.to_json()}}})
    assert stage.finish() == 0
    assert receiver.received == []


def run_and_be_killed_before(stage: Stage, mark: str) -> None:
    """Run finish, and kill it just before it writes a mark."""
    patch = Kube.patch

    def killed(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if mark in (body.get("metadata", {}).get("annotations") or {}):
            raise KilledError
        return patch(self, path, body, **options)

    with pytest.MonkeyPatch.context() as inner:
        inner.setattr(Kube, "patch", killed)
        with pytest.raises(KilledError):
            stage.finish()


def test_killed_between_send_and_record(stage: Stage, receiver: Receiver) -> None:
    """The next finish can't know that the message was sent: it sends the message again, with the same id."""
    asks(stage, webhookUrl=receiver.url)
    run_and_be_killed_before(stage, ANNOTATION_NOTICE)
    assert ANNOTATION_NOTICE not in stage.annotations()
    assert stage.finish() == 0
    assert receiver.ids == [verdict(stage).event_id] * 2
    assert recorded(stage).tries == 1


@pytest.mark.parametrize("mark", [ANNOTATION_VERDICT, ANNOTATION_CLEANED])
def test_killed_before_an_earlier_mark(stage: Stage, receiver: Receiver, mark: str) -> None:
    """If finish was killed before it sent anything, the next finish sends one message."""
    asks(stage, webhookUrl=receiver.url)
    run_and_be_killed_before(stage, mark)
    assert receiver.received == []
    assert stage.finish() == 0
    assert receiver.ids == [verdict(stage).event_id]


def test_an_api_server_that_fails_as_it_is_recorded(stage: Stage, receiver: Receiver) -> None:
    """The write of the record is tried again; the message is not sent again."""
    asks(stage, webhookUrl=receiver.url)
    take = receiver.take

    def then_fail(one: Any) -> Reply:
        stage.server.fail("PATCH .*workflows", 503, times=2)
        stage.server.fail("PATCH .*workflows", 0, times=1)
        return take(one)

    receiver.take = then_fail  # type: ignore[method-assign]
    assert stage.finish() == 0
    assert len(receiver.received) == 1
    assert recorded(stage).outcome == "delivered"


def test_argo_writes_meanwhile(stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a conflict the Workflow is read again; a notification that another finish delivered stays delivered."""
    asks(stage, webhookUrl=receiver.url)
    receiver.otherwise = Reply(500)
    patch = Kube.patch
    late: list[Any] = []

    def after_another(self: Kube, path: str, body: Any, **options: Any) -> Any:
        told = (body.get("metadata", {}).get("annotations") or {}).get(ANNOTATION_NOTICE)
        if told and not late:
            delivered = Notice.from_json(told).model_copy(update={"outcome": "delivered"})
            late.append(
                stage.workflow({"metadata": {"annotations": {ANNOTATION_NOTICE: delivered.to_json()}}})
            )
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", after_another)
    assert stage.finish() == 0
    assert recorded(stage).outcome == "delivered"


def test_conflicts_without_end(stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless conflicts fail this run and cause no endless loop."""
    asks(stage, webhookUrl=receiver.url)
    patch = Kube.patch

    def conflict(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if ANNOTATION_NOTICE in (body.get("metadata", {}).get("annotations") or {}):
            raise ConflictError("it changed")
        return patch(self, path, body, **options)

    monkeypatch.setattr(Kube, "patch", conflict)
    with pytest.raises(ConflictError):
        stage.finish()
    assert len(receiver.received) == 1


def test_the_secret_has_url_and_key(stage: Stage, receiver: Receiver) -> None:
    """The request needs only the name of the Secret."""
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    stage.server.put("secrets", kube_objects.webhook_secret("hook", url=f"{receiver.url}\n", secret=key))
    asks(stage, webhookSecretName="hook")
    assert stage.finish() == 0
    (one,) = receiver.received
    Verifier(key).verify(one.body, dict(one.headers))
    assert recorded(stage).outcome == "delivered"
    assert "t0ps3cret" not in json.dumps(stage.annotations())


def test_the_requests_url_with_the_secrets_key(stage: Stage, receiver: Receiver) -> None:
    """The URL in the request takes precedence over the URL in the Secret."""
    hook = kube_objects.webhook_secret("hook", url="http://127.0.0.1:1/", secret="plain")  # noqa: S106
    stage.server.put("secrets", hook)
    asks(stage, webhookUrl=receiver.url, webhookSecretName="hook")
    assert stage.finish() == 0
    assert receiver.received[0].headers["webhook-signature"].startswith("v1,")


NAMED = "Secret hook of namespace warm"


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (None, f"{NAMED} does not exist"),
        (
            kube_objects.webhook_secret("hook", label="false", url="http://127.0.0.1:1/"),
            f"{NAMED} is not for webhooks: it lacks the label ips-flow.io/webhook=true",
        ),
        (
            {"metadata": {"name": "hook"}},
            f"{NAMED} is not for webhooks: it lacks the label ips-flow.io/webhook=true",
        ),
        (
            kube_objects.webhook_secret("hook", secret="k"),  # noqa: S106
            f"{NAMED} has no url, and the request has no webhookUrl",
        ),
        (
            {
                "metadata": {"name": "hook", "labels": {"ips-flow.io/webhook": "true"}},
                "data": {"url": "/w=="},
            },
            f"{NAMED}: url is not text",
        ),
        (kube_objects.webhook_secret("hook", url="ftp://x"), "the URL is not an http or https URL"),
        (
            kube_objects.webhook_secret("hook", url="http://127.0.0.1:1/", secret="whsec_!"),  # noqa: S106
            "secret: got whsec_… with invalid base64; allowed: whsec_ followed by base64",
        ),
    ],
)
def test_a_secret_that_can_not_be_used(stage: Stage, secret: Any, reason: str) -> None:
    """The record has the reason, and the notification stays open, so that a user can fix the Secret."""
    if secret:
        stage.server.put("secrets", secret)
    asks(stage, webhookSecretName="hook")
    assert stage.finish() == 0
    made = recorded(stage)
    assert (made.outcome, made.reason, made.tries, made.rounds) == ("undelivered", reason, 0, 1)
    assert verdict(stage).status == "completed"


def test_a_secret_without_valid_keys(stage: Stage, receiver: Receiver) -> None:
    """A request with a Secret wants a signature: nothing is sent unsigned if the Secret's key is misspelt."""
    stage.server.put("secrets", kube_objects.webhook_secret("hook", sercet="k"))
    asks(stage, webhookUrl=receiver.url, webhookSecretName="hook")
    assert stage.finish() == 0
    assert recorded(stage).reason == f"{NAMED} has neither url nor secret"
    assert receiver.received == []


@pytest.mark.parametrize("what", ["secrets", "endpointslices"])
def test_a_missing_right(stage: Stage, receiver: Receiver, what: str) -> None:
    """A missing right is in the record. Nothing is sent if the addresses of the API server are unknown."""
    stage.server.put("secrets", kube_objects.webhook_secret("hook", url=receiver.url))
    stage.server.forbid(what, "get", what)
    asks(stage, webhookSecretName="hook")
    assert stage.finish() == 0
    assert recorded(stage).outcome == "undelivered"
    assert recorded(stage).reason == f"me may not get {what} in namespace warm"
    assert receiver.received == []


@pytest.mark.parametrize("setting", ["", "10.0.0.0/8", "127.0.0.1/8, nonsense"])
def test_a_forbidden_target(
    stage: Stage, receiver: Receiver, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loopback is refused unless a valid network allows it; `refused` is final."""
    stage.server.change("configmaps", "ips-config", {"data": {"webhook-allowed-networks": setting}})
    asks(stage, webhookUrl=receiver.url)
    assert stage.finish() == 0
    assert receiver.received == []
    made = recorded(stage)
    why = f"http://127.0.0.1:{receiver.port} is loopback, and not in webhook-allowed-networks"
    assert (made.outcome, made.reason, made.final) == ("refused", why, True)
    assert ("ignoring invalid networks: 127.0.0.1/8, nonsense" in capsys.readouterr().out) == ("," in setting)


def test_the_api_server_is_no_receiver(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No message is sent to an address in EndpointSlice `kubernetes`."""
    io = DeliveryIO(resolve=lambda host, _port: {"api": ["192.0.2.7"], "six": ["2001:db8::7"]}[host])
    monkeypatch.setattr(notify, "DELIVERY_IO", io)
    for name, address in (("kubernetes", "192.0.2.7"), ("kubernetes", "2001:db8::7")):
        slice_ = {
            "metadata": {"name": name},
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "https", "port": 6443}],
        }
        stage.server.put("endpointslices", slice_, namespace="default")
        url = f"https://{'six' if ':' in address else 'api'}:6443/api"
        asks(stage, webhookUrl=url)
        stage.workflow({"metadata": {"annotations": {ANNOTATION_NOTICE: None}}})
        assert stage.finish() == 0
        assert recorded(stage).outcome == "refused"
        assert f"has the address {address}, which is the API server" in recorded(stage).reason


def test_nothing_secret_is_logged(
    stage: Stage, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log and record have only the scheme and host of a URL."""
    receiver.otherwise = Reply(302, {"Location": receiver.url})
    asks(stage, webhookUrl=receiver.url)
    assert stage.finish() == 0
    said = capsys.readouterr().out + stage.annotations()[ANNOTATION_NOTICE]
    assert "t0ps3cret" not in said
    assert f"undelivered to http://127.0.0.1:{receiver.port} after 1 try: HTTP 302" in said


def test_a_task_of_the_form(stage: Stage, receiver: Receiver) -> None:
    """The webhook is in the parameters of the form; the verdict's patch annotates it for the keeper."""
    asks(stage)
    parameters = [{"name": "images", "value": GOOD}, {"name": "webhook-url", "value": receiver.url}]
    stage.workflow({"spec": {"arguments": {"parameters": parameters}}})
    assert stage.finish() == 0
    assert receiver.ids == [verdict(stage).event_id]
    assert Webhook.from_json(stage.annotations()[ANNOTATION_WEBHOOK]).url == receiver.url


def test_an_invalid_request(stage: Stage, receiver: Receiver) -> None:
    """A task with an invalid request has no known webhook and sends nothing."""
    parameters = [{"name": "images", "value": "Bad"}, {"name": "webhook-url", "value": receiver.url}]
    stage.workflow({"spec": {"arguments": {"parameters": parameters}}})
    assert stage.finish() == 0
    assert (verdict(stage).status, verdict(stage).notify) == ("failed", False)
    assert receiver.received == []


def deleted(stage: Stage, **annotations: str) -> str:
    """Delete the task's Workflow, and store the keeper's copy. Return when the task was created."""
    metadata = stage.workflow({"metadata": {"annotations": annotations}})["metadata"]
    stage.server.remove("workflows", TASK)
    stage.server.put("configmaps", copy_of(metadata, clock.stamp(clock.now())))
    return str(metadata["creationTimestamp"])


def notices(stage: Stage) -> list[Notice]:
    """Return the recorded rounds of a deleted task."""
    return [
        Notice.from_json(item["data"]["notice.json"])
        for (kind, _, name), item in stage.server.store.objects.items()
        if kind == "configmaps" and name.startswith("ips-notice-")
    ]


def test_a_deleted_task(stage: Stage, receiver: Receiver) -> None:
    """A deleted task is reported as cancelled; its id is derived from uid and creation time, so it is stable."""
    asks(stage)
    made = deleted(stage, **{ANNOTATION_WEBHOOK: Webhook(url=receiver.url).to_json()})
    assert stage.finish() == 0
    (one,) = receiver.received
    said = one.json()
    assert (one.id, said["event"]) == (f"{stage.uid}-{made}-cancelled", "task.cancelled")
    assert said["message"] == "the Workflow was deleted before its verdict"
    assert (said["task"]["status"], said["task"]["images"]) == ("cancelled", [GOOD])
    assert said["task"]["webhookUrl"] == receiver.url
    (record,) = notices(stage)
    assert (record.id, record.outcome, record.rounds) == (one.id, "delivered", 1)
    assert stage.finish() == 0
    assert len(receiver.received) == 1


def test_a_task_deleted_before_its_notification(stage: Stage, receiver: Receiver) -> None:
    """The message has the status and id of the verdict; a second round adds to the counts."""
    asks(stage, webhookUrl=receiver.url)
    receiver.otherwise = Reply(500)
    assert stage.finish() == 0
    event_id = verdict(stage).event_id
    deleted(stage)
    assert stage.finish() == 0
    receiver.otherwise = Reply(200)
    assert stage.finish() == 0
    assert set(receiver.ids) == {event_id}
    assert receiver.received[-1].json()["event"] == "task.completed"
    assert [(one.outcome, one.rounds, one.tries) for one in notices(stage)] == [
        ("undelivered", 2, 8),
        ("delivered", 3, 9),
    ]


@pytest.mark.parametrize("copied", [True, False])
def test_a_deleted_task_that_sends_nothing(stage: Stage, receiver: Receiver, copied: bool) -> None:
    """Without the keeper's copy, or without a webhook, finish sends nothing."""
    asks(stage, webhookUrl=receiver.url)
    if copied:
        deleted(stage)
    else:
        stage.server.remove("workflows", TASK)
    assert stage.finish() == 0
    assert (receiver.received, notices(stage)) == ([], [])


def test_killed_between_send_and_record_of_a_deleted_task(stage: Stage, receiver: Receiver) -> None:
    """A deleted task's message may be sent twice, with the same id."""
    asks(stage)
    deleted(stage, **{ANNOTATION_WEBHOOK: Webhook(url=receiver.url).to_json()})
    create = Kube.create

    def killed(self: Kube, path: str, body: Any, **options: Any) -> Any:
        if body["metadata"]["name"].startswith("ips-notice-"):
            raise KilledError
        return create(self, path, body, **options)

    with pytest.MonkeyPatch.context() as inner:
        inner.setattr(Kube, "create", killed)
        with pytest.raises(KilledError):
            stage.finish()
    assert stage.finish() == 0
    assert len(receiver.received) == 2
    assert len(set(receiver.ids)) == 1
