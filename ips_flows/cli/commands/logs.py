"""`ips-flow logs`."""

from __future__ import annotations

import sys

import click

from ips_flows.cli.options.common import Target, example, target_options
from ips_flows.cli.options.option import option
from ips_flows.cli.output.console import colours, put, say
from ips_flows.cli.shell_completion import task_names
from ips_flows.core.escape import escape

_COLOURS = {"filter": "cyan", "drive": "green", "finish": "magenta"}


@click.command("logs", epilog=example("ips-flow logs nightly -f"))
@click.argument("name", metavar="TASK", shell_complete=task_names)
@option("-f", "--follow", is_flag=True, help="Print new lines until the task has ended.")
@target_options
def logs_command(*, target: Target, name: str, follow: bool) -> None:
    """Print the logs of the steps of a task."""
    from ips_flows.core.task import task  # noqa: PLC0415
    from ips_flows.operations import logs, tasks  # noqa: PLC0415

    kube, namespace = target.connect()
    found = task.read_task(tasks.workflow(kube, namespace, name))
    lines = (
        logs.follow_lines(kube, namespace, name, say) if follow else logs.stored_lines(kube, namespace, name)
    )
    colourful = colours(sys.stdout)
    count = 0
    for count, line in enumerate(lines, start=1):  # noqa: B007
        prefix = f"[{escape(line.step)}]"
        mark = click.style(prefix, fg=_COLOURS.get(line.step)) if colourful else prefix
        put(" " + escape(line.text, keep="\t"), mark=mark)
    if not count:
        say(_why_nothing(found.ended, logs.has_step_pods(kube, namespace, name), name))


def _why_nothing(ended: bool, pods: bool, name: str) -> str:
    if pods:
        return f"the steps of task {name} have no log lines yet"
    if ended:
        return f"the step pods of task {name} and their logs are deleted; `ips-flow get {name}` shows the results"
    return f"task {name} has no step pods yet; -f waits for them"
