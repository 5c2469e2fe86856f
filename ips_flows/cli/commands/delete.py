"""`ips-flow delete`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from ips_flows.cli.options.common import Target, example
from ips_flows.cli.options.for_each_task import for_each, several_options
from ips_flows.cli.options.option import option
from ips_flows.cli.output.console import put, say

if TYPE_CHECKING:
    from ips_flows.core.task.task import Task
    from ips_flows.kube.client import Kube

# Time for a keeper: the minute that Argo's own last step has, one check, and a Job whose node may need to pull the image.
_KEEPER_SECONDS = 150.0


@click.command("delete", epilog=example("ips-flow delete nightly"))
@option("--now", is_flag=True, help="Delete immediately: do not wait until the end of a task is recorded.")
@several_options("Stop waiting for the recorded end of a task after this time; the exit code is 124.")
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
    """Delete tasks and their records. Images on nodes stay.

    A task that has not ended is cancelled first.
    """
    from ips_flows.core.task import task  # noqa: PLC0415
    from ips_flows.operations import tasks  # noqa: PLC0415
    from ips_flows.operations.delete import delete_task  # noqa: PLC0415

    kube, namespace = target.connect()

    def delete(name: str) -> None:
        found = task.read_task(tasks.workflow(kube, namespace, name))
        if not now:
            _await_record(kube, namespace, found, timeout)
        if not delete_task(kube, namespace, found):
            raise tasks.not_found(namespace, name)
        put(f"task {name} deleted")

    left = "not deleted: the end of the task is not recorded yet; delete it later, or with --now"
    context.exit(for_each(names, delete, left=left))


def _await_record(kube: Kube, namespace: str, found: Task, timeout: float | None) -> None:
    """Cancel a task if it has not ended, and wait until its end is recorded.

    Raises StoppedFollowing after `timeout` seconds and on Ctrl-C. If the last step of the task did not run, a keeper
    writes the verdict. If no keeper is active, or it writes no verdict, return without one.
    """
    from ips_flows.cli.output.lines import Lines, Silence  # noqa: PLC0415
    from ips_flows.cli.session import follow  # noqa: PLC0415
    from ips_flows.core.constants import LABEL_VERDICT  # noqa: PLC0415
    from ips_flows.core.errors import TaskEndedError  # noqa: PLC0415
    from ips_flows.core.task.workflow_status import TERMINATE  # noqa: PLC0415
    from ips_flows.kube.lease import keeper_is_active  # noqa: PLC0415
    from ips_flows.operations.cancel import cancel_task  # noqa: PLC0415

    name, began = found.name, time.monotonic()
    if not found.ended:
        say(f"{name}: not ended yet; cancelling it first")
        with suppress(TaskEndedError):  # it ended just now
            cancel_task(kube, namespace, name)
        found = follow.follow_one(kube, namespace, name, timeout=timeout, view=Lines())
    if LABEL_VERDICT in found.labels or found.shutdown == TERMINATE:  # a terminated task runs no last step
        return
    if not keeper_is_active(kube, namespace):
        say(f"{name}: ended without a verdict, and no keeper is active to write one; deleting it anyway")
        return
    say(f"{name}: ended without a verdict; waiting up to {_KEEPER_SECONDS:.0f} s for the keeper to write one")
    left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
    found = follow.follow_one(kube, namespace, name, timeout=left, view=Silence(), grace=_KEEPER_SECONDS)
    if LABEL_VERDICT not in found.labels:
        say(f"{name}: the keeper wrote no verdict; deleting it anyway")
