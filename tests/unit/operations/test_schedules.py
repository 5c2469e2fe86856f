"""Schedules against a loopback API server: their objects and their output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from ips_flows.cli import main
from ips_flows.core.constants import LABEL_CRON_WORKFLOW
from ips_flows.core.request.model import merge_overrides
from ips_flows.core.task import schedule, task
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
