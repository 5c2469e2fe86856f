"""`ips-flow delete`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from ips_flows.cli.options.common import Target, example
from ips_flows.cli.options.for_each_task import for_each, several_options
from ips_flows.cli.output.console import put, say

if TYPE_CHECKING:
    from ips_flows.core.task.task import Task
    from ips_flows.kube.client import Kube

# What a keeper needs: a minute that Argo's own last step has, a look, and a Job, perhaps on a node without our image.
_KEEPER_SECONDS = 150.0


@click.command("delete", epilog=example("ips-flow delete nightly"))
@click.option("--now", is_flag=True, help="Do not wait for a task to stop and its end to be recorded first.")
@several_options("How long to wait for the recorded end of a task  [exit code 124].")
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

    left = "not deleted: its end is not recorded yet; delete again when it is, or with --now"
    context.exit(for_each(names, delete, left=left))


def _await_record(kube: Kube, namespace: str, found: Task, timeout: float | None) -> None:
    """Wait until the end of a task is recorded, having cancelled one that has not ended.

    Raises StoppedFollowing after `timeout` seconds, and at Ctrl-C. One whose last step was lost has its verdict from a
    keeper; where none is there, or none comes, what is known is deleted as it is.
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
        say(f"{name}: has not ended: cancelling it first")
        with suppress(TaskEndedError):  # by itself, at this moment
            cancel_task(kube, namespace, name)
        found = follow.follow_one(kube, namespace, name, timeout=timeout, view=Lines())
    if LABEL_VERDICT in found.labels or found.shutdown == TERMINATE:  # that runs no last step
        return
    if not keeper_is_active(kube, namespace):
        say(f"{name}: has ended without a verdict, and no keeper is there to write it: deleting it as it is")
        return
    say(f"{name}: has ended without a verdict: the keeper has {_KEEPER_SECONDS:.0f} s to write it")
    left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
    found = follow.follow_one(kube, namespace, name, timeout=left, view=Silence(), grace=_KEEPER_SECONDS)
    if LABEL_VERDICT not in found.labels:
        say(f"{name}: the keeper wrote no verdict: deleting it as it is")
