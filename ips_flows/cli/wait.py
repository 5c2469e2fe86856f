"""`ips-flow wait`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ips_flows.cli.completing import task_names
from ips_flows.cli.options import Target, example, output_option, target_options, timeout_option
from ips_flows.cli.pipelines import junit_option, write_junit
from ips_flows.cli.places import place_of


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
    from ips_flows.junit import Suite  # noqa: PLC0415

    place = place_of(target)
    deadline = None if timeout is None else time.monotonic() + timeout
    codes = set()
    suites: list[Suite] = []
    for name in names:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            ended = following.to_the_end(place.kube, place.namespace, name, timeout=left)
        except following.Left as stopped:
            following.goes_on(stopped.code, place, [name], timeout)
            write_junit(junit, suites)
            context.exit(stopped.code)
        ended = tasks.with_results(place.kube, ended)
        suites.append(Suite(name, ended))
        out.put_end(ended, output)
        codes.add(following.exit_code(ended))
    write_junit(junit, suites)
    context.exit(next((code for code in (1, 3) if code in codes), 0))
