"""`ips-flow get`."""

from __future__ import annotations

import click

from ips_flows.cli.completing import task_names
from ips_flows.cli.narration import say
from ips_flows.cli.options import Target, example, output_option, target_options


@click.command("get", epilog=example("ips-flow get nightly", "ips-flow get nightly -o json | jq .progress"))
@click.argument("name", metavar="TASK", shell_complete=task_names)
@click.option("-w", "--watch", is_flag=True, help="Then print the task again when it changes, to its end.")
@output_option()
@target_options
def get_command(*, target: Target, name: str, output: str, watch: bool) -> None:
    """Show a task and what became of each image on each node."""
    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli import output as out  # noqa: PLC0415

    kube, namespace = target.connect()
    if not watch:
        out.put_task(tasks.get(kube, namespace, name), output)
        return
    from ips_flows.follow import follow  # noqa: PLC0415

    printer = out.Changes(output)
    for seen in follow(kube, namespace, name, narrate=say):
        if seen is not None:
            printer.put([seen])
