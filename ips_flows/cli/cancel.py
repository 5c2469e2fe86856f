"""`ips-flow cancel`."""

from __future__ import annotations

import click

from ips_flows.cli.completing import task_names
from ips_flows.cli.narration import put, say
from ips_flows.cli.options import Target, example, target_options, timeout_option


@click.command("cancel", epilog=example("ips-flow cancel nightly --wait"))
@click.argument("names", metavar="TASK...", nargs=-1, required=True, shell_complete=task_names)
@click.option("--wait", is_flag=True, help="Wait until the tasks have ended.")
@timeout_option("With --wait: how long at most  [exit code 124].")
@target_options
@click.pass_context
def cancel_command(
    context: click.Context,
    /,
    *,
    target: Target,
    names: tuple[str, ...],
    wait: bool,
    timeout: float | None,
) -> None:
    """Stop tasks; images that are on nodes stay there.

    A running task records what it has done before it ends; a pending one ends at once.
    """
    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli import following  # noqa: PLC0415
    from ips_flows.cli.several import each  # noqa: PLC0415
    from ips_flows.cli.tables import summary_line  # noqa: PLC0415

    kube, namespace = target.connect()

    def cancel(name: str) -> None:
        found = tasks.cancel(kube, namespace, name)
        if not wait:
            put(f"task {name} {'cancelled' if found.shutdown == 'Terminate' else 'is being cancelled'}")
            return
        ended = following.to_the_end(kube, namespace, name, timeout=timeout, quiet=True)
        put(f"task {name} {summary_line(ended)}")

    try:
        code = each(names, cancel)
    except following.Left as left:
        say("the tasks end without this command; `ips-flow list` shows when")
        code = left.code
    context.exit(code)
