"""Webhook notifications on the real cluster: one event with one id for each ended task, whatever ended it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from ips_flows.core.constants import ANNOTATION_NOTICE, ANNOTATION_VERDICT
from ips_flows.kube.client import core, workflows
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import Cluster
from tests.cluster.faults import kill_step, shut_down
from tests.cluster.test_warming import request, tagged
from tests.fakes.webhook_receiver import Receiver, Reply, certificate, receiving

HOST = "10.201.0.1"  # the address of the host, as seen from pods
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_LATER_SECONDS = 240  # twice: a pause of a minute, a round of the keeper, the start of a pod


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver that pods can reach."""
    with receiving(HOST) as one:
        yield one


def event_id(cluster: Cluster, name: str) -> str:
    """Return the event id in the verdict."""
    annotations = cluster.workflow(name)["metadata"]["annotations"]
    return str(json.loads(annotations[ANNOTATION_VERDICT])["eventId"])


def notice(cluster: Cluster, name: str) -> Any:
    """Return the current record of the webhook notification."""
    annotations = cluster.workflow(name)["metadata"].get("annotations") or {}
    return json.loads(annotations.get(ANNOTATION_NOTICE, "{}"))


def assert_told(cluster: Cluster, name: str, receiver: Receiver, status: str) -> Any:
    """Check that one event arrived, with the id of the only verdict; return the task in it."""
    await_marks(cluster, name)
    assert audit(cluster, name)["status"] == status
    assert receiver.events == [(event_id(cluster, name), f"task.{status}")]
    assert cluster.task(name)["notice"]["outcome"] == "delivered"
    return receiver.received[-1].json()["task"]


def test_a_completed_task_sends_an_event(cluster: Cluster, name: str, receiver: Receiver) -> None:
    """URL and key come from a Secret; the signature is valid, and the task is the same as in `get`."""
    data = {"url": receiver.url, "secret": KEY}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"ips-flow.io/webhook": "true"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
    cluster.kube.create(core(cluster.namespace, "secrets"), secret)
    try:
        image = tagged(cluster.push(f"tests/{name}:1"))
        cluster.submit(request(name=name, images=[image], webhookSecretName=name))
        told = assert_told(cluster, name, receiver, "completed")
    finally:
        cluster.kube.delete(core(cluster.namespace, "secrets", name))
    assert len(receiver.received) == 1
    assert told["nodeStatuses"] == cluster.task(name)["nodeStatuses"]
    (one,) = receiver.received
    Webhook(KEY).verify(one.body, dict(one.headers))
    shown = cluster.flow("get", name)
    assert f"webhook notification: delivered to http://{HOST}:{receiver.port} after 1 try" in shown.err
    logs = cluster.flow("logs", name)
    assert "t0ps3cret" not in shown.out + shown.err + logs.out + logs.err


def test_a_failed_task_sends_an_event(cluster: Cluster, name: str, receiver: Receiver) -> None:
    """After a 503 of the receiver the same event id is sent again."""
    receiver.will(Reply(503), Reply(429, {"Retry-After": "1"}))
    missing = f"{cluster.registry}/tests/{name}-missing:1"
    cluster.submit(request(name=name, images=[missing], webhookUrl=receiver.url))
    told = assert_told(cluster, name, receiver, "failed")
    assert {one["reason"] for one in told["failedNodeDetails"]} == {"NotFound"}
    assert len(receiver.received) == 3
    assert cluster.task(name)["notice"]["tries"] == 3


@pytest.mark.parametrize("how", ["Stop", "Terminate"])
def test_a_cancelled_task_sends_an_event(
    cluster: Cluster, name: str, receiver: Receiver, tarpit: str, how: str
) -> None:
    """A task that is cancelled while it runs sends one event; if Argo runs no exit handler, the keeper sends it."""
    cluster.submit(request(name=name, images=[f"{tarpit}/slow:1"], webhookUrl=receiver.url))
    cluster.await_pulling(name)
    shut_down(cluster, name, how)
    assert_told(cluster, name, receiver, "cancelled")
    assert len(receiver.received) == 1


def test_a_receiver_that_is_gone(cluster: Cluster, name: str, receiver: Receiver) -> None:
    """After a 410 no further request is sent, and the task is unchanged."""
    receiver.otherwise = Reply(410)
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.submit(request(name=name, images=[image], webhookUrl=receiver.url))
    await_marks(cluster, name)
    assert audit(cluster, name)["status"] == "completed"
    assert (notice(cluster, name)["outcome"], len(receiver.received)) == ("gone", 1)


@pytest.mark.parametrize("what", ["redirect", "certificate"])
def test_a_receiver_that_is_rejected(cluster: Cluster, name: str, tmp_path: Path, what: str) -> None:
    """A redirect is not followed and an untrusted certificate is rejected; the task records the reason."""
    tls = certificate(tmp_path)[0] if what == "certificate" else None
    with receiving(HOST) as other, receiving(HOST, tls=tls) as receiver:
        receiver.otherwise = Reply(307, {"Location": other.url})
        image = tagged(cluster.push(f"tests/{name}:1"))
        cluster.submit(request(name=name, images=[image], webhookUrl=receiver.url))
        await_marks(cluster, name)
        assert audit(cluster, name)["status"] == "completed"
        assert other.received == []
        told = cluster.task(name)["notice"]
    assert told["outcome"] == "undelivered"
    reasons = {"redirect": "redirects are not followed", "certificate": "TLS: self-signed certificate"}
    assert reasons[what] in told["reason"]
    assert cluster.flow("delete", name).code == 0  # otherwise the keeper would retry for a day


def test_the_api_server_is_not_called(cluster: Cluster, name: str) -> None:
    """No request is sent to its Service or an endpoint; the task still completes."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    found = cluster.kube.get(path)
    address, port = found["endpoints"][0]["addresses"][0], found["ports"][0]["port"]
    cluster.submit(request(name=name, images=[image], webhookUrl=f"https://{address}:{port}/api"))
    await_marks(cluster, name)
    task = audit(cluster, name)
    assert (task["status"], task["notice"]["outcome"], task["notice"]["tries"]) == ("completed", "refused", 0)
    assert "is the API server" in task["notice"]["reason"]


@pytest.mark.long
def test_a_receiver_that_is_down_while_finish_runs(cluster: Cluster, name: str) -> None:
    """The keeper delivers the event that Argo's finish could not deliver, with the same id."""
    with receiving(HOST) as away:
        port, url = away.port, away.url
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.submit(request(name=name, images=[image], webhookUrl=url))
    await_marks(cluster, name)
    first = notice(cluster, name)
    assert (first["outcome"], first["tries"]) == ("undelivered", 4)
    assert first["reason"].endswith("connection refused")
    with receiving(HOST, (port,)) as back:
        cluster.await_that(
            lambda: notice(cluster, name)["outcome"] == "delivered",
            _LATER_SECONDS,
            lambda: f"{name}: {notice(cluster, name)}",
        )
        assert_told(cluster, name, back, "completed")
        assert len(back.received) == 1
    assert notice(cluster, name)["id"] == first["id"]


@pytest.mark.long
def test_a_slow_receiver_blocks_no_task(cluster: Cluster, name: str, receiver: Receiver) -> None:
    """A receiver that never responds delays the Workflow by 45 s at most; the verdict does not change."""
    receiver.otherwise = Reply(silent=True)
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.submit(request(name=name, images=[image], webhookUrl=receiver.url))
    await_marks(cluster, name)
    assert audit(cluster, name)["status"] == "completed"
    assert notice(cluster, name)["outcome"] == "undelivered"
    assert 4 <= len(receiver.received) <= 5
    receiver.ended.set()  # end the hanging responses
    receiver.otherwise = Reply(204)
    cluster.await_that(lambda: notice(cluster, name)["outcome"] == "delivered", _LATER_SECONDS)
    assert receiver.events == [(event_id(cluster, name), "task.completed")]


@pytest.mark.alone
@pytest.mark.long
def test_finish_is_killed_while_it_sends(cluster: Cluster, name: str, receiver: Receiver) -> None:
    """An event that was sent but not recorded is sent again with the same id."""
    receiver.otherwise = Reply(silent=True)
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.submit(request(name=name, images=[image], webhookUrl=receiver.url))
    cluster.await_that(lambda: bool(receiver.received), 120, lambda: "nothing was sent")
    assert kill_step("finish", name)
    receiver.ended.set()
    receiver.otherwise = Reply(204)
    assert_told(cluster, name, receiver, "completed")
    assert len(receiver.received) >= 2


@pytest.mark.long
@pytest.mark.parametrize("propagation", ["Background", "Orphan"])
def test_a_workflow_deleted_while_it_runs(
    cluster: Cluster, name: str, receiver: Receiver, tarpit: str, propagation: str
) -> None:
    """The keeper sends one event `cancelled`, and then deletes its records of the task."""
    cluster.submit(request(name=name, images=[f"{tarpit}/slow:1"], webhookUrl=receiver.url))
    cluster.await_pulling(name)
    metadata = cluster.workflow(name)["metadata"]
    uid, made = metadata["uid"], metadata["creationTimestamp"]
    cluster.kube.delete(workflows(cluster.namespace, name), propagation=propagation)
    cluster.await_that(lambda: bool(receiver.received), _LATER_SECONDS, lambda: f"{name}: no event was sent")
    cluster.await_forgotten(uid, 120)
    cluster.await_nothing_left(name, 90)
    assert receiver.events == [(f"{uid}-{made}-cancelled", "task.cancelled")]
    assert len(receiver.received) == 1
