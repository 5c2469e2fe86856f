"""`ips-flow cancel`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example
from ips_flows.cli.options.for_each_task import for_each, several_options
from ips_flows.cli.options.option import option
from ips_flows.cli.output.console import put


@click.command("cancel", epilog=example("ips-flow cancel nightly --wait"))
@option("--wait", is_flag=True, help="Wait until the tasks have ended.")
@several_options("With --wait: stop waiting after this time; the exit code is 124.")
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
    """Stop tasks. Images on nodes stay.

    A running task records its results before it ends. A pending task ends immediately.
    """
    from ips_flows.cli.output.lines import Lines  # noqa: PLC0415
    from ips_flows.cli.output.tables import summary_line  # noqa: PLC0415
    from ips_flows.cli.session import follow  # noqa: PLC0415
    from ips_flows.operations.cancel import cancel_task  # noqa: PLC0415

    kube, namespace = target.connect()

    stopping: list[str] = []

    def cancel(name: str) -> None:
        found = cancel_task(kube, namespace, name)
        stopping.append(name)
        if not wait:
            put(f"task {name} {'cancelled' if found.shutdown == 'Terminate' else 'is being cancelled'}")

    def await_end(name: str) -> None:
        ended = follow.follow_one(kube, namespace, name, timeout=timeout, view=Lines())
        put(f"task {name} {summary_line(ended)}")

    left = "the tasks will end without this command; `ips-flow list` shows their status"
    # Cancel all tasks before waiting for any: otherwise a queued task starts in the meantime.
    code = for_each(names, cancel, left=left)
    if wait:
        code = for_each(stopping, await_end, left=left) or code
    context.exit(code)
