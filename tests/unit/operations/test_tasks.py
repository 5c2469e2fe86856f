"""Operations on tasks, against a loopback API server."""

from __future__ import annotations

import re
import threading

import pytest

from ips_flows.core import errors
from ips_flows.core.request.model import merge_overrides
from ips_flows.core.task.task import Task
from ips_flows.kube import list_watch
from ips_flows.kube.client import Kube
from ips_flows.operations import follow, tasks
from ips_flows.operations.cancel import cancel_task
from ips_flows.operations.submit import submit_request
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import Argo, failed, pulled


def submit(kube: Kube, image: str = "busybox:1", **fields: object) -> Task:
    return submit_request(kube, "warm", merge_overrides(None, "flags", {"images": [image], **fields})).task


def test_a_task_without_a_name_gets_one(server: ApiServer, kube: Kube) -> None:
    """A generated name is short and unique; the Workflow refers to the template."""
    made = submit(kube)
    assert re.fullmatch(r"warm-[a-z0-9]{6}", made.name)
    assert made.status == "pending"
    spec = server.get("workflows", made.name)["spec"]
    assert spec["workflowTemplateRef"] == {"name": "ips-prewarm"}


def test_the_same_request_under_the_same_name_is_one_task(server: ApiServer, kube: Kube) -> None:
    """A second submit returns the existing task; another request under its name is refused."""
    request = merge_overrides(None, "flags", {"images": ["busybox:1"], "name": "a"})
    first = submit_request(kube, "warm", request)
    second = submit_request(kube, "warm", request)
    assert (first.created, second.created) == (True, False)
    assert first.task.uid == second.task.uid
    with pytest.raises(errors.NameTakenError, match="taken in namespace warm by a task with another request"):
        submit(kube, "busybox:2", name="a")
    server.put("workflows", {"metadata": {"name": "b"}})
    with pytest.raises(errors.NameTakenError, match="by a Workflow that is not a task of IPS Flow"):
        submit(kube, name="b")


def test_a_submitter_needs_no_more_than_create(server: ApiServer, kube: Kube) -> None:
    """If template and settings may not be read, they are assumed to exist."""
    server.forbid("GET .*/workflowtemplates/", "get", "workflowtemplates", "argoproj.io")
    assert submit(kube).status == "pending"


def test_a_list_reads_metadata_of_what_has_a_verdict(server: ApiServer, kube: Kube) -> None:
    """Tasks are sorted newest first. Whole Workflows are read only without a verdict, Jobs only if a task runs."""
    for name in ("old", "new"):
        submit(kube, name=name)
    server.change("workflows", "old", {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}})
    server.change("workflows", "new", {"metadata": {"creationTimestamp": "2026-01-02T00:00:00Z"}})
    argo = Argo(server, "old")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 1})
    argo.verdict({"a": pulled()})
    server.calls.clear()
    listed = tasks.list_tasks(kube, "warm")
    assert [(one.name, one.status, one.queue_position) for one in listed] == [
        ("new", "pending", 1),
        ("old", "completed", None),
    ]
    assert listed[1].progress.completed == 1
    assert not [call for call in server.calls if "/jobs" in call]
    assert len(server.calls) == 2


def test_a_list_in_full_has_the_failures(server: ApiServer, kube: Kube) -> None:
    """Failures are in the results, which only a full list reads."""
    submit(kube, name="a")
    argo = Argo(server, "a")
    argo.planned(waves={"wave-1": 1})
    argo.results({"n": failed()})
    argo.verdict({"n": failed()})
    assert tasks.list_tasks(kube, "warm")[0].failures == ()
    assert [line.node for line in tasks.list_tasks(kube, "warm", whole=True)[0].failures] == ["n"]


def test_a_list_that_expires_is_read_again(server: ApiServer, kube: Kube) -> None:
    """An expired continue token costs one more list and is not an error."""
    submit(kube, name="a")
    server.fail("GET .*/workflows", 410, "Expired", times=1)
    assert [one.name for one in tasks.list_tasks(kube, "warm")] == ["a"]


@pytest.mark.parametrize(
    ("phase", "shutdown"), [("", "Terminate"), ("Pending", "Terminate"), ("Running", "Stop")]
)
def test_cancel_stops_what_runs_and_ends_what_waits(
    server: ApiServer, kube: Kube, phase: str, shutdown: str
) -> None:
    """A running task is stopped, so that it can record its results; a pending task is terminated."""
    submit(kube, name="a")
    if phase:
        Argo(server, "a").phase(phase)
    assert cancel_task(kube, "warm", "a").shutdown == shutdown
    assert server.get("workflows", "a")["spec"]["shutdown"] == shutdown
    assert cancel_task(kube, "warm", "a").shutdown == shutdown


def test_cancel_reads_again_after_a_conflict(server: ApiServer, kube: Kube) -> None:
    """After a conflict the task is read again, and its new state decides."""
    submit(kube, name="a")
    server.fail("PATCH .*/workflows/a", 409, "Conflict", times=2)
    assert cancel_task(kube, "warm", "a").shutdown == "Terminate"


@pytest.mark.parametrize("with_verdict", [True, False])
def test_cancel_of_an_ended_task_reports_its_status(
    server: ApiServer, kube: Kube, *, with_verdict: bool
) -> None:
    """A cancel of an ended task reports its real status and patches nothing."""
    submit(kube, name="a")
    argo = Argo(server, "a")
    argo.planned(waves={"wave-1": 1})
    if with_verdict:
        argo.verdict({"n": pulled()})
    argo.phase("Succeeded")
    with pytest.raises(errors.TaskEndedError, match="has already ended: completed") as caught:
        cancel_task(kube, "warm", "a")
    assert caught.value.status == "completed"
    assert not [call for call in server.calls if call.startswith("PATCH")]


def test_follow_yields_every_state(server: ApiServer, kube: Kube) -> None:
    """Every state is yielded in order; the last has the verdict, and the waves from before the clean-up."""
    submit(kube, name="a")
    argo = Argo(server, "a")
    states = (one for one in follow.follow(kube, "warm", "a") if one)
    assert next(states).status == "pending"
    argo.phase("Running")
    assert next(states).status == "running"
    argo.planned(waves={"wave-1": 2})
    assert next(one for one in states if one.plan).progress.total == 2
    argo.progress(pulling=2)
    assert next(states).waves[0].pulling == 2
    argo.progress(done=1, failed=1)
    assert next(states).waves[0].done == 1
    argo.verdict({"a": pulled(), "b": failed()})
    *_, last = states
    assert (last.status, last.ended) == ("failed", True)
    assert [(wave.done, wave.failed) for wave in last.waves] == [(1, 1)]


def test_the_last_progress_is_awaited_after_the_verdict(
    server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch of the Jobs may lag behind, but the last state agrees with the verdict and shows no pull."""
    monkeypatch.setattr(follow, "PROGRESS_GRACE", 10.0)
    submit(kube, name="a")
    argo = Argo(server, "a")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 3})
    argo.progress(done=1, pulling=2)
    states = (one for one in follow.follow(kube, "warm", "a") if one)
    next(states)
    job = server.get("jobs", "a-g0-a0")
    argo.verdict({"a": pulled(), "b": pulled(), "c": failed()})
    server.put("jobs", job)
    timer = threading.Timer(0.2, argo.progress, kwargs={"done": 2, "failed": 1})
    timer.start()
    *_, last = states
    timer.join()
    assert [(wave.done, wave.pulling, wave.failed) for wave in last.waves] == [(2, 0, 1)]


def test_follow_recovers_from_api_failures(
    server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed lists and watches, and expired versions, are reported, and `follow` recovers from them."""
    monkeypatch.setattr(list_watch, "FIRST_PAUSE", 0.01)
    submit(kube, name="a")
    server.fail(r"GET .*/(workflows|jobs)\?.*", 0, times=3)
    said: list[str] = []
    states = follow.follow(kube, "warm", "a", narrate=said.append)
    first = next(one for one in states if one)
    assert first.status == "pending"
    assert said
    assert all(line.endswith("; trying again") for line in said)
    server.forget_history()
    argo = Argo(server, "a")
    argo.planned(waves={"wave-1": 1})
    argo.verdict({"n": pulled()})
    assert [one.status for one in states if one][-1] == "completed"


def test_a_task_that_ends_without_a_verdict_gets_a_grace(server: ApiServer, kube: Kube) -> None:
    """After Argo has ended the Workflow, `follow` waits a while for the verdict; without one, the phase decides."""
    submit(kube, name="a")
    Argo(server, "a").phase("Failed", "child failed")
    last = follow.wait_for_end(kube, "warm", "a", grace=0.2)
    assert (last.status, last.message) == (
        "failed",
        "the Workflow ended without a verdict: child failed; see `ips-flow logs`",
    )


def test_a_verdict_that_comes_late_still_counts(server: ApiServer, kube: Kube) -> None:
    """A verdict within the grace period decides."""
    submit(kube, name="a")
    argo = Argo(server, "a")
    argo.planned(waves={"wave-1": 1})
    argo.phase("Failed", "child failed")
    timer = threading.Timer(0.3, argo.verdict, [{"n": pulled()}])
    timer.start()
    assert follow.wait_for_end(kube, "warm", "a").status == "completed"
    timer.join()


def test_a_terminated_task_has_no_verdict_to_wait_for(server: ApiServer, kube: Kube) -> None:
    """A cancelled pending task ends immediately as cancelled, although Argo's phase is Succeeded."""
    submit(kube, name="a")
    cancel_task(kube, "warm", "a")
    Argo(server, "a").phase("Succeeded")
    last = follow.wait_for_end(kube, "warm", "a", grace=60)
    assert (last.status, last.message) == ("cancelled", "stopped before its plan was made")


def test_a_followed_task_that_is_deleted_is_not_found(server: ApiServer, kube: Kube) -> None:
    """If the task is deleted meanwhile, `follow` raises an error and does not wait forever."""
    submit(kube, name="a")
    states = follow.follow(kube, "warm", "a")
    next(one for one in states if one)
    server.remove("workflows", "a")
    with pytest.raises(errors.NotFoundError, match="task a does not exist in namespace warm"):
        list(states)


def test_the_queue_position_changes(server: ApiServer, kube: Kube) -> None:
    """A pending task moves up in the queue when an earlier task starts."""
    submit(kube, name="first", priority=9)
    submit(kube, name="second")
    states = (one for one in follow.follow(kube, "warm", "second") if one)
    assert next(states).queue_position == 2
    Argo(server, "first").phase("Running")
    assert next(states).queue_position == 1


def test_watching_yields_what_changed(server: ApiServer, kube: Kube) -> None:
    """`watch_tasks` yields all tasks first, then each task that changes."""
    submit(kube, name="a")
    submit(kube, name="b")
    changes = follow.watch_tasks(kube, "warm")
    assert sorted(one.name for one in next(changes)) == ["a", "b"]
    Argo(server, "b").phase("Running")
    assert [(one.name, one.status) for one in next(changes) if one.name == "b"] == [("b", "running")]
