"""`ips-flow scale`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example, target_options
from ips_flows.cli.options.option import option
from ips_flows.cli.output.console import put
from ips_flows.cli.shell_completion import task_names
from ips_flows.core.counts import several


@click.command(
    "scale", epilog=example("ips-flow scale nightly --batch-size 50", "ips-flow scale nightly --batch-size 0")
)
@click.argument("name", metavar="TASK", shell_complete=task_names)
@option(
    "--batch-size",
    "size",
    required=True,
    metavar="N|N%|0",
    help="Number or percentage of nodes that may pull at the same time; 0 pauses the task.",
)
@target_options
def scale_command(*, target: Target, name: str, size: str) -> None:
    """Change how many nodes of a task pull at the same time (the window), or pause the task.

    Nodes that are pulling are not interrupted. With a smaller window, no node starts until fewer nodes are pulling.
    In a paused task no node starts, and the task's `timeout` keeps running. A new window ends the pause.
    """
    from ips_flows.operations.scale import canonical_size, scale_task  # noqa: PLC0415

    size = canonical_size(size)
    kube, namespace = target.connect()
    scale_task(kube, namespace, name, size)
    nodes = several(int(size), "node") if size.isdecimal() else f"{size} of its eligible nodes"
    put(f"task {name} paused" if size == "0" else f"task {name} pulls on at most {nodes} at the same time")
