"""`ips-flow run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from ips_flows.cli.narration import put
from ips_flows.cli.options import Target, example, output_option, target_options, timeout_option
from ips_flows.cli.request_options import RequestCommand, overrides_of, read_text, request_options
from ips_flows.errors import UsageError


@click.command(
    "run",
    cls=RequestCommand,
    epilog=example(
        "ips-flow run images.yaml --batch-size 20",
        "ips-flow run --image busybox:1.37 --image redis:8 --name nightly --detach",
        "helm template my-chart | ips-flow run --manifest -",
    ),
)
@click.argument("file", required=False)
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    metavar="FILE",
    help="Warm what these manifests need, where their pods may land; - is stdin; repeatable.",
)
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
    manifests: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    timeout: float | None,
    output: str,
    **fields: Any,
) -> None:
    """Submit the request in FILE (YAML or JSON; - is stdin) and follow it to its end.

    Each flag under "Request" overrides the field of that name in FILE; with --image no FILE is needed.
    --manifest takes Kubernetes manifests as `ips-flow images` does, and makes a task for each set of nodes.
    """
    overrides = overrides_of(fields)
    if manifests:
        if file is not None or "images" in overrides:
            raise UsageError("--manifest says which images; it does not go with FILE or --image")
        from ips_flows.cli.manifest_run import requests_of, run_all  # noqa: PLC0415  (pydantic)

        requests = requests_of(manifests, overrides)
        kube, namespace = target.connect()
        if dry_run:
            _print_workflows(requests, namespace)
            return
        context.exit(
            run_all(kube, target, namespace, requests, detach=detach, timeout=timeout, output=output)
        )
    text, source = read_text(file, sys.stdin, needed="images" not in overrides)

    from ips_flows.request import merge_overrides  # noqa: PLC0415  (pydantic)

    request = merge_overrides(text, source, overrides)
    kube, namespace = target.connect()
    if dry_run:
        _print_workflows([request], namespace)
        return

    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli.submitted import carry_on  # noqa: PLC0415

    submission = tasks.submit(kube, namespace, request)
    context.exit(carry_on(kube, target, namespace, submission, detach=detach, timeout=timeout, output=output))


def _print_workflows(requests: Sequence[Any], namespace: str) -> None:
    from ips_flows.cli.output import put_document  # noqa: PLC0415
    from ips_flows.flows.task_workflow import task_workflow  # noqa: PLC0415
    from ips_flows.tasks import generated_name  # noqa: PLC0415

    for request in requests:
        if len(requests) > 1:
            put("---")
        name = request.name or generated_name()
        put_document(task_workflow(request, name=name, namespace=namespace), "yaml")
