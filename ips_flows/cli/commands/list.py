"""`ips-flow list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options
from ips_flows.cli.options.option import option
from ips_flows.cli.output.console import say
from ips_flows.core.task.workflow_status import STATUSES

if TYPE_CHECKING:
    from ips_flows.kube.client import Kube


@click.command("list", epilog=example("ips-flow list -A -o wide", "ips-flow list --status running -w"))
@option("-A", "--all-namespaces", is_flag=True, help="List the tasks of all namespaces.")
@option(
    "-l",
    "--selector",
    default="",
    metavar="LABELS",
    help="List only tasks that match this label selector.",
    default_text="all tasks",
)
@option(
    "--status",
    type=click.Choice(STATUSES),
    multiple=True,
    help="List only tasks with this status; repeatable.",
    default_text="all",
)
@option("-w", "--watch", is_flag=True, help="Print each task again after each change.")
@output_option()
@target_options
def list_command(
    *, target: Target, output: str, selector: str, status: tuple[str, ...], all_namespaces: bool, watch: bool
) -> None:
    """List the tasks of a namespace, newest first."""
    from ips_flows.cli.output.documents import put_list  # noqa: PLC0415
    from ips_flows.operations import tasks  # noqa: PLC0415

    kube, namespace = target.connect()
    scope = "" if all_namespaces else namespace
    if watch:
        _watch(kube, scope, selector=selector, status=status, output=output)
        return
    everything = tasks.list_tasks(kube, scope, labels=selector, whole=output in ("json", "yaml"))
    found = [one for one in everything if not status or one.status in status]
    put_list(found, output, namespaces=all_namespaces)
    if not found and output in ("table", "wide"):
        where = f"namespace {scope}" if scope else "any namespace"
        say(f"no {'matching ' if status or selector else ''}tasks in {where}")


def _watch(kube: Kube, scope: str, *, selector: str, status: tuple[str, ...], output: str) -> None:
    """Print the tasks, then each changed task again, until Ctrl-C."""
    from ips_flows.cli.output.documents import TaskChanges  # noqa: PLC0415
    from ips_flows.operations.follow import watch_tasks  # noqa: PLC0415

    printer = TaskChanges(output, namespaces=not scope)
    for changed in watch_tasks(kube, scope, labels=selector, narrate=say):
        printer.print_tasks([one for one in changed if not status or one.status in status])
