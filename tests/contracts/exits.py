"""Exit codes by situation, determined by running the code: each situation is created, or its error is raised."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest import mock

import click

from ips_flows.cli.main import cli
from ips_flows.cli.options.common import Target
from ips_flows.cli.session import follow, submit_and_follow
from ips_flows.cli.session.outcome import Outcome, code_of
from ips_flows.cli.session.targets import ConnectedTarget
from ips_flows.core import errors
from ips_flows.core.constants import LABEL_TASK, LABEL_VERDICT
from ips_flows.core.task.task import Task
from ips_flows.core.task.workflow_status import STATUSES
from ips_flows.kube.client import workflows
from ips_flows.operations.forecast import Forecaster
from ips_flows.operations.submit import Submission
from steps import context
from steps import filter as filter_step
from tests.contracts.console import typed
from tests.contracts.documents import checkable
from tests.contracts.examples import APP, AT, NAMESPACE, TASK, UID
from tests.contracts.forecasts import forecast
from tests.contracts.tape import Tape

# Situation → an error of each kind.
ERRORS: dict[str, BaseException] = {
    "the request is invalid": errors.BadRequestError([errors.FieldProblem("f", 1, 1, "images", "m")]),
    "the command can't be carried out as typed": errors.UsageError("m"),
    "the command line can't be parsed": click.UsageError("m"),
    "a file can't be opened": click.FileError("f", "m"),
    "the name belongs to another request": errors.NameTakenError("m"),
    "the task has ended already": errors.TaskEndedError("m", "failed"),
    "the task has started already": errors.TaskStartedError("m"),
    "the task has not ended yet": errors.TaskNotEndedError("m"),
    "the task lost no node": errors.NothingToRetryError("m"),
    "the task did not end in time": errors.WaitTimeoutError("m"),
    "a part is not installed": errors.NotInstalledError("m"),
    "tasks have not ended": errors.TasksRunError("m"),
    "a stored format is newer": errors.NewerFormatError("m"),
    "no plan can be made": errors.PlanError("m"),
    "no usable kubeconfig": errors.KubeconfigError("m"),
    "the API fails": errors.ApiError("m"),
    "the API says 400 or 422": errors.InvalidError("m"),
    "the API says 401": errors.UnauthorizedError("m"),
    "the API says 403": errors.ForbiddenError("m"),
    "the API says 404": errors.NotFoundError("m"),
    "the API says 409": errors.ConflictError("m"),
    "the API says 410": errors.GoneError("m"),
    "the API says 429 or 5xx, or does not answer": errors.UnavailableError("m"),
    "any other error of ours": errors.IpsFlowError("m"),
    "Ctrl-C": KeyboardInterrupt(),
    "a prompt is aborted": click.Abort(),
}


def exit_codes() -> dict[str, dict[str, int]]:
    """Return group of situations → situation → exit code."""
    return {
        "errors": {name: _raised(error) for name, error in ERRORS.items()},
        "typed": {
            f"ips-flow {line}".strip(): typed(*line.split()).code
            for line in ("", "--help", "run --help", "nonsense", "get", "get --nonsense", "version --client")
        },
        "a task's end": {status: follow.exit_code(_task(status)) for status in STATUSES[2:]},
        "get --exit-code": {status: _got(status) for status in STATUSES},
        "following": {
            "the time given by --timeout is up": follow.TIMED_OUT,
            "interrupted, the task goes on": follow.INTERRUPTED,
            "replaced by another pod, the task goes on": submit_and_follow._REPLACED,
        },
        "several tasks": _several(),
        "verdict of a command": _verdicts(),
        "steps": {
            "lost: another pod takes over": context.EXIT_REPLACE_POD,
            "an unforeseen error": context.EXIT_CRASHED,
            "no plan can be made": filter_step.EXIT_NO_PLAN,
        },
    }


def _several() -> dict[str, int]:
    completed, failed, cancelled = (_fate(_task(status)) for status in STATUSES[2:])
    goes_on = _fate(None)
    invalid = _fate(errors.BadRequestError([errors.FieldProblem("f", 1, 1, "images", "m")]))
    unreachable = _fate(errors.UnavailableError("m"))
    return {
        "all completed": code_of([completed, completed]),
        "one failed, one error": code_of([invalid, failed]),
        "errors, the first an invalid request": code_of([invalid, unreachable]),
        "errors, the first an unreachable cluster": code_of([unreachable, invalid]),
        "one cancelled, one completed": code_of([completed, cancelled]),
        "one failed, one cancelled": code_of([cancelled, failed]),
        "one goes on, one completed": code_of([goes_on, completed]),
    }


def _verdicts() -> dict[str, int]:
    """Return the exit codes of commands that report their findings by the exit code."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    known, unknown = (
        json.dumps({**pod, "spec": {"containers": [{"name": "c", "image": image}]}})
        for image in (APP, "{{x}}")
    )
    with tempfile.TemporaryDirectory() as folder:
        rendered = typed("render", "--output", folder).code
        current = typed("render", "--check", "--output", folder).code
        next(Path(folder).glob("*.yaml")).unlink()
        outdated = typed("render", "--check", "--output", folder).code
    with mock.patch.object(Forecaster, "forecast", return_value=forecast()):
        planned = typed("plan", "--image", APP, "-o", "json")
    assert planned.document["ok"] is False
    return {
        "images: all are told": typed("images", "-", stdin=known).code,
        "images: one can't be told": typed("images", "-", stdin=known + "\n---\n" + unknown).code,
        "plan: the task would fail": planned.code,
        "doctor: something fails": typed("doctor", tape=checkable()).code,
        "render": rendered,
        "render --check: up to date": current,
        "render --check: out of date": outdated,
    }


def _raised(error: BaseException) -> int:
    """Return the exit code of a command that raises an error."""
    with mock.patch.object(cli, "main", side_effect=error):
        return typed().code


def _got(status: str) -> int:
    """Return the exit code of `get --exit-code` for a task with this status."""
    tape = Tape()
    label = {} if status in STATUSES[:2] else {LABEL_VERDICT: status}
    phases = {"pending": "Pending", "running": "Running", "completed": "Succeeded"}
    tape.put(
        workflows(NAMESPACE, TASK),
        {
            "metadata": {"uid": UID, "labels": {LABEL_TASK: "true", **label}},
            "spec": {},
            "status": {"phase": phases.get(status, "Failed")},
        },
    )
    return typed("get", TASK, "--exit-code", tape=tape).code


def _task(status: str) -> Task:
    known = next(one for one in STATUSES if one == status)
    return Task(name=TASK, namespace=NAMESPACE, uid=UID, status=known, ended=True, created_at=AT, request={})


def _fate(end: Task | errors.IpsFlowError | None) -> Outcome:
    place = ConnectedTarget(Tape().kube(), Target(None, None, None), NAMESPACE)
    return Outcome(place, Submission(_task("running"), created=True), end)
