"""What the verbs that submit share: their options, telling of the task that was submitted, and following it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ips_flows.cli.narration import put, say
from ips_flows.cli.options import Target, output_option, timeout_option
from ips_flows.cli.pipelines import Ending, ending, junit_option, write_junit
from ips_flows.errors import IpsFlowError

if TYPE_CHECKING:
    from ips_flows.kube import Kube
    from ips_flows.task import Task
    from ips_flows.tasks import Submission

F = TypeVar("F", bound=Callable[..., Any])

_CANCELLED = 3
_LAST_WORDS_SECONDS = 20.0  # for the verdict of a task that we cancelled: whoever ended us waits 30 s


@dataclass(frozen=True, slots=True)
class Manner:
    """What a verb does with the task that it submitted. `timeout` is in seconds."""

    detach: bool
    timeout: float | None
    output: str
    junit: Path | None
    cancel_on_exit: bool


def follow_options(command: F) -> F:
    """How a submitted task is followed: the command gets it as `manner`."""

    @click.option("--detach", is_flag=True, help="Submit only; do not follow.")
    @click.option(
        "--cancel-on-exit",
        is_flag=True,
        help="Ctrl-C or SIGTERM cancels the task  [exit code 3].",
    )
    @junit_option
    @timeout_option("Stop following after this long; the task goes on  [exit code 124].")
    @output_option()
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        detach: bool,
        cancel_on_exit: bool,
        junit: Path | None,
        timeout: float | None,
        output: str,
        **options: Any,
    ) -> Any:
        if detach and (junit or cancel_on_exit):
            given = "--junit" if junit else "--cancel-on-exit"
            raise click.UsageError(f"--detach leaves the task to itself, so {given} has nothing to do")
        return command(*args, manner=Manner(detach, timeout, output, junit, cancel_on_exit), **options)

    return wrapped  # type: ignore[return-value]


def submit_and_follow(
    kube: Kube, target: Target, namespace: str, submit: Callable[[], Submission], manner: Manner
) -> int:
    """Submit a task and follow it to its end, unless it is left alone; the exit code."""
    with ending(wanted=manner.cancel_on_exit) as end:
        return _carry_on(kube, target, namespace, submit(), manner, end)


def _carry_on(
    kube: Kube, target: Target, namespace: str, submission: Submission, manner: Manner, end: Ending
) -> int:
    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli import following  # noqa: PLC0415
    from ips_flows.cli import output as out  # noqa: PLC0415

    name = submission.task.name
    _say_submitted(submission, namespace)
    if manner.detach:
        if manner.output == "table":
            put(f"task {name} {'submitted' if submission.created else 'unchanged'}")
        else:
            out.put_task(submission.task, manner.output)
        say(f"follow it:  ips-flow wait {name} {target.flags(namespace)}")
        return 0
    ended: Task | None
    try:
        ended = following.to_the_end(
            kube, namespace, name, timeout=manner.timeout, ready=end.ready if manner.cancel_on_exit else None
        )
    except following.Left as left:
        if not manner.cancel_on_exit or left.code != following.INTERRUPTED:
            following.goes_on(left, target, namespace, name, manner.timeout)
            return left.code
        ended = _cancelled(kube, namespace, name)
        if ended is None:
            return _CANCELLED
    whole = tasks.with_results(kube, ended)
    write_junit(manner.junit, [whole])
    out.put_end(whole, manner.output)
    if not submission.created and ended.status != "completed":
        say("This was the task of an earlier run; try its nodes again:")
        say(f"  ips-flow retry {name} {target.flags(namespace)}")
    return following.exit_code(ended)


def _cancelled(kube: Kube, namespace: str, name: str) -> Task | None:
    """Cancel a task because we are to end; the task, if it ends before us."""
    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli import following  # noqa: PLC0415
    from ips_flows.cli.lines import Lines  # noqa: PLC0415
    from ips_flows.errors import TaskEndedError  # noqa: PLC0415

    say(f"this command is to end, so task {name} is cancelled")
    try:
        tasks.cancel(kube, namespace, name)
    except TaskEndedError:
        say(f"task {name} was faster: it has ended")
    try:
        return following.to_the_end(kube, namespace, name, timeout=_LAST_WORDS_SECONDS, view=Lines())
    except following.Left:
        say(f"task {name} ends without this command")
        return None
    except IpsFlowError as error:
        say(f"task {name} is cancelled; its end can't be followed: {error.message}")
        return None


def _say_submitted(submission: Submission, namespace: str) -> None:
    if submission.created:
        say(f"task {submission.task.name} submitted in namespace {namespace}")
    else:
        say(
            f"task {submission.task.name} with the same request is in namespace {namespace} already: unchanged"
        )
