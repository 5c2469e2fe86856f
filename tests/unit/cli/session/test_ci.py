"""Support for pipelines: exit codes, folded logs, reports, cancellation on a signal."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ips_flows.argo.submit import submit_template
from ips_flows.cli.main import run
from ips_flows.cli.session import ci
from tests.fakes.apiserver import ApiServer, Fault
from tests.fakes.argo import Argo, completes, fails, on_submit
from tests.support.forks import Fork, running_command
from tests.support.rbac import EXECUTOR, granted, needed

pytestmark = pytest.mark.usefixtures("shell")
RUN = ("run", "--image", "busybox:1", "--name", "a")


# -- folds


@pytest.mark.parametrize(
    ("environment", "begin", "end"),
    [
        ({"GITHUB_ACTIONS": "true"}, "::group::task a\n", "::endgroup::\n"),
        ({"GITLAB_CI": "true"}, ":ips_flow\r\x1b[0Ktask a\n", ":ips_flow\r\x1b[0K\n"),
    ],
)
def test_what_is_followed_is_folded(
    server: ApiServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    begin: str,
    end: str,
) -> None:
    """The lines of the task are between the marks, its end is after them."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    on_submit(server, completes)
    assert run(list(RUN)) == 0
    err = capsys.readouterr().err
    assert err.index(begin) < err.index("a: planned 1 node") < err.index(end)
    assert err.endswith(end)


def test_nothing_is_folded_outside_of_ci_systems() -> None:
    """Other values of the variables are not a CI system."""
    assert ci.log_group("t", {"GITHUB_ACTIONS": "false", "CI": "true"}) is None


# -- reports


def test_a_report_of_a_followed_task(
    server: ApiServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A missing folder is created; `wait` writes one report for several tasks."""
    on_submit(server, fails)
    file = tmp_path / "reports" / "a.xml"
    assert run([*RUN, "--junit", str(file)]) == 1
    assert ET.parse(file).getroot().get("failures") == "1"  # noqa: S314  (ours)
    on_submit(server, completes)
    assert run(["run", "--image", "busybox:1", "--name", "b"]) == 0
    assert run(["wait", "a", "b", "--junit", str(file)]) == 1
    root = ET.parse(file).getroot()  # noqa: S314  (ours)
    assert [suite.get("name") for suite in root] == ["a", "b"]
    assert run(["wait", "b", "--junit", str(file)]) == 0
    capsys.readouterr()
    assert run(["wait", "b", "--junit", "/proc/nowhere/x.xml"]) == 2
    assert "--junit /proc/nowhere/x.xml: can't be written" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [("--junit", "x.xml"), ("--cancel-on-exit",), ("--cancel-with", "w")])
def test_detach_excludes_options_of_following(
    capsys: pytest.CaptureFixture[str], flag: tuple[str, ...]
) -> None:
    """The error is printed before anything is submitted."""
    assert run([*RUN, "--detach", *flag]) == 2
    assert (
        f"--detach does not follow the task; it can't be combined with {flag[0]}" in capsys.readouterr().err
    )


# -- exit codes


def test_get_exits_like_run(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 124 while the task runs; without the flag it is 0 for any status."""
    assert run([*RUN, "--detach"]) == 0
    assert run(["get", "a", "--exit-code"]) == 124
    fails(Argo(server, "a"))
    assert run(["get", "a", "--exit-code"]) == 1
    assert run(["get", "a", "--exit-code", "-w"]) == 1
    assert run(["get", "a"]) == 0
    capsys.readouterr()


# -- the request from elsewhere


def test_a_request_in_the_environment(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPS_FLOW_REQUEST, set by `ips-submit`, is the request; with the same --name-from the task is found again."""
    monkeypatch.setenv("IPS_FLOW_REQUEST", json.dumps({"images": ["busybox:1"], "priority": 7}))
    assert run(["run", "--detach", "--name-from", "uid/key"]) == 0
    (name,) = [key[2] for key in server.store.objects if key[0] == "workflows"]
    assert name.startswith("from-")
    assert server.get("workflows", name)["spec"]["priority"] == 7
    assert run(["run", "--detach", "--name-from", "uid/key"]) == 0
    assert run(["run", "--detach", "--name-from", "uid/other"]) == 0
    assert len([key for key in server.store.objects if key[0] == "workflows"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--request", "images: [A]"), "--request:1:10"),
        (("run", "x.yaml", "--request", "images: [a]"), "give one of them"),
        (("run", "--image", "a", "--name", "x", "--name-from", "y"), "give one of them"),
    ],
)
def test_requests_that_are_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    """Two requests, two names and an invalid request are errors."""
    assert run(list(words)) == 2
    assert message in capsys.readouterr().err


def test_the_role_of_submit_grants_what_it_does_and_no_more(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submit, follow, find again and cancel use each permission of the step's ServiceAccount, and need no other."""
    words = submit_template().to_dict()["spec"]["templates"][0]["container"]
    monkeypatch.setenv("IPS_FLOW_REQUEST", '{"images": ["busybox:1"]}')
    monkeypatch.setenv("IPS_FLOW_NAMESPACE", "warm")
    command = [*words["command"], *words["args"]][1:]
    on_submit(server, completes)
    assert run(command) == 0
    assert run(command) == 0
    monkeypatch.setenv("IPS_FLOW_REQUEST", '{"images": ["busybox:2"]}')
    with running_command(*command[:-1], "another", until="in the queue") as one:
        one.terminate()
        server.await_call("PATCH .*/workflows/from-")
    assert needed(server.calls) | EXECUTOR == granted("ips-flow-submit")


# -- signals


@contextmanager
def following(*flags: str) -> Iterator[Fork]:
    """Run `run` in its own process, which follows a waiting task."""
    with running_command(*RUN, *flags, until="in the queue") as one:
        yield one


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_ended_cancels_its_task(server: ApiServer, number: signal.Signals) -> None:
    """With --cancel-on-exit the task is cancelled, its end is printed, and the exit code is 3."""
    with following("--cancel-on-exit") as process:
        process.send_signal(number)
        argo = Argo(server, "a")
        argo.wait_for(lambda workflow: workflow["spec"].get("shutdown") == "Terminate")
        argo.verdict({}, stopped=True)
        argo.phase("Failed")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "interrupted: cancelling task a" in err
    assert "cancelled" in out


@pytest.mark.parametrize("how", ["goes on", "stopped", "deleted", "gone"])
def test_a_step_of_a_workflow_is_ended(server: ApiServer, how: str) -> None:
    """The task is cancelled only if the Workflow was stopped or deleted; otherwise another pod follows it."""
    if how != "gone":
        outer: dict[str, Any] = {"metadata": {"name": "outer"}, "spec": {}}
        if how == "stopped":
            outer["spec"]["shutdown"] = "Stop"
        if how == "deleted":
            outer["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        server.put("workflows", outer)
    with following("--cancel-with", "outer") as process:
        process.send_signal(signal.SIGTERM)
        if how != "goes on":
            argo = Argo(server, "a")
            argo.wait_for(lambda workflow: workflow["spec"].get("shutdown") == "Terminate")
            argo.verdict({}, stopped=True)
            argo.phase("Failed")
        _, err = process.communicate(timeout=60)
    assert process.returncode == (143 if how == "goes on" else 3), err
    assert ("shutdown" in server.get("workflows", "a")["spec"]) == (how != "goes on")


def test_a_task_that_ends_before_its_cancellation(server: ApiServer) -> None:
    """The exit code is that of the task's real end."""

    def completed_meanwhile(method: str, path: str) -> bool:
        if method != "PATCH" or "/workflows/a" not in path:
            return False
        completes(Argo(server, "a"))
        return True

    with following("--cancel-on-exit") as process:
        conflict = {
            "kind": "Status",
            "status": "Failure",
            "reason": "Conflict",
            "message": "it changed",
            "code": 409,
        }
        server.faults.append(Fault(completed_meanwhile, 409, conflict, 1))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "task a has already ended" in err


def test_a_signal_during_the_submission_is_delayed() -> None:
    """A signal during the submission is delayed until the task can be cancelled."""
    with ci.signal_guard(wanted=True) as end:
        signal.raise_signal(signal.SIGTERM)
        assert end.came
        with pytest.raises(KeyboardInterrupt):
            end.ready()
    with ci.signal_guard(wanted=True) as end:
        end.ready()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
