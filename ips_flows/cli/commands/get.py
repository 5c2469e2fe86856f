"""`ips-flow get`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options
from ips_flows.cli.options.option import option
from ips_flows.cli.output.console import say
from ips_flows.cli.shell_completion import task_names


@click.command("get", epilog=example("ips-flow get nightly", "ips-flow get nightly -o json | jq .progress"))
@click.argument("name", metavar="TASK", shell_complete=task_names)
@option("-w", "--watch", is_flag=True, help="Print the task again after each change, until it ends.")
@option("--exit-code", is_flag=True, help="Use the exit codes of `run`; 124 if the task has not ended.")
@output_option()
@target_options
@click.pass_context
def get_command(
    context: click.Context, /, *, target: Target, name: str, output: str, watch: bool, exit_code: bool
) -> None:
    """Show a task and the result of each image on each node."""
    from ips_flows.cli.output import documents  # noqa: PLC0415
    from ips_flows.cli.session.follow import TIMED_OUT  # noqa: PLC0415
    from ips_flows.cli.session.follow import exit_code as code_of  # noqa: PLC0415
    from ips_flows.operations import tasks  # noqa: PLC0415

    kube, namespace = target.connect()
    if not watch:
        found = tasks.get_task(kube, namespace, name)
        documents.put_task(found, output)
        if exit_code:
            context.exit(code_of(found) if found.ended else TIMED_OUT)
        return
    from ips_flows.operations.follow import follow  # noqa: PLC0415

    printer = documents.TaskChanges(output)
    last = None
    for seen in follow(kube, namespace, name, narrate=say):
        if seen is not None:
            printer.print_tasks([seen])
            last = seen
    if exit_code and last:
        context.exit(code_of(last))
