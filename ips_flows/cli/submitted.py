"""What the verbs that submit share: their options, telling of the task that was submitted, and following it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ips_flows.cli.narration import put, say
from ips_flows.cli.options import Target, output_option, timeout_option
from ips_flows.cli.pipelines import Ending, ending, junit_option, write_junit
from ips_flows.errors import IpsFlowError

if TYPE_CHECKING:
    from ips_flows.cli.following import Left
    from ips_flows.kube import Kube
    from ips_flows.task import Task
    from ips_flows.tasks import Submission

F = TypeVar("F", bound=Callable[..., Any])

_CANCELLED = 3
_REPLACED = 143  # as by SIGTERM: Argo starts another pod
_LAST_WORDS_SECONDS = 20.0  # for the verdict of a task that we cancelled: whoever ended us waits 30 s


@dataclass(frozen=True, slots=True)
class Manner:
    """What a verb does with the task that it submitted. `timeout` is in seconds."""

    detach: bool
    timeout: float | None
    output: str
    junit: Path | None
    cancel_on_exit: bool
    cancel_with: str = ""  # only if this Workflow was stopped

    @property
    def cancels(self) -> bool:
        """Whether an end of the command may be the end of its tasks."""
        return self.cancel_on_exit or bool(self.cancel_with)


def follow_options(command: F) -> F:
    """How a submitted task is followed: the command gets it as `manner`."""

    @click.option("--detach", is_flag=True, help="Submit only; do not follow.")
    @click.option(
        "--cancel-on-exit",
        is_flag=True,
        help="Ctrl-C or SIGTERM cancels the task  [exit code 3].",
    )
    @click.option(
        "--cancel-with",
        metavar="WORKFLOW",
        default="",
        help="The same, if this Argo Workflow was stopped or deleted; else the task goes on  [exit code 143].",
    )
    @junit_option
    @timeout_option("Stop following after this long; the task goes on  [exit code 124].")
    @output_option()
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        detach: bool,
        cancel_on_exit: bool,
        cancel_with: str,
        junit: Path | None,
        timeout: float | None,
        output: str,
        **options: Any,
    ) -> Any:
        if detach and (junit or cancel_on_exit or cancel_with):
            given = "--junit" if junit else "--cancel-on-exit" if cancel_on_exit else "--cancel-with"
            raise click.UsageError(f"--detach leaves the task to itself, so {given} has nothing to do")
        return command(
            *args, manner=Manner(detach, timeout, output, junit, cancel_on_exit, cancel_with), **options
        )

    return wrapped  # type: ignore[return-value]


def submit_and_follow(
    kube: Kube, target: Target, namespace: str, submits: Sequence[Callable[[], Submission]], manner: Manner
) -> int:
    """Submit tasks, then follow one after another to its end, unless they are left alone; the exit code.

    Of several tasks it is 1 if one failed, else 3 if one was cancelled.
    """
    with ending(wanted=manner.cancels) as end:
        submissions = []
        for submit in submits:
            submissions.append(submit())
            _say_submitted(submissions[-1], namespace)
        if manner.detach:
            for one in submissions:
                _leave(one, target, namespace, manner)
            return 0
        return _follow(kube, target, namespace, submissions, manner, end)


def _leave(submission: Submission, target: Target, namespace: str, manner: Manner) -> None:
    from ips_flows.cli import output as out  # noqa: PLC0415

    name = submission.task.name
    if manner.output == "table":
        put(f"task {name} {'submitted' if submission.created else 'unchanged'}")
    else:
        out.put_task(submission.task, manner.output)
    say(f"follow it:  ips-flow wait {name} {target.flags(namespace)}")


def _follow(
    kube: Kube,
    target: Target,
    namespace: str,
    submissions: Sequence[Submission],
    manner: Manner,
    end: Ending,
) -> int:
    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli import following  # noqa: PLC0415
    from ips_flows.cli import output as out  # noqa: PLC0415

    deadline = None if manner.timeout is None else time.monotonic() + manner.timeout
    known: list[Task] = []
    code = 0

    def told(submission: Submission, ended: Task) -> None:
        known.append(tasks.with_results(kube, ended))
        out.put_end(known[-1], manner.output)
        if not submission.created and ended.status != "completed":
            say("This was the task of an earlier run; try its nodes again:")
            say(f"  ips-flow retry {ended.name} {target.flags(namespace)}")

    for number, submission in enumerate(submissions):
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = end.ready if manner.cancels else None
        try:
            told(
                submission,
                following.to_the_end(kube, namespace, submission.task.name, timeout=left, ready=ready),
            )
        except following.Left as stopped:
            code = _break_off(kube, target, namespace, submissions[number:], manner, stopped, told)
            break
    write_junit(manner.junit, known)
    if code not in (0, _CANCELLED):
        return code
    codes = {code, *(following.exit_code(one) for one in known)}
    return next((one for one in (1, _CANCELLED) if one in codes), 0)


def _break_off(
    kube: Kube,
    target: Target,
    namespace: str,
    left: Sequence[Submission],
    manner: Manner,
    stopped: Left,
    told: Callable[[Submission, Task], None],
) -> int:
    """End before the tasks that are left: cancel them if that is wanted, else say how they can be followed."""
    from ips_flows.cli import following  # noqa: PLC0415

    first, *others = [one.task.name for one in left]
    if not manner.cancels or stopped.code != following.INTERRUPTED:
        following.goes_on(stopped, target, namespace, first, manner.timeout)
        if others:
            say(f"  and the others:  ips-flow wait {' '.join(others)} {target.flags(namespace)}")
        return stopped.code
    if not manner.cancel_on_exit and _goes_on(kube, namespace, manner.cancel_with):
        say(f"Workflow {manner.cancel_with} goes on, so does the task: whoever is next finds it again")
        return _REPLACED
    ends = _cancel(kube, namespace, [first, *others])
    for one, task in zip(left, ends, strict=True):
        if task is not None:
            told(one, task)
    return _CANCELLED if None in ends else 0


def _goes_on(kube: Kube, namespace: str, workflow: str) -> bool:
    """Whether a Workflow was neither stopped nor deleted, so that only this pod of it is to go."""
    from ips_flows.errors import NotFoundError  # noqa: PLC0415
    from ips_flows.kube import workflows  # noqa: PLC0415

    try:
        found = kube.get(workflows(namespace, workflow))
    except NotFoundError:
        return False
    return not found["spec"].get("shutdown") and "deletionTimestamp" not in found["metadata"]


def _cancel(kube: Kube, namespace: str, names: Sequence[str]) -> list[Task | None]:
    """Cancel tasks because we are to end; each with its end, if that comes before ours."""
    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli import following  # noqa: PLC0415
    from ips_flows.cli.lines import Lines  # noqa: PLC0415
    from ips_flows.errors import TaskEndedError  # noqa: PLC0415

    for name in names:
        say(f"this command is to end, so task {name} is cancelled")
        try:
            tasks.cancel(kube, namespace, name)
        except TaskEndedError:
            say(f"task {name} was faster: it has ended")
    until = time.monotonic() + _LAST_WORDS_SECONDS
    ends: list[Task | None] = []
    for name in names:
        left = max(0.0, until - time.monotonic())
        try:
            ends.append(following.to_the_end(kube, namespace, name, timeout=left, view=Lines()))
        except following.Left:
            say(f"task {name} ends without this command")
            ends.append(None)
        except IpsFlowError as error:
            say(f"task {name} is cancelled; its end can't be followed: {error.message}")
            ends.append(None)
    return ends


def _say_submitted(submission: Submission, namespace: str) -> None:
    if submission.created:
        say(f"task {submission.task.name} submitted in namespace {namespace}")
    else:
        say(
            f"task {submission.task.name} with the same request is in namespace {namespace} already: unchanged"
        )
