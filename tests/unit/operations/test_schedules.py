"""Schedules against a loopback API server: what is made, what is told of it, and why runs were missed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ips_flows.cli import main
from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_LATELY, LABEL_CRON_WORKFLOW
from ips_flows.core.errors import UsageError
from ips_flows.core.request.model import merge_overrides
from ips_flows.core.task import schedule, task
from ips_flows.core.task.schedule import Pause, ScheduleHistory
from ips_flows.kube.client import Kube
from ips_flows.operations import schedules
from tests.fakes.apiserver import ApiServer

on_a_server = pytest.mark.usefixtures("shell")
NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
CREATE = ("schedule", "create", "nightly", "--image", "busybox:1", "--cron", "0 * * * *")


def flow(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command."""
    code = main.run(list(words))
    told = capsys.readouterr()
    return code, told.out, told.err


def cron_workflow(**spec: Any) -> Any:
    """A CronWorkflow that is due at every full hour, made yesterday."""
    return {
        "metadata": {
            "name": "nightly",
            "namespace": "warm",
            "uid": "u1",
            "creationTimestamp": "2026-03-09T12:15:00Z",
            "annotations": {},
        },
        "spec": {
            "schedules": ["0 * * * *"],
            "timezone": "UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "successfulJobsHistoryLimit": 10,
            "failedJobsHistoryLimit": 10,
            "workflowSpec": {
                "arguments": {"parameters": [{"name": "request", "value": '{"images":["a:1"]}'}]}
            },
            **spec,
        },
    }


def made(
    hour: int, *, phase: str = "Succeeded", took: timedelta = timedelta(minutes=5), due: bool = True
) -> Any:
    """The Workflow that came of one hour, whole."""
    at = datetime(2026, 3, 10, hour, 0, 1, tzinfo=UTC)
    annotations = {"workflows.argoproj.io/scheduled-time": f"2026-03-10T{hour:02}:00:00Z"} if due else {}
    ended = {"finishedAt": clock.stamp(at + took)} if phase != "Running" else {}
    return {
        "metadata": {
            "name": f"nightly-{hour}",
            "namespace": "warm",
            "uid": f"w{hour}",
            "creationTimestamp": clock.stamp(at),
            "labels": {"ips-flow.io/task": "true", LABEL_CRON_WORKFLOW: "nightly"},
            "annotations": annotations,
        },
        "spec": {},
        "status": {"phase": phase, "startedAt": clock.stamp(at), **ended},
    }


def told(found: schedule.Schedule) -> list[tuple[str, str]]:
    """When each run was due, and its task or why there is none."""
    return [
        (f"{one.due:%H:%M}" if one.due else "by hand", one.task.name if one.task else one.why)
        for one in found.runs
    ]


# -- reading


def test_missed_runs_are_explained() -> None:
    """Suspended, kept out by a task that was not over, not seen to by the controller: each says which."""
    document = cron_workflow()
    lately = ScheduleHistory(
        since="2026-03-10T05:30:00Z",
        pauses=(Pause(since="2026-03-10T08:30:00Z", until="2026-03-10T09:30:00Z"),),
    )
    document["metadata"]["annotations"][ANNOTATION_LATELY] = lately.to_json()
    workflows = [
        made(6, took=timedelta(hours=1, minutes=30)),
        made(11, phase="Failed"),
        made(12, phase="Running"),
    ]
    found = schedule.read_schedule(document, workflows, NOW)
    nobody = "Argo's controller did not see to it within 600 s, or the task was deleted"
    assert told(found) == [
        ("12:00", "nightly-12"),
        ("11:00", "nightly-11"),
        ("10:00", nobody),
        ("09:00", "suspended"),
        ("08:00", nobody),
        ("07:00", "nightly-6 was not over"),
        ("06:00", "nightly-6"),
    ]
    assert (found.active, found.next_run) == (["nightly-12"], datetime(2026, 3, 10, 13, tzinfo=UTC))
    assert found.last
    assert found.last.task
    assert found.last.task.name == "nightly-12"
    runs = schedule.schedule_json(found, history=True)["runs"]
    assert runs[0]["taskId"] == "nightly-12"
    assert (runs[3]["dueAt"], runs[3]["taskId"], runs[3]["message"]) == (
        "2026-03-10T09:00:00Z",
        None,
        "suspended",
    )


def test_where_tasks_may_overlap_none_keeps_another_out() -> None:
    """A missed run has another cause then."""
    document = cron_workflow(concurrencyPolicy="Allow")
    document["metadata"]["creationTimestamp"] = "2026-03-10T10:30:00Z"
    found = schedule.read_schedule(document, [made(11, phase="Running")], NOW)
    assert next(why for _, why in told(found)).startswith("Argo's controller")


def test_what_argo_says_against_it() -> None:
    """A condition of the CronWorkflow is why nothing came of it."""
    document = cron_workflow()
    document["metadata"]["creationTimestamp"] = "2026-03-10T11:30:00Z"
    spec_error = {"type": "SpecError", "status": "True", "message": "template ips-prewarm not found"}
    document["status"] = {"conditions": [spec_error, {"type": "Completed", "status": "True"}]}
    found = schedule.read_schedule(document, [], NOW)
    assert found.problem == "template ips-prewarm not found"
    assert told(found) == [("12:00", found.problem)]


@pytest.mark.parametrize(("keep", "missed"), [(2, ["07:00"]), (3, ["07:00", "05:00"])])
def test_tasks_that_argo_has_cleared_away_are_not_called_missed(keep: int, missed: Sequence[str]) -> None:
    """Of what was before the oldest task that is kept nobody can say anything."""
    document = cron_workflow(successfulJobsHistoryLimit=keep, failedJobsHistoryLimit=keep)
    document["metadata"]["creationTimestamp"] = "2026-03-10T04:30:00Z"
    found = schedule.read_schedule(document, [made(6), made(8)], datetime(2026, 3, 10, 8, 30, tzinfo=UTC))
    assert [at for at, what in told(found) if not what.startswith("nightly")] == missed


def test_a_run_that_is_due_just_now_is_not_missed_yet() -> None:
    """Argo has a minute."""
    document = cron_workflow()
    document["metadata"]["creationTimestamp"] = "2026-03-10T11:30:00Z"
    assert schedule.read_schedule(document, [], datetime(2026, 3, 10, 12, 0, 59, tzinfo=UTC)).runs == ()


def test_a_task_made_by_hand_is_a_run_as_well() -> None:
    """It was due at no time, and is sorted by when it was made."""
    document = cron_workflow()
    document["metadata"]["creationTimestamp"] = "2026-03-10T11:30:00Z"
    found = schedule.read_schedule(document, [made(12), made(11, due=False)], NOW)
    assert told(found) == [("12:00", "nightly-12"), ("by hand", "nightly-11")]


def test_someone_elses_hand() -> None:
    """Two expressions, a zone that nobody knows, an annotation that is no JSON: what can be told is told."""
    document = cron_workflow(schedules=["0 * * * *", "30 * * * *"], timezone="Mars/Olympus")
    document["metadata"]["annotations"][ANNOTATION_LATELY] = "nonsense"
    found = schedule.read_schedule(document, [made(12)], NOW)
    assert (found.timing.expression, found.next_run, told(found)) == ("", None, [("12:00", "nightly-12")])
    assert schedule.schedule_json(found)["nextRun"] is None


@pytest.mark.parametrize("name", ["Nightly", "-a", "a-", "", "a.b", "n" * 42, "a\nb"])
def test_names_that_no_schedule_may_have(name: str) -> None:
    """Each task's name begins with it."""
    with pytest.raises(UsageError, match="at most 41 lower-case letters"):
        schedule.check_name(name)
    assert schedule.check_name("n" * 41) == "n" * 41


def test_a_time_that_nobody_can_read() -> None:
    """A task that says so of itself counts as made by hand."""
    document = cron_workflow()
    document["metadata"]["creationTimestamp"] = "2026-03-10T11:30:00Z"
    odd = made(12)
    odd["metadata"]["annotations"]["workflows.argoproj.io/scheduled-time"] = "at noon"
    assert ("by hand", "nightly-12") in told(schedule.read_schedule(document, [odd], NOW))


def test_pauses() -> None:
    """Twice the same changes nothing; only the last ten are kept."""
    lately = ScheduleHistory().resumed(NOW)
    assert lately == ScheduleHistory()
    lately = lately.suspended(NOW)
    assert lately.suspended(NOW + timedelta(hours=1)) == lately
    assert lately.was_paused(NOW + timedelta(days=1))
    assert not lately.was_paused(NOW - timedelta(seconds=1))
    ended = lately.resumed(NOW + timedelta(hours=1))
    assert ended.was_paused(NOW)
    assert not ended.was_paused(NOW + timedelta(hours=1))
    for hour in range(2, 30, 2):
        ended = ended.suspended(NOW + timedelta(hours=hour)).resumed(NOW + timedelta(hours=hour + 1))
    assert len(ended.pauses) == 10


# -- doing


@on_a_server
def test_a_schedule_from_its_making_to_its_end(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Made once, unchanged the second time, replaced only where that is asked for; suspended, resumed, deleted."""
    code, out, err = flow(capsys, *CREATE, "--priority", "9", "--timezone", "Asia/Shanghai")
    assert (code, out) == (0, "schedule nightly created\n")
    assert "next task due 20" in err
    assert "Asia/Shanghai" in err
    spec = server.get("cronworkflows", "nightly")["spec"]
    assert (spec["schedules"], spec["timezone"], spec["concurrencyPolicy"]) == (
        ["0 * * * *"],
        "Asia/Shanghai",
        "Forbid",
    )
    assert (spec["workflowSpec"]["priority"], spec["startingDeadlineSeconds"]) == (9, 600)
    assert spec["workflowMetadata"]["labels"] == {"ips-flow.io/task": "true"}
    again = flow(capsys, *CREATE, "--priority", "9", "--timezone", "Asia/Shanghai")
    assert again[:2] == (0, "schedule nightly unchanged\n")
    code, _, err = flow(capsys, *CREATE)
    assert code == 1
    assert "--replace" in err
    assert flow(capsys, *CREATE, "--replace")[1] == "schedule nightly replaced\n"
    assert server.get("cronworkflows", "nightly")["spec"]["timezone"] == "UTC"
    assert flow(capsys, "schedule", "suspend", "nightly")[1] == "schedule nightly suspended\n"
    (listed,) = json.loads(flow(capsys, "schedule", "list", "-o", "json")[1])["schedules"]
    assert (listed["suspended"], listed["nextRun"], listed["images"]) == (True, None, ["busybox:1"])
    assert "next task due 20" in flow(capsys, "schedule", "resume", "nightly")[1]
    assert flow(capsys, "schedule", "delete", "nightly")[1] == "schedule nightly deleted\n"
    code, _, err = flow(capsys, "schedule", "delete", "nightly")
    assert code == 1
    assert "there is no schedule nightly" in err


@on_a_server
def test_a_run_by_hand_is_the_task_that_argo_would_make(server: ApiServer, kube: Kube) -> None:
    """The same request, priority and marks; it belongs to the schedule."""
    request = merge_overrides(
        None, "flags", {"images": ["busybox:1"], "priority": 9, "labels": {"team": "x"}}
    )
    schedules.create_schedule(kube, "warm", "nightly", request, schedule.Timing("@daily"))
    submission = schedules.run_schedule(kube, "warm", "nightly")
    workflow = server.get("workflows", submission.task.name)
    assert task.is_task(workflow)
    assert workflow["metadata"]["labels"][LABEL_CRON_WORKFLOW] == "nightly"
    assert workflow["metadata"]["labels"]["team"] == "x"
    (owner,) = workflow["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("CronWorkflow", "nightly")
    assert (submission.task.priority, submission.task.images) == (9, ("busybox:1",))
    found = schedules.get_schedule(kube, "warm", "nightly")
    assert (found.active, [one.due for one in found.runs]) == ([submission.task.name], [None])


@on_a_server
def test_tasks_outlive_their_schedule(server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes is told to delete the schedule alone, though its tasks are its own."""
    request = merge_overrides(None, "flags", {"images": ["busybox:1"]})
    schedules.create_schedule(kube, "warm", "nightly", request, schedule.Timing("@daily"))
    asked: dict[str, Any] = {}
    delete = kube.delete

    def remember(path: str, **options: Any) -> bool:
        asked.update(options)
        return delete(path, **options)

    monkeypatch.setattr(kube, "delete", remember)
    schedules.delete_schedule(kube, "warm", "nightly")
    assert asked["propagation"] == "Orphan"
    assert not [key for key in server.store.objects if key[0] == "cronworkflows"]


@on_a_server
def test_the_list_and_the_history(kube: Kube, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables for people, names for shells."""
    code, _, err = flow(capsys, "schedule", "list")
    assert (code, err) == (0, "no schedules in namespace warm\n")
    flow(capsys, *CREATE)
    assert "has no runs yet" in flow(capsys, "schedule", "history", "nightly")[2]
    name = schedules.run_schedule(kube, "warm", "nightly").task.name
    header, row = flow(capsys, "schedule", "list", "-A", "-o", "wide")[1].splitlines()
    assert header.split()[:3] == ["NAMESPACE", "NAME", "CRON"]
    assert row.split()[:2] == ["warm", "nightly"]
    assert "pending" in row
    assert name in row
    header, row = flow(capsys, "schedule", "history", "nightly")[1].splitlines()
    assert header.split() == ["DUE", "TASK", "STATUS", "DURATION", "MESSAGE"]
    assert row.startswith("manual")
    assert name in row
    assert flow(capsys, "schedule", "history", "nightly", "-o", "name")[1] == f"{name}\n"
    assert flow(capsys, "schedule", "list", "-o", "name")[1] == "nightly\n"


@on_a_server
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*CREATE[:-1], "0 25 * * *"), "bad hour"),
        ((*CREATE, "--timezone", "Nowhere"), "time zone 'Nowhere' is not known"),
        ((*CREATE, "--name", "x"), "a schedule names its tasks itself"),
        (("schedule", "create", "Nightly", *CREATE[3:]), "schedule name 'Nightly'"),
        (("schedule", "create", "n" * 42, *CREATE[3:]), "at most 41"),
        (
            ("schedule", "create", "nightly", "--cron", "@daily"),
            (
                "error: nothing to schedule: neither FILE nor --image was given\n"
                "hint:  Give a request file, - for stdin, or an image: "
                "`ips-flow schedule create nightly --cron @daily --image busybox:1.37`.\n"
            ),
        ),
        ((*CREATE, "--priority", "11"), "priority"),
        (CREATE[:-2], "--cron"),
    ],
)
def test_what_is_refused(
    server: ApiServer, capsys: pytest.CaptureFixture[str], words: Sequence[str], message: str
) -> None:
    """Bad usage is 2, and nothing is made."""
    code, _, err = flow(capsys, *words)
    assert (code, message in err) == (2, True), err
    assert not [key for key in server.store.objects if key[0] == "cronworkflows"]


@on_a_server
def test_a_cron_workflow_of_someone_else(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """It is neither shown nor touched."""
    server.put("cronworkflows", {"metadata": {"name": "theirs"}, "spec": {"workflowSpec": {}}})
    assert flow(capsys, "schedule", "list", "-o", "name")[1] == ""
    for verb in ("suspend", "resume", "delete", "run", "history"):
        code, _, err = flow(capsys, "schedule", verb, "theirs")
        assert code == 1
        assert "is no schedule of IPS Flow" in err
    assert "suspend" not in server.get("cronworkflows", "theirs")["spec"]


@on_a_server
def test_one_that_can_not_be_suspended_keeps_no_other_from_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each name is seen to, and the code tells of the failure."""
    flow(capsys, *CREATE)
    code, out, err = flow(capsys, "schedule", "suspend", "missing", "nightly")
    assert (code, out) == (1, "schedule nightly suspended\n")
    assert "there is no schedule missing" in err
