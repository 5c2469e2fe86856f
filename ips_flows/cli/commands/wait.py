"""`ips-flow wait`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ips_flows.cli.options.common import (
    Target,
    example,
    junit_option,
    output_option,
    target_options,
    timeout_option,
)
from ips_flows.cli.session.ci import write_junit
from ips_flows.cli.session.targets import connected_target
from ips_flows.cli.shell_completion import task_names


@click.command("wait", epilog=example("ips-flow wait nightly --timeout 30m"))
@click.argument("names", metavar="TASK...", nargs=-1, required=True, shell_complete=task_names)
@timeout_option("Stop waiting after this time; the tasks continue, and the exit code is 124.")
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
    """Follow tasks until they end, one after another.

    The exit codes are those of `run`. For several tasks: 1 if one failed, else 3 if one was cancelled.
    """
    from ips_flows.cli.output import documents  # noqa: PLC0415
    from ips_flows.cli.session import follow  # noqa: PLC0415
    from ips_flows.core.task.junit import JUnitSuite  # noqa: PLC0415
    from ips_flows.operations import tasks  # noqa: PLC0415

    connected = connected_target(target)
    deadline = None if timeout is None else time.monotonic() + timeout
    codes = set()
    suites: list[JUnitSuite] = []
    for name in names:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            ended = follow.follow_one(connected.kube, connected.namespace, name, timeout=left)
        except follow.StoppedFollowing as stopped:
            follow.goes_on(stopped.code, connected, [name], timeout)
            write_junit(junit, suites)
            context.exit(stopped.code)
        ended = tasks.with_results(connected.kube, ended)
        suites.append(JUnitSuite(name, ended))
        documents.put_end(ended, output)
        codes.add(follow.exit_code(ended))
    write_junit(junit, suites)
    context.exit(next((code for code in (1, 3) if code in codes), 0))
