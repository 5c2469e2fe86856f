"""`ips-flow retry`."""

from __future__ import annotations

import click

from ips_flows.cli.completing import task_names
from ips_flows.cli.options import Target, example, output_option, target_options, timeout_option


@click.command("retry", epilog=example("ips-flow retry nightly"))
@click.argument("name", metavar="TASK", shell_complete=task_names)
@click.option("--detach", is_flag=True, help="Submit only; do not follow.")
@timeout_option("Stop following after this long; the task goes on  [exit code 124].")
@output_option()
@target_options
@click.pass_context
def retry_command(
    context: click.Context,
    /,
    *,
    target: Target,
    name: str,
    detach: bool,
    timeout: float | None,
    output: str,
) -> None:
    """Try the nodes again that an ended task lost or did not reach.

    The new task has the same request for these nodes only. It is named after the first task: TASK-r1, TASK-r2, …
    """
    from ips_flows.changes import retry  # noqa: PLC0415
    from ips_flows.cli.submitted import carry_on  # noqa: PLC0415

    kube, namespace = target.connect()
    submission = retry(kube, namespace, name)
    context.exit(carry_on(kube, target, namespace, submission, detach=detach, timeout=timeout, output=output))
