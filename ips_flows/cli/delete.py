"""`ips-flow delete`."""

from __future__ import annotations

import click

from ips_flows.cli.narration import put, say
from ips_flows.cli.options import Target, example
from ips_flows.cli.several import each, several_options


@click.command("delete", epilog=example("ips-flow delete nightly"))
@click.option("--now", is_flag=True, help="Do not wait for a running task to stop and record its end first.")
@several_options("How long to wait for a running task to stop  [exit code 124].")
@click.pass_context
def delete_command(
    context: click.Context,
    /,
    *,
    target: Target,
    names: tuple[str, ...],
    now: bool,
    timeout: float | None,
) -> None:
    """Delete tasks and their records; images that are on nodes stay there.

    A task that has not ended is cancelled first.
    """
    from ips_flows import task, tasks  # noqa: PLC0415
    from ips_flows.cli import following  # noqa: PLC0415
    from ips_flows.errors import TaskEndedError  # noqa: PLC0415

    kube, namespace = target.connect()

    def delete(name: str) -> None:
        found = task.read(tasks.workflow(kube, namespace, name))
        if not found.ended and not now:
            say(f"{name}: has not ended: cancelling it first")
            try:
                tasks.cancel(kube, namespace, name)
            except TaskEndedError:
                pass  # by itself, at this moment
            else:
                following.to_the_end(kube, namespace, name, timeout=timeout, quiet=True)
        if not tasks.delete(kube, namespace, found):
            raise tasks.not_found(namespace, name)
        put(f"task {name} deleted")

    left = (
        "cancelled, but not deleted; delete again when `ips-flow list` shows that it has ended, or with --now"
    )
    context.exit(each(names, delete, left=left))
