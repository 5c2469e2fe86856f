"""`ips-flow schedule`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ips_flows.cli.options.common import DurationType, Target, example, output_option, target_options
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
    """Submit a request again and again, at the times of a cron expression: Argo makes the tasks."""


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
@click.option(
    "--cron", "expression", required=True, metavar="EXPRESSION", help='When: "0 2 * * 1-5", or @daily.'
)
@click.option(
    "--timezone", default="UTC", show_default=True, metavar="NAME", help="Of the IANA list: Asia/Shanghai."
)
@click.option(
    "--overlap",
    type=click.Choice(("forbid", "replace", "allow")),
    default="forbid",
    show_default=True,
    help="If the task before is not over: none is made, it is stopped, or both run.",
)
@click.option(
    "--starting-deadline",
    type=DurationType(),
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="How late a task may be made, if Argo was away.",
)
@click.option(
    "--keep",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    metavar="N",
    help="How many completed tasks, and how many others, are kept.",
)
@click.option("--suspended", is_flag=True, help="Make no task before `schedule resume`.")
@click.option("--replace", is_flag=True, help="Replace a schedule of that name.")
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
    """Make a schedule for the request in FILE (YAML or JSON; - is stdin).

    Each time is a task of its own, named SCHEDULE-<time>. Nodes that joined meanwhile are warmed with it.
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
        say(f"its next task is due {_next(made)}" if made.next_run else "it is suspended")
    else:
        _put_schedules(made, output)


@schedule_command.command("list", epilog=example("ips-flow schedule list -A"))
@click.option("-A", "--all-namespaces", is_flag=True, help="Schedules of all namespaces.")
@output_option()
@target_options
def list_command(*, target: Target, all_namespaces: bool, output: str) -> None:
    """Show the schedules: when each is due next, and what became of its last task."""
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
    """Show the runs of a schedule, newest first: their tasks, and why some were missed."""
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
        say(f"schedule {name} was not due yet; its next task is due {_next(found)}")
    if found.problem:
        say(f"Argo says: {found.problem}")


@schedule_command.command("run", epilog=example("ips-flow schedule run nightly"))
@_NAME
@follow_options
@target_options
@click.pass_context
def run_command(context: click.Context, /, *, target: Target, name: str, follow: FollowOptions) -> None:
    """Make a task of a schedule now and follow it to its end."""
    from ips_flows.operations import schedules  # noqa: PLC0415

    connected = connected_target(target)
    submit = Submit(connected, lambda: schedules.run_schedule(connected.kube, connected.namespace, name))
    context.exit(submit_and_follow([submit], follow))


@schedule_command.command("suspend", epilog=example("ips-flow schedule suspend nightly"))
@_NAMES
@target_options
@click.pass_context
def suspend_command(context: click.Context, /, *, target: Target, names: tuple[str, ...]) -> None:
    """Make no tasks until `resume`; one that is under way goes on."""
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
    """Make tasks again."""
    from ips_flows.operations import schedules  # noqa: PLC0415

    def act(kube: Kube, namespace: str, name: str) -> str:
        return f"resumed; its next task is due {_next(schedules.resume_schedule(kube, namespace, name))}"

    _each(context, target, names, act)


@schedule_command.command("delete", epilog=example("ips-flow schedule delete nightly"))
@_NAMES
@target_options
@click.pass_context
def delete_command(context: click.Context, /, *, target: Target, names: tuple[str, ...]) -> None:
    """Delete schedules. Their tasks stay, those under way go on."""
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
    """Do one thing to several schedules, say what became of each, and exit."""
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
    """When a schedule is due next, in its own time zone."""
    from ips_flows.cli.output.schedule_tables import local  # noqa: PLC0415

    return local(found.next_run, found.timing.timezone)
