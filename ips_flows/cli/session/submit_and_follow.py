"""Submit tasks, print what was submitted, and follow all of them until they end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ips_flows.cli.options.submit import FollowOptions
from ips_flows.cli.output.console import failure, put, say
from ips_flows.cli.session.ci import SignalGuard, signal_guard, write_junit
from ips_flows.cli.session.targets import ConnectedTarget
from ips_flows.core.errors import IpsFlowError, NotFoundError, TaskEndedError, WaitTimeoutError

if TYPE_CHECKING:
    from ips_flows.cli.session.follow import Followed
    from ips_flows.cli.session.outcome import Outcome
    from ips_flows.core.task.junit import JUnitSuite
    from ips_flows.operations.submit import Submission

_REPLACED = 143  # the exit code of SIGTERM: Argo starts another pod
_LAST_WORDS_SECONDS = (
    20.0  # for the verdict of a cancelled task: Kubernetes and CI systems kill this process after 30 s
)


class Submit(NamedTuple):
    """A task to submit: its target, and the function that submits it."""

    target: ConnectedTarget
    submit: Callable[[], Submission]


def submit_and_follow(submits: Sequence[Submit], options: FollowOptions) -> int:
    """Submit tasks, follow all of them until they end (unless detached), and return the exit code.

    An error of one cluster is printed, and the other clusters continue. For several tasks the exit code is 1 if one
    failed, else that of an error, else 3 if one was cancelled.
    """
    with signal_guard(wanted=options.cancels) as end:
        outcomes = _submit_all(submits)
        return (
            _say_detached(outcomes, options) if options.detach else _follow_submitted(outcomes, options, end)
        )


def _submit_all(submits: Sequence[Submit]) -> list[Outcome]:
    """Submit tasks. After an error, skip the other tasks of the same target."""
    from ips_flows.cli.session.outcome import Outcome  # noqa: PLC0415

    outcomes: list[Outcome] = []
    for connected, submit in submits:
        if any(outcome.target == connected and outcome.submission is None for outcome in outcomes):
            continue
        try:
            submission = submit()
        except IpsFlowError as error:
            failure(connected.mark + error.message, error.hint)
            outcomes.append(Outcome(connected, None, error))
        else:
            _say_submitted(submission, connected)
            outcomes.append(Outcome(connected, submission))
    return outcomes


def _say_detached(outcomes: Sequence[Outcome], options: FollowOptions) -> int:
    """Print what was submitted and the command to follow it; return the exit code."""
    from ips_flows.cli.output import documents  # noqa: PLC0415
    from ips_flows.cli.session.outcome import code_of  # noqa: PLC0415

    for outcome in outcomes:
        if outcome.submission is None:
            continue
        task, connected = outcome.submission.task, outcome.target
        if options.output == "table":
            became = "submitted" if outcome.submission.created else "unchanged"
            put(f"{connected.mark}task {task.name} {became}")
        else:
            _begin_document(outcomes, options)
            documents.put_task(task, options.output, context=connected.context)
        say(f"follow it:  ips-flow wait {task.name} {connected.flags}")
    return code_of(outcomes)


def _follow_submitted(outcomes: Sequence[Outcome], options: FollowOptions, end: SignalGuard) -> int:
    """Follow the submitted tasks, print how they ended, and return the exit code."""
    from ips_flows.cli.session.outcome import code_of, verdict_line  # noqa: PLC0415

    code = 0
    under_way = [outcome for outcome in outcomes if outcome.submission]
    if under_way:
        code = _follow_all(under_way, options, end)
        write_junit(options.junit, _junit_suites(outcomes))
    if any(outcome.target.context for outcome in outcomes):
        (put if options.output in ("table", "wide") else say)(verdict_line(outcomes))
    return code or code_of(outcomes)


def _follow_all(outcomes: Sequence[Outcome], options: FollowOptions, end: SignalGuard) -> int:
    """Follow tasks together; if interrupted, cancel the remaining tasks if the options require it.

    Return the exit code if tasks continue after this command, else 0.
    """
    from ips_flows.cli.session import follow  # noqa: PLC0415

    titles = {f"task {outcome.name}" for outcome in outcomes}
    view = follow.display(titles.pop() if len(titles) == 1 else f"{len(titles)} tasks", _marks(outcomes))
    ready = end.ready if options.cancels else None
    got = follow.follow_all(_tasks(outcomes), view, timeout=options.timeout, ready=ready)
    for outcome, found in zip(outcomes, got.ends, strict=True):
        outcome.end = found
    code = got.code
    if code == follow.INTERRUPTED and options.cancels:
        code = (
            _REPLACED
            if not options.cancel_on_exit and _workflow_goes_on(outcomes[0].target, options.cancel_with)
            else 0
        )
        if not code:
            _cancel_all([outcome for outcome in outcomes if outcome.end is None])
    for outcome in outcomes:
        _say_end(outcome, options, outcomes)
    if code == _REPLACED:
        say(
            f"Workflow {options.cancel_with} continues, and so does the task: the workflow's next pod resumes it"
        )
    elif code:
        left: dict[ConnectedTarget, list[str]] = {}
        for outcome in outcomes:
            if outcome.end is None:
                left.setdefault(outcome.target, []).append(outcome.name)
        for connected, names in left.items():
            follow.goes_on(code, connected, names, options.timeout)
    return code


def _say_end(outcome: Outcome, options: FollowOptions, outcomes: Sequence[Outcome]) -> None:
    """Print how a task ended, with the recorded results of its nodes. Print nothing for a task that continues."""
    from ips_flows.cli.output import documents  # noqa: PLC0415
    from ips_flows.core.task.task import Task  # noqa: PLC0415
    from ips_flows.operations import tasks  # noqa: PLC0415

    connected = outcome.target
    if isinstance(outcome.end, Task):
        try:
            outcome.end = tasks.with_results(connected.kube, outcome.end)
        except IpsFlowError as unread:
            outcome.end = unread
    match outcome.end:
        case IpsFlowError() as error:
            failure(connected.mark + error.message, error.hint)
        case Task() as ended:
            _begin_document(outcomes, options)
            documents.put_end(ended, options.output, mark=connected.mark, context=connected.context)
            if outcome.submission and not outcome.submission.created and ended.status != "completed":
                say("This task was submitted by an earlier run. To retry its nodes:")
                say(f"  ips-flow retry {ended.name} {connected.flags}")


def _begin_document(outcomes: Sequence[Outcome], options: FollowOptions) -> None:
    """Separate the YAML documents of several tasks."""
    if options.output == "yaml" and len(outcomes) > 1:
        put("---")


def _cancel_all(outcomes: Sequence[Outcome]) -> None:
    """Cancel tasks because this command was interrupted, and record the ends that come in time."""
    from ips_flows.cli.output.lines import Lines  # noqa: PLC0415
    from ips_flows.cli.session import follow  # noqa: PLC0415

    for outcome in outcomes:
        say(f"{outcome.target.mark}interrupted: cancelling task {outcome.name}")
    got = follow.follow_all(
        [
            one._replace(first=functools.partial(_cancelled, outcome))
            for outcome, one in zip(outcomes, _tasks(outcomes), strict=True)
        ],
        Lines(marks=_marks(outcomes)),
        timeout=_LAST_WORDS_SECONDS,
    )
    for outcome, end in zip(outcomes, got.ends, strict=True):
        about = f"{outcome.target.mark}task {outcome.name}"
        if isinstance(end, IpsFlowError) and outcome.cancelled:
            say(f"{about} is cancelled; its end can't be followed: {end.message}")
        elif end is not None:
            outcome.end = end
        elif outcome.cancelled:
            say(f"{about} is being cancelled and will end without this command")
        else:
            outcome.end = WaitTimeoutError(
                f"task {outcome.name} was not cancelled: its cluster did not respond in time"
            )


def _cancelled(outcome: Outcome, narrate: Callable[[str], None]) -> None:
    """Cancel a task, and record that in its outcome."""
    from ips_flows.operations.cancel import cancel_task  # noqa: PLC0415

    try:
        cancel_task(outcome.target.kube, outcome.target.namespace, outcome.name)
    except TaskEndedError:
        narrate(f"task {outcome.name} has already ended")
    outcome.cancelled = True


def _workflow_goes_on(connected: ConnectedTarget, workflow: str) -> bool:
    """Return whether a Workflow was neither stopped nor deleted, so that only this pod of it ends."""
    from ips_flows.core.task.workflow_status import is_stopped  # noqa: PLC0415
    from ips_flows.kube.client import workflows  # noqa: PLC0415

    try:
        found = connected.kube.get(workflows(connected.namespace, workflow))
    except NotFoundError:
        return False
    return not is_stopped(found) and "deletionTimestamp" not in found["metadata"]


def _tasks(outcomes: Sequence[Outcome]) -> list[Followed]:
    from ips_flows.cli.session.follow import Followed  # noqa: PLC0415

    return [Followed(outcome.target.kube, outcome.target.namespace, outcome.name) for outcome in outcomes]


def _marks(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.target.mark for outcome in outcomes]


def _junit_suites(outcomes: Sequence[Outcome]) -> list[JUnitSuite]:
    """Return the test suites of the tasks with a known end or an error."""
    from ips_flows.core.task.junit import JUnitSuite  # noqa: PLC0415

    return [
        JUnitSuite(outcome.name or "task", outcome.end, outcome.target.mark)
        for outcome in outcomes
        if outcome.end is not None
    ]


def _say_submitted(submission: Submission, connected: ConnectedTarget) -> None:
    name = submission.task.name
    if submission.created:
        say(f"{connected.mark}task {name} submitted in namespace {connected.namespace}")
    else:
        say(
            f"{connected.mark}task {name} unchanged: it already exists in namespace {connected.namespace}"
            " with the same request"
        )
