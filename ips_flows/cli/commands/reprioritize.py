"""`ips-flow reprioritize`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example, target_options
from ips_flows.cli.output.console import put
from ips_flows.cli.shell_completion import task_names
from ips_flows.core.request.limits import PRIORITY


@click.command("reprioritize", epilog=example("ips-flow reprioritize nightly 9"))
@click.argument("name", metavar="TASK", shell_complete=task_names)
@click.argument("priority", metavar="N", type=click.IntRange(*PRIORITY))
@target_options
def reprioritize_command(*, target: Target, name: str, priority: int) -> None:
    """Change the priority of a waiting task: 1 to 10, 10 starts first.

    The priority of a running or ended task does not change.
    """
    from ips_flows.operations.queue import get_queue, reprioritize  # noqa: PLC0415

    kube, namespace = target.connect()
    reprioritize(kube, namespace, name, priority)
    positions = {entry.task: entry.position for entry in get_queue(kube, namespace).entries}
    position = f", number {positions[name]} in the queue" if name in positions else ""
    put(f"task {name} has priority {priority}{position}")
