"""Scaling and retrying tasks, against a loopback API server."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ips_flows.core import clock, errors
from ips_flows.core.constants import LABEL_KIND, LABEL_WORKFLOW_UID
from ips_flows.core.request.model import merge_overrides
from ips_flows.core.results.reasons import Result, SkipReason
from ips_flows.core.results.results import ImageResult, NodeResult
from ips_flows.core.task.as_json import task_json
from ips_flows.kube.client import Kube
from ips_flows.operations import tasks
from ips_flows.operations.cancel import cancel_task
from ips_flows.operations.queue import reprioritize
from ips_flows.operations.retry import retry_name, retry_task
from ips_flows.operations.scale import scale_task
from ips_flows.operations.submit import submit_request
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import AT, Argo, failed, pulled
from tests.support.kube_objects import group_plan

LEFT_OUT = NodeResult((ImageResult(Result.SKIPPED, SkipReason.CORDONED),), AT)
NOT_REACHED = NodeResult((ImageResult(Result.SKIPPED, SkipReason.NOT_REACHED),), AT)


def made(server: ApiServer, kube: Kube, name: str = "a", **fields: object) -> Argo:
    request = merge_overrides(None, "flags", {"images": ["busybox:1"], "name": name, **fields})
    submit_request(kube, "warm", request)
    argo = Argo(server, name)
    argo.phase("Running")
    return argo


def ended(argo: Argo, **nodes: NodeResult) -> None:
    argo.planned(waves={"wave-1": len(nodes)})
    argo.results(nodes)
    argo.verdict(nodes)
    argo.phase("Failed")


def request_of(server: ApiServer, name: str) -> dict[str, object]:
    (parameter,) = server.get("workflows", name)["spec"]["arguments"]["parameters"]
    request: dict[str, object] = json.loads(parameter["value"])
    return request


def test_a_retry_takes_failed_and_unreached_nodes(server: ApiServer, kube: Kube) -> None:
    """A retry submits the same request for the nodes that lack images. Nodes that the plan skipped stay skipped."""
    argo = made(server, kube, priority=9, labels={"team": "x"})
    ended(argo, n1=pulled(), n2=failed(), n3=NOT_REACHED, n4=LEFT_OUT)
    submission = retry_task(kube, "warm", "a")
    assert (submission.task.name, submission.created) == ("a-r1", True)
    before, after = request_of(server, "a"), request_of(server, "a-r1")
    assert after.pop("nodes") == ["n2", "n3"]
    assert after.pop("name") == "a-r1"
    assert {**before, "name": None, "nodes": None} == {**after, "name": None, "nodes": None}
    assert server.get("workflows", "a-r1")["metadata"]["annotations"]["ips-flow.io/retry-of"] == "a"


def test_a_retry_of_a_retry_gets_the_next_number(server: ApiServer, kube: Kube) -> None:
    """The name of every retry is derived from the first task, not from the task that is retried."""
    ended(made(server, kube), n1=pulled(), n2=failed())
    retry_task(kube, "warm", "a")
    ended(Argo(server, "a-r1"), n2=failed())
    assert retry_task(kube, "warm", "a-r1").task.name == "a-r2"


def test_a_running_retry_is_returned(server: ApiServer, kube: Kube) -> None:
    """A second retry returns the running one. A name that another task has is skipped."""
    ended(made(server, kube), n1=pulled(), n2=failed())
    made(server, kube, "a-r1", priority=1)
    first, second = retry_task(kube, "warm", "a"), retry_task(kube, "warm", "a")
    assert (first.task.name, second.task.name) == ("a-r2", "a-r2")
    assert (first.created, second.created) == (True, False)


def test_a_retry_without_a_verdict(server: ApiServer, kube: Kube) -> None:
    """If finish did not record the nodes that were never reached, a retry finds them in the stored plan."""
    argo = made(server, kube)
    argo.planned(waves={"wave-1": 2})
    argo.results({"n1": pulled()})
    labels = {LABEL_KIND: "plan", LABEL_WORKFLOW_UID: argo.uid}
    stored = {
        "metadata": {"name": "a-g0", "labels": labels},
        "binaryData": group_plan("busybox:1", nodes=["n1", "n2"]).encode(),
    }
    server.put("configmaps", stored)
    argo.phase("Failed")
    retry_task(kube, "warm", "a")
    assert request_of(server, "a-r1")["nodes"] == ["n2"]


def test_a_retry_of_a_task_without_a_plan(server: ApiServer, kube: Kube) -> None:
    """A retry of a task that ended before it was planned submits the unchanged request."""
    argo = made(server, kube, nodes=["n7"])
    argo.no_plan("no eligible node")
    argo.verdict({}, error="no eligible node")
    argo.phase("Failed")
    retry_task(kube, "warm", "a")
    assert request_of(server, "a-r1")["nodes"] == ["n7"]


def test_what_can_not_be_retried(server: ApiServer, kube: Kube) -> None:
    """A retry is refused, with the reason, if the task has not ended or no node failed."""
    argo = made(server, kube)
    with pytest.raises(errors.TaskNotEndedError, match="has not ended: running"):
        retry_task(kube, "warm", "a")
    ended(argo, n1=pulled())
    with pytest.raises(errors.NothingToRetryError, match="every image is on 1 of 1 nodes"):
        retry_task(kube, "warm", "a")
    with pytest.raises(errors.NotFoundError):
        retry_task(kube, "warm", "b")


@pytest.mark.parametrize(("number", "length"), [(1, 49), (10, 48), (12345, 45)])
def test_names_are_cut(number: int, length: int) -> None:
    """The name of a retry is a valid task name, however long the name of the first task is."""
    name = retry_name("x" * 52, number)
    assert (len(name), name) == (52, f"{'x' * length}-r{number}")
    assert retry_name("y" * 48 + "-zzz", 1) == "y" * 48 + "-r1"


def test_a_new_window_is_an_annotation(server: ApiServer, kube: Kube) -> None:
    """A scale sets the annotation that drivers read. The task shows this window until a driver reports one."""
    argo = made(server, kube)
    argo.planned(waves={"wave-1": 50})
    assert scale_task(kube, "warm", "a", "10%").window == 5
    assert server.get("workflows", "a")["metadata"]["annotations"]["ips-flow.io/batch-size"] == "10%"
    assert task_json(tasks.get_task(kube, "warm", "a"), clock.now())["window"] == 5
    assert scale_task(kube, "warm", "a", "0").window == 0
    for size, stored in (("000", "0"), ("007", "7")):
        scale_task(kube, "warm", "a", size)
        assert server.get("workflows", "a")["metadata"]["annotations"]["ips-flow.io/batch-size"] == stored


def test_a_scale_that_races_with_the_end(server: ApiServer, kube: Kube) -> None:
    """A conflict is tried again. A scale is refused if the task has ended or is being cancelled."""
    argo = made(server, kube)
    server.fail("PATCH .*/workflows/a", 409, "Conflict", "it changed", times=1)
    assert scale_task(kube, "warm", "a", "3").name == "a"
    cancel_task(kube, "warm", "a")
    with pytest.raises(errors.TaskEndedError, match="is being cancelled"):
        scale_task(kube, "warm", "a", "3")
    argo.verdict({}, stopped=True)
    with pytest.raises(errors.TaskEndedError, match="has already ended: cancelled"):
        scale_task(kube, "warm", "a", "3")


@pytest.mark.parametrize(
    ("verb", "doing"),
    [
        (lambda kube: scale_task(kube, "warm", "a", "3"), "it was being scaled"),
        (lambda kube: cancel_task(kube, "warm", "a"), "it was being cancelled"),
        (lambda kube: reprioritize(kube, "warm", "a", 9), "its priority was being changed"),
    ],
)
def test_a_change_gives_up_after_20_conflicts(
    server: ApiServer, kube: Kube, verb: Callable[[Kube], object], doing: str
) -> None:
    """After 20 conflicts a change fails with an error and has changed nothing."""
    submit_request(kube, "warm", merge_overrides(None, "flags", {"images": ["busybox:1"], "name": "a"}))
    before = server.get("workflows", "a")
    server.fail("PATCH .*/workflows/a", 409, "Conflict", "it changed", times=20)
    with pytest.raises(errors.ConflictError, match=f"task a changed 20 times while {doing}"):
        verb(kube)
    assert server.get("workflows", "a") == before
    assert all(fault.times == 0 for fault in server.faults)


def test_the_history_is_shown_while_it_waits_and_at_the_end(server: ApiServer, kube: Kube) -> None:
    """`retryHistory` is read from stored results. Between two attempts, the time of the next one is shown."""
    argo = made(server, kube, maxRetries=1, retryDelay=60)
    now = clock.stamp(clock.now())
    plan = argo.planned(waves={"wave-1": 2}).model_copy(
        update={"max_retries": 1, "retry_delay": 60, "deadline": "2999-01-01T00:00:00Z"}
    )
    server.change("workflows", "a", {"metadata": {"annotations": {"ips-flow.io/plan": plan.to_json()}}})
    lost = NodeResult(failed().images, now)
    argo.results({"n1": NodeResult(pulled().images, now), "n2": lost})
    document = task_json(tasks.get_task(kube, "warm", "a"), clock.now())
    assert document["retryHistory"] == [
        {
            "wave": "wave-1",
            "attempt": 1,
            "startedAt": None,
            "finishedAt": now,
            "nodes": 2,
            "failedNodes": 1,
            "failures": {"NotFound": 1},
            "nextDelaySeconds": 60,
        }
    ]
    assert clock.between(now, document["nextRetryAt"]) == 60
    assert document["retryCount"] == 0
