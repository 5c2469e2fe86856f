"""`ips-flow wait`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ips_flows.cli.completing import task_names
from ips_flows.cli.options import Target, example, output_option, target_options, timeout_option
from ips_flows.cli.pipelines import junit_option, write_junit

if TYPE_CHECKING:
    from ips_flows.task import Task


@click.command("wait", epilog=example("ips-flow wait nightly --timeout 30m"))
@click.argument("names", metavar="TASK...", nargs=-1, required=True, shell_complete=task_names)
@timeout_option("Stop waiting after this long; the tasks go on  [exit code 124].")
@junit_option
@output_option()
@target_options
@click.pass_context
def wait_command(
    context: click.Context,
    /,
    *,
    target: Target,
    names: tuple[str, ...],
    timeout: float | None,
    junit: Path | None,
    output: str,
) -> None:
    """Follow tasks to their end, one after another.

    The exit code is that of `run`; of several tasks, 1 if one failed, else 3 if one was cancelled.
    """
    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli import following  # noqa: PLC0415
    from ips_flows.cli import output as out  # noqa: PLC0415

    kube, namespace = target.connect()
    deadline = None if timeout is None else time.monotonic() + timeout
    codes = set()
    known: list[Task] = []
    for name in names:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            ended = following.to_the_end(kube, namespace, name, timeout=left)
        except following.Left as stopped:
            following.goes_on(stopped, target, namespace, name, timeout)
            write_junit(junit, known)
            context.exit(stopped.code)
        known.append(tasks.with_results(kube, ended))
        out.put_end(known[-1], output)
        codes.add(following.exit_code(ended))
    write_junit(junit, known)
    context.exit(next((code for code in (1, 3) if code in codes), 0))
