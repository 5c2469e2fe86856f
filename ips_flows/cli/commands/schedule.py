"""`ips-flow schedule`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ips_flows.cli.options.common import DurationType, Target, example, output_option, target_options
from ips_flows.cli.options.option import option
from ips_flows.cli.options.request import RequestCommand, overrides_of, read_text, request_options
from ips_flows.cli.options.submit import FollowOptions, follow_options
from ips_flows.cli.output.console import put, say
from ips_flows.cli.session.submit_and_follow import Submit, submit_and_follow
from ips_flows.cli.session.targets import connected_target

if TYPE_CHECKING:
    from ips_flows.kube.client import Kube

_NAME = click.argument("name", metavar="SCHEDULE")
_EXAMPLE = "schedule create nightly --cron @daily"
_NAMES = click.argument("names", metavar="SCHEDULE...", nargs=-1, required=True)


@click.group("schedule", epilog=example('ips-flow schedule create nightly images.yaml --cron "0 2 * * *"'))
def schedule_command() -> None:
    """Run a request on a cron schedule. Argo creates the tasks."""


@schedule_command.command(
    "create",
    cls=RequestCommand,
    epilog=example(
        'ips-flow schedule create nightly images.yaml --cron "0 2 * * *" --timezone Asia/Shanghai',
        "ips-flow schedule create hourly --image busybox:1.37 --cron @hourly --priority 2",
    ),
)
@click.argument("schedule", metavar="SCHEDULE")  # `name` is a field of the request
@click.argument("file", required=False)
@request_options
@option(
    "--cron",
    "expression",
    required=True,
    metavar="EXPRESSION",
    help='Cron expression, such as "0 2 * * 1-5" or @daily.',
)
@option(
    "--timezone",
    default="UTC",
    metavar="NAME",
    help="Time zone of the cron expression: an IANA name such as Asia/Shanghai.",
)
@option(
    "--overlap",
    type=click.Choice(("forbid", "replace", "allow")),
    default="forbid",
    help="If the previous task has not ended: forbid creates no task, replace terminates it, allow runs both.",
)
@option(
    "--starting-deadline",
    type=DurationType(),
    default="10m",
    metavar="DURATION",
    help="Maximum delay of a task if Argo's controller was down when the task was due.",
)
@option(
    "--keep",
    type=click.IntRange(1, 100),
    default=10,
    metavar="N",
    help="Number of completed tasks to keep, and of other ended tasks.",
)
@option("--suspended", is_flag=True, help="Create no tasks until `schedule resume`.")
@option("--replace", is_flag=True, help="Replace an existing schedule of the same name.")
@output_option("table", "json", "yaml", "name")
@target_options
def create_command(
    *,
    target: Target,
    schedule: str,
    file: str | None,
    expression: str,
    timezone: str,
    overlap: Any,
    starting_deadline: float,
    keep: int,
    suspended: bool,
    replace: bool,
    output: str,
    **fields: Any,
) -> None:
    """Create a schedule.

    FILE is the request (YAML or JSON; - is stdin). Each run is a new task, named SCHEDULE-<time>. It also warms the
    nodes that joined since the previous run.
    """
    from ips_flows.core import cron  # noqa: PLC0415
    from ips_flows.core.request.model import merge_overrides  # noqa: PLC0415
    from ips_flows.core.task.schedule import Timing, check_name  # noqa: PLC0415
    from ips_flows.operations import schedules  # noqa: PLC0415

    check_name(schedule)
    overrides = overrides_of(fields)
    text, source = read_text(file, sys.stdin, needed="images" not in overrides, command=_EXAMPLE)
    request = merge_overrides(text, source, overrides)
    timing = Timing(
        expression=cron.check_expression(expression),
        timezone=cron.check_timezone(timezone),
        overlap=overlap,
        starting_deadline=int(starting_deadline),
        keep=keep,
        suspended=suspended,
    )
    kube, namespace = target.connect()
    made, became = schedules.create_schedule(kube, namespace, schedule, request, timing, replace=replace)
    if output == "table":
        put(f"schedule {made.name} {became}")
        say(f"next task due {_next(made)}" if made.next_run else "the schedule is suspended")
    else:
        _put_schedules(made, output)


@schedule_command.command("list", epilog=example("ips-flow schedule list -A"))
@option("-A", "--all-namespaces", is_flag=True, help="List the schedules of all namespaces.")
@output_option()
@target_options
def list_command(*, target: Target, all_namespaces: bool, output: str) -> None:
    """List the schedules.

    The list has their next run and the status of their last task.
    """
    from ips_flows.cli.output.documents import put_document  # noqa: PLC0415
    from ips_flows.cli.output.schedule_tables import schedule_table  # noqa: PLC0415
    from ips_flows.core import clock  # noqa: PLC0415
    from ips_flows.core.task import schedule  # noqa: PLC0415
    from ips_flows.operations import schedules  # noqa: PLC0415

    kube, namespace = target.connect()
    scope = "" if all_namespaces else namespace
    found = schedules.list_schedules(kube, scope)
    if output in ("json", "yaml"):
        put_document(
            {"schedules": [schedule.schedule_json(one) for one in found], "total": len(found)}, output
        )
    elif output == "name":
        for one in found:
            put(one.name)
    elif found:
        put(schedule_table(found, clock.now(), wide=output == "wide", namespaces=all_namespaces))
    else:
        say(f"no schedules in {f'namespace {scope}' if scope else 'any namespace'}")


@schedule_command.command("history", epilog=example("ips-flow schedule history nightly"))
@_NAME
@output_option("table", "json", "yaml", "name")
@target_options
def history_command(*, target: Target, name: str, output: str) -> None:
    """Show the runs of a schedule.

    The newest run is first, with its task or the reason why it was missed.
    """
    from ips_flows.cli.output.schedule_tables import history_table  # noqa: PLC0415
    from ips_flows.core import clock  # noqa: PLC0415
    from ips_flows.operations import schedules  # noqa: PLC0415

    kube, namespace = target.connect()
    found = schedules.get_schedule(kube, namespace, name)
    if output in ("json", "yaml"):
        _put_schedules(found, output)
    elif output == "name":
        for one in found.runs:
            if one.task:
                put(one.task.name)
    elif found.runs:
        put(history_table(found, clock.now()))
    else:
        say(f"schedule {name} has no runs yet; next task due {_next(found)}")
    if found.problem:
        say(f"error from Argo: {found.problem}")


@schedule_command.command("run", epilog=example("ips-flow schedule run nightly"))
@_NAME
@follow_options
@target_options
@click.pass_context
def run_command(context: click.Context, /, *, target: Target, name: str, follow: FollowOptions) -> None:
    """Create a task of a schedule now, and follow it until it ends."""
    from ips_flows.operations import schedules  # noqa: PLC0415

    connected = connected_target(target)
    submit = Submit(connected, lambda: schedules.run_schedule(connected.kube, connected.namespace, name))
    context.exit(submit_and_follow([submit], follow))


@schedule_command.command("suspend", epilog=example("ips-flow schedule suspend nightly"))
@_NAMES
@target_options
@click.pass_context
def suspend_command(context: click.Context, /, *, target: Target, names: tuple[str, ...]) -> None:
    """Create no tasks until `resume`. Tasks that have not ended continue."""
    from ips_flows.operations import schedules  # noqa: PLC0415

    def act(kube: Kube, namespace: str, name: str) -> str:
        schedules.suspend_schedule(kube, namespace, name)
        return "suspended"

    _each(context, target, names, act)


@schedule_command.command("resume", epilog=example("ips-flow schedule resume nightly"))
@_NAMES
@target_options
@click.pass_context
def resume_command(context: click.Context, /, *, target: Target, names: tuple[str, ...]) -> None:
    """Create tasks again after `suspend`."""
    from ips_flows.operations import schedules  # noqa: PLC0415

    def act(kube: Kube, namespace: str, name: str) -> str:
        return f"resumed; next task due {_next(schedules.resume_schedule(kube, namespace, name))}"

    _each(context, target, names, act)


@schedule_command.command("delete", epilog=example("ips-flow schedule delete nightly"))
@_NAMES
@target_options
@click.pass_context
def delete_command(context: click.Context, /, *, target: Target, names: tuple[str, ...]) -> None:
    """Delete schedules. Their tasks stay; tasks that have not ended continue."""
    from ips_flows.operations import schedules  # noqa: PLC0415

    def act(kube: Kube, namespace: str, name: str) -> str:
        schedules.delete_schedule(kube, namespace, name)
        return "deleted"

    _each(context, target, names, act)


def _each(
    context: click.Context,
    target: Target,
    names: tuple[str, ...],
    act: Callable[[Kube, str, str], str],
) -> None:
    """Run an action for several schedules, print the result of each, and exit."""
    from ips_flows.cli.options.for_each_task import for_each  # noqa: PLC0415

    kube, namespace = target.connect()
    context.exit(for_each(names, lambda name: put(f"schedule {name} {act(kube, namespace, name)}"), left=""))


def _put_schedules(found: Any, output: str) -> None:
    from ips_flows.cli.output.documents import put_document  # noqa: PLC0415
    from ips_flows.core.task import schedule  # noqa: PLC0415

    if output == "name":
        put(found.name)
    else:
        put_document(schedule.schedule_json(found, history=True), output)


def _next(found: Any) -> str:
    """Return the time of a schedule's next run, in its time zone."""
    from ips_flows.cli.output.schedule_tables import local  # noqa: PLC0415

    return local(found.next_run, found.timing.timezone)
