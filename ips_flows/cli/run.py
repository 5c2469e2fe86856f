"""`ips-flow run`."""

from __future__ import annotations

import sys
from typing import Any

import click

from ips_flows.cli.options import Target, example, output_option, target_options, timeout_option
from ips_flows.cli.request_options import RequestCommand, overrides_of, read_text, request_options


@click.command(
    "run",
    cls=RequestCommand,
    epilog=example(
        "ips-flow run images.yaml --batch-size 20",
        "ips-flow run --image busybox:1.37 --image redis:8 --name nightly --detach",
    ),
)
@click.argument("file", required=False)
@request_options
@click.option("--detach", is_flag=True, help="Submit only; do not follow.")
@click.option(
    "--dry-run", is_flag=True, help="Print the Workflow that would be submitted, and submit nothing."
)
@timeout_option("Stop following after this long; the task goes on  [exit code 124].")
@output_option()
@target_options
@click.pass_context
def run_command(
    context: click.Context,
    /,
    *,
    target: Target,
    file: str | None,
    detach: bool,
    dry_run: bool,
    timeout: float | None,
    output: str,
    **fields: Any,
) -> None:
    """Submit the request in FILE (YAML or JSON; - is stdin) and follow it to its end.

    Each flag under "Request" overrides the field of that name in FILE; with --image no FILE is needed.
    """
    overrides = overrides_of(fields)
    text, source = read_text(file, sys.stdin, needed="images" not in overrides)

    from ips_flows.request import merge_overrides  # noqa: PLC0415  (pydantic)

    request = merge_overrides(text, source, overrides)
    kube, namespace = target.connect()
    if dry_run:
        _print_workflow(request, namespace)
        return

    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli.submitted import carry_on  # noqa: PLC0415

    submission = tasks.submit(kube, namespace, request)
    context.exit(carry_on(kube, target, namespace, submission, detach=detach, timeout=timeout, output=output))


def _print_workflow(request: Any, namespace: str) -> None:
    from ips_flows.cli.output import put_document  # noqa: PLC0415
    from ips_flows.flows.task_workflow import task_workflow  # noqa: PLC0415
    from ips_flows.tasks import generated_name  # noqa: PLC0415

    put_document(task_workflow(request, name=request.name or generated_name(), namespace=namespace), "yaml")
