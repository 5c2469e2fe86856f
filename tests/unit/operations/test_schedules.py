"""Schedules against a loopback API server: their objects, their output, and the reasons for missed runs."""

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
    """Run a command; return its exit code, stdout and stderr."""
    code = main.run(list(words))
    told = capsys.readouterr()
    return code, told.out, told.err


def cron_workflow(**spec: Any) -> Any:
    """A CronWorkflow that is due every full hour, created yesterday."""
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
    """The complete Workflow of the run at one hour."""
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
    """Return for each run when it was due, and its task or the reason why it has none."""
    return [
        (f"{one.due:%H:%M}" if one.due else "by hand", one.task.name if one.task else one.why)
        for one in found.runs
    ]


# -- reading


def test_missed_runs_are_explained() -> None:
    """A missed run has its reason: suspended, an earlier task still ran, or the controller did not create it."""
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
    not_created = "Argo's controller created no task within 600 s, or the task was deleted"
    assert told(found) == [
        ("12:00", "nightly-12"),
        ("11:00", "nightly-11"),
        ("10:00", not_created),
        ("09:00", "suspended"),
        ("08:00", not_created),
        ("07:00", "nightly-6 had not ended"),
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


def test_with_overlap_no_task_blocks_another() -> None:
    """With concurrencyPolicy Allow, a running task is never the reason for a missed run."""
    document = cron_workflow(concurrencyPolicy="Allow")
    document["metadata"]["creationTimestamp"] = "2026-03-10T10:30:00Z"
    found = schedule.read_schedule(document, [made(11, phase="Running")], NOW)
    assert next(why for _, why in told(found)).startswith("Argo's controller")


def test_an_error_condition_of_argo() -> None:
    """An error condition of the CronWorkflow is the reason for its missed runs."""
    document = cron_workflow()
    document["metadata"]["creationTimestamp"] = "2026-03-10T11:30:00Z"
    spec_error = {"type": "SpecError", "status": "True", "message": "template ips-prewarm not found"}
    document["status"] = {"conditions": [spec_error, {"type": "Completed", "status": "True"}]}
    found = schedule.read_schedule(document, [], NOW)
    assert found.problem == "template ips-prewarm not found"
    assert told(found) == [("12:00", found.problem)]


@pytest.mark.parametrize(("keep", "missed"), [(2, ["07:00"]), (3, ["07:00", "05:00"])])
def test_tasks_that_argo_has_deleted_are_not_missed_runs(keep: int, missed: Sequence[str]) -> None:
    """Runs before the oldest kept task are not shown as missed, since Argo may have deleted their tasks."""
    document = cron_workflow(successfulJobsHistoryLimit=keep, failedJobsHistoryLimit=keep)
    document["metadata"]["creationTimestamp"] = "2026-03-10T04:30:00Z"
    found = schedule.read_schedule(document, [made(6), made(8)], datetime(2026, 3, 10, 8, 30, tzinfo=UTC))
    assert [at for at, what in told(found) if not what.startswith("nightly")] == missed


def test_a_run_that_is_due_just_now_is_not_missed_yet() -> None:
    """A run counts as missed only one minute after it was due."""
    document = cron_workflow()
    document["metadata"]["creationTimestamp"] = "2026-03-10T11:30:00Z"
    assert schedule.read_schedule(document, [], datetime(2026, 3, 10, 12, 0, 59, tzinfo=UTC)).runs == ()


def test_a_manual_task_is_a_run() -> None:
    """A manual run has no due time and is sorted by its creation time."""
    document = cron_workflow()
    document["metadata"]["creationTimestamp"] = "2026-03-10T11:30:00Z"
    found = schedule.read_schedule(document, [made(12), made(11, due=False)], NOW)
    assert told(found) == [("12:00", "nightly-12"), ("by hand", "nightly-11")]


def test_a_schedule_that_another_client_changed() -> None:
    """A schedule with two expressions, an unknown time zone and an invalid annotation is still shown."""
    document = cron_workflow(schedules=["0 * * * *", "30 * * * *"], timezone="Mars/Olympus")
    document["metadata"]["annotations"][ANNOTATION_LATELY] = "nonsense"
    found = schedule.read_schedule(document, [made(12)], NOW)
    assert (found.timing.expression, found.next_run, told(found)) == ("", None, [("12:00", "nightly-12")])
    assert schedule.schedule_json(found)["nextRun"] is None


@pytest.mark.parametrize("name", ["Nightly", "-a", "a-", "", "a.b", "n" * 42, "a\nb"])
def test_names_that_no_schedule_may_have(name: str) -> None:
    """A schedule name must be a valid prefix of task names."""
    with pytest.raises(UsageError, match="at most 41 lower-case letters"):
        schedule.check_name(name)
    assert schedule.check_name("n" * 41) == "n" * 41


def test_an_invalid_scheduled_time() -> None:
    """A task whose scheduled time is not valid counts as a manual run."""
    document = cron_workflow()
    document["metadata"]["creationTimestamp"] = "2026-03-10T11:30:00Z"
    odd = made(12)
    odd["metadata"]["annotations"]["workflows.argoproj.io/scheduled-time"] = "at noon"
    assert ("by hand", "nightly-12") in told(schedule.read_schedule(document, [odd], NOW))


def test_pauses() -> None:
    """A repeated suspend or resume changes nothing; only the last ten pauses are kept."""
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
def test_the_life_cycle_of_a_schedule(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule is created, unchanged the second time, replaced only with --replace, suspended, resumed, deleted."""
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
    assert "schedule nightly does not exist" in err


@on_a_server
def test_a_manual_run_is_the_task_that_argo_would_create(server: ApiServer, kube: Kube) -> None:
    """A manual run has the request, priority, labels and owner that Argo would set."""
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
    """A delete orphans the tasks of the schedule, so that Kubernetes does not delete them."""
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
    """`list` and `history` print tables, and names with -o name."""
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
        ((*CREATE, "--timezone", "Nowhere"), "unknown time zone 'Nowhere'"),
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
    """Invalid usage exits with 2 and creates nothing."""
    code, _, err = flow(capsys, *words)
    assert (code, message in err) == (2, True), err
    assert not [key for key in server.store.objects if key[0] == "cronworkflows"]


@on_a_server
def test_a_cron_workflow_of_another_client(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A CronWorkflow of another client is neither shown nor changed."""
    server.put("cronworkflows", {"metadata": {"name": "theirs"}, "spec": {"workflowSpec": {}}})
    assert flow(capsys, "schedule", "list", "-o", "name")[1] == ""
    for verb in ("suspend", "resume", "delete", "run", "history"):
        code, _, err = flow(capsys, "schedule", verb, "theirs")
        assert code == 1
        assert "is not a schedule of IPS Flow" in err
    assert "suspend" not in server.get("cronworkflows", "theirs")["spec"]


@on_a_server
def test_a_failed_suspend_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All names are processed, and the exit code reports the failure."""
    flow(capsys, *CREATE)
    code, out, err = flow(capsys, "schedule", "suspend", "missing", "nightly")
    assert (code, out) == (1, "schedule nightly suspended\n")
    assert "schedule missing does not exist" in err
