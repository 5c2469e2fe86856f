"""What the verbs that submit share: their options, telling of the task that was submitted, and following it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from ips_flows.cli.options.common import output_option, timeout_option
from ips_flows.cli.output.console import failure, put, say
from ips_flows.cli.session.ci import Ending, ending, junit_option, write_junit
from ips_flows.cli.session.targets import Place
from ips_flows.core.errors import IpsFlowError, NotFoundError, TaskEndedError, WaitTimeoutError

if TYPE_CHECKING:
    from ips_flows.cli.session.follow import Followed
    from ips_flows.cli.session.outcome import Fate
    from ips_flows.core.task.junit import Suite
    from ips_flows.operations.tasks import Submission

F = TypeVar("F", bound=Callable[..., Any])

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


class Order(NamedTuple):
    """A task to submit: where, and how."""

    place: Place
    submit: Callable[[], Submission]


def submit_and_follow(orders: Sequence[Order], manner: Manner) -> int:
    """Submit tasks, then follow all of them to their ends, unless they are left alone; the exit code.

    What can't be submitted or followed is told, and keeps no other cluster from it. Of several tasks the code is 1 if
    one failed, else that of an error, else 3 if one was cancelled.
    """
    with ending(wanted=manner.cancels) as end:
        fates = _submitted(orders)
        return _left_alone(fates, manner) if manner.detach else _followed(fates, manner, end)


def _submitted(orders: Sequence[Order]) -> list[Fate]:
    """Submit tasks; where one can't be, the others of that place are not tried."""
    from ips_flows.cli.session.outcome import Fate  # noqa: PLC0415

    fates: list[Fate] = []
    for place, submit in orders:
        if any(fate.place == place and fate.submission is None for fate in fates):
            continue
        try:
            submission = submit()
        except IpsFlowError as error:
            failure(place.mark + error.message, error.hint)
            fates.append(Fate(place, None, error))
        else:
            _say_submitted(submission, place)
            fates.append(Fate(place, submission))
    return fates


def _left_alone(fates: Sequence[Fate], manner: Manner) -> int:
    """Say what was submitted, and how it can be followed; the exit code."""
    from ips_flows.cli.output import documents as out  # noqa: PLC0415
    from ips_flows.cli.session.outcome import code_of  # noqa: PLC0415

    for fate in fates:
        if fate.submission is None:
            continue
        task, place = fate.submission.task, fate.place
        if manner.output == "table":
            became = "submitted" if fate.submission.created else "unchanged"
            put(f"{place.mark}task {task.name} {became}")
        else:
            _set_apart(fates, manner)
            out.put_task(task, manner.output, context=place.context)
        say(f"follow it:  ips-flow wait {task.name} {place.flags}")
    return code_of(fates)


def _followed(fates: Sequence[Fate], manner: Manner, end: Ending) -> int:
    """Follow what was submitted, and tell how it ended; the exit code."""
    from ips_flows.cli.session.outcome import code_of, verdict_line  # noqa: PLC0415

    code = 0
    under_way = [fate for fate in fates if fate.submission]
    if under_way:
        code = _follow(under_way, manner, end)
        write_junit(manner.junit, _suites(fates))
    if any(fate.place.context for fate in fates):
        (put if manner.output in ("table", "wide") else say)(verdict_line(fates))
    return code or code_of(fates)


def _follow(fates: Sequence[Fate], manner: Manner, end: Ending) -> int:
    """Follow tasks together, and cancel those that are left where that is wanted; the code of who leaves them, or 0."""
    from ips_flows.cli.session import follow  # noqa: PLC0415

    titles = {f"task {fate.name}" for fate in fates}
    view = follow.display(titles.pop() if len(titles) == 1 else f"{len(titles)} tasks", _marks(fates))
    ready = end.ready if manner.cancels else None
    got = follow.to_their_ends(_tasks(fates), view, timeout=manner.timeout, ready=ready)
    for fate, found in zip(fates, got.ends, strict=True):
        fate.end = found
    code = got.code
    if code == follow.INTERRUPTED and manner.cancels:
        code = _REPLACED if not manner.cancel_on_exit and _goes_on(fates[0].place, manner.cancel_with) else 0
        if not code:
            _cancel([fate for fate in fates if fate.end is None])
    for fate in fates:
        _tell(fate, manner, fates)
    if code == _REPLACED:
        say(f"Workflow {manner.cancel_with} goes on, so does the task: whoever is next finds it again")
    elif code:
        left: dict[Place, list[str]] = {}
        for fate in fates:
            if fate.end is None:
                left.setdefault(fate.place, []).append(fate.name)
        for place, names in left.items():
            follow.goes_on(code, place, names, manner.timeout)
    return code


def _tell(fate: Fate, manner: Manner, fates: Sequence[Fate]) -> None:
    """Say how a task ended, with what is recorded of its nodes; nothing of one that goes on."""
    from ips_flows.cli.output import documents as out  # noqa: PLC0415
    from ips_flows.core.task.task import Task  # noqa: PLC0415
    from ips_flows.operations import tasks  # noqa: PLC0415

    place = fate.place
    if isinstance(fate.end, Task):
        try:
            fate.end = tasks.with_results(place.kube, fate.end)
        except IpsFlowError as unread:
            fate.end = unread
    match fate.end:
        case IpsFlowError() as error:
            failure(place.mark + error.message, error.hint)
        case Task() as ended:
            _set_apart(fates, manner)
            out.put_end(ended, manner.output, mark=place.mark, context=place.context)
            if fate.submission and not fate.submission.created and ended.status != "completed":
                say("This was the task of an earlier run; try its nodes again:")
                say(f"  ips-flow retry {ended.name} {place.flags}")


def _set_apart(fates: Sequence[Fate], manner: Manner) -> None:
    """Begin a document of several."""
    if manner.output == "yaml" and len(fates) > 1:
        put("---")


def _cancel(fates: Sequence[Fate]) -> None:
    """Cancel tasks because we are to end, and take in their ends as far as they come before ours."""
    from ips_flows.cli.output.lines import Lines  # noqa: PLC0415
    from ips_flows.cli.session import follow  # noqa: PLC0415

    for fate in fates:
        say(f"{fate.place.mark}this command is to end, so task {fate.name} is cancelled")
    got = follow.to_their_ends(
        [
            one._replace(first=functools.partial(_cancelled, fate))
            for fate, one in zip(fates, _tasks(fates), strict=True)
        ],
        Lines(marks=_marks(fates)),
        timeout=_LAST_WORDS_SECONDS,
    )
    for fate, end in zip(fates, got.ends, strict=True):
        about = f"{fate.place.mark}task {fate.name}"
        if isinstance(end, IpsFlowError) and fate.cancelled:
            say(f"{about} is cancelled; its end can't be followed: {end.message}")
        elif end is not None:
            fate.end = end
        elif fate.cancelled:
            say(f"{about} ends without this command")
        else:
            fate.end = WaitTimeoutError(
                f"task {fate.name} was not cancelled: its cluster gave no answer in time"
            )


def _cancelled(fate: Fate, narrate: Callable[[str], None]) -> None:
    """Cancel a task, and keep in mind that it was done."""
    from ips_flows.operations import tasks  # noqa: PLC0415

    try:
        tasks.cancel(fate.place.kube, fate.place.namespace, fate.name)
    except TaskEndedError:
        narrate(f"task {fate.name} was faster: it has ended")
    fate.cancelled = True


def _goes_on(place: Place, workflow: str) -> bool:
    """Whether a Workflow was neither stopped nor deleted, so that only this pod of it is to go."""
    from ips_flows.kube.client import workflows  # noqa: PLC0415

    try:
        found = place.kube.get(workflows(place.namespace, workflow))
    except NotFoundError:
        return False
    return not found["spec"].get("shutdown") and "deletionTimestamp" not in found["metadata"]


def _tasks(fates: Sequence[Fate]) -> list[Followed]:
    from ips_flows.cli.session.follow import Followed  # noqa: PLC0415

    return [Followed(fate.place.kube, fate.place.namespace, fate.name) for fate in fates]


def _marks(fates: Sequence[Fate]) -> list[str]:
    return [fate.place.mark for fate in fates]


def _suites(fates: Sequence[Fate]) -> list[Suite]:
    """What a report tells of tasks whose end is known, or will never be."""
    from ips_flows.core.task.junit import Suite  # noqa: PLC0415

    return [Suite(fate.name or "task", fate.end, fate.place.mark) for fate in fates if fate.end is not None]


def _say_submitted(submission: Submission, place: Place) -> None:
    name = submission.task.name
    if submission.created:
        say(f"{place.mark}task {name} submitted in namespace {place.namespace}")
    else:
        say(
            f"{place.mark}task {name} with the same request is in namespace {place.namespace} already: unchanged"
        )
