"""Submits tasks, says what was submitted, and follows all of them to their ends."""

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

_REPLACED = 143  # as by SIGTERM: Argo starts another pod
_LAST_WORDS_SECONDS = 20.0  # for the verdict of a task that we cancelled: whoever ended us waits 30 s


class Submit(NamedTuple):
    """A task to submit: where, and how."""

    target: ConnectedTarget
    submit: Callable[[], Submission]


def submit_and_follow(submits: Sequence[Submit], options: FollowOptions) -> int:
    """Submit tasks, then follow all of them to their ends, unless they are left alone; the exit code.

    What can't be submitted or followed is told, and keeps no other cluster from it. Of several tasks the code is 1 if
    one failed, else that of an error, else 3 if one was cancelled.
    """
    with signal_guard(wanted=options.cancels) as end:
        outcomes = _submit_all(submits)
        return (
            _say_detached(outcomes, options) if options.detach else _follow_submitted(outcomes, options, end)
        )


def _submit_all(submits: Sequence[Submit]) -> list[Outcome]:
    """Submit tasks; where one can't be, the others of that target are not tried."""
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
    """Say what was submitted, and how it can be followed; the exit code."""
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
    """Follow what was submitted, and tell how it ended; the exit code."""
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
    """Follow tasks together, and cancel those that are left where that is wanted; the code of who leaves them, or 0."""
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
        say(f"Workflow {options.cancel_with} goes on, so does the task: whoever is next finds it again")
    elif code:
        left: dict[ConnectedTarget, list[str]] = {}
        for outcome in outcomes:
            if outcome.end is None:
                left.setdefault(outcome.target, []).append(outcome.name)
        for connected, names in left.items():
            follow.goes_on(code, connected, names, options.timeout)
    return code


def _say_end(outcome: Outcome, options: FollowOptions, outcomes: Sequence[Outcome]) -> None:
    """Say how a task ended, with what is recorded of its nodes; nothing of one that goes on."""
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
                say("This was the task of an earlier run; try its nodes again:")
                say(f"  ips-flow retry {ended.name} {connected.flags}")


def _begin_document(outcomes: Sequence[Outcome], options: FollowOptions) -> None:
    """Begin a document of several."""
    if options.output == "yaml" and len(outcomes) > 1:
        put("---")


def _cancel_all(outcomes: Sequence[Outcome]) -> None:
    """Cancel tasks because we are to end, and take in their ends as far as they come before ours."""
    from ips_flows.cli.output.lines import Lines  # noqa: PLC0415
    from ips_flows.cli.session import follow  # noqa: PLC0415

    for outcome in outcomes:
        say(f"{outcome.target.mark}this command is to end, so task {outcome.name} is cancelled")
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
            say(f"{about} ends without this command")
        else:
            outcome.end = WaitTimeoutError(
                f"task {outcome.name} was not cancelled: its cluster gave no answer in time"
            )


def _cancelled(outcome: Outcome, narrate: Callable[[str], None]) -> None:
    """Cancel a task, and keep in mind that it was done."""
    from ips_flows.operations.cancel import cancel_task  # noqa: PLC0415

    try:
        cancel_task(outcome.target.kube, outcome.target.namespace, outcome.name)
    except TaskEndedError:
        narrate(f"task {outcome.name} was faster: it has ended")
    outcome.cancelled = True


def _workflow_goes_on(connected: ConnectedTarget, workflow: str) -> bool:
    """Whether a Workflow was neither stopped nor deleted, so that only this pod of it is to go."""
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
    """What a report tells of tasks whose end is known, or will never be."""
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
            f"{connected.mark}task {name} with the same request is in namespace {connected.namespace} already: unchanged"
        )
