"""`ips-flow retry`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example, target_options
from ips_flows.cli.options.submit import FollowOptions, follow_options
from ips_flows.cli.session.submit_and_follow import Submit, submit_and_follow
from ips_flows.cli.session.targets import connected_target
from ips_flows.cli.shell_completion import task_names


@click.command("retry", epilog=example("ips-flow retry nightly"))
@click.argument("name", metavar="TASK", shell_complete=task_names)
@follow_options
@target_options
@click.pass_context
def retry_command(context: click.Context, /, *, target: Target, name: str, follow: FollowOptions) -> None:
    """Retry the nodes that failed or were not reached in an ended task, as a new task.

    The new task has the same request for these nodes only. It is named after the first task: TASK-r1, TASK-r2, …
    """
    from ips_flows.operations.retry import retry_task  # noqa: PLC0415

    connected = connected_target(target)
    submit = Submit(connected, lambda: retry_task(connected.kube, connected.namespace, name))
    context.exit(submit_and_follow([submit], follow))
