"""`ips-flow run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ips_flows.cli.narration import put, say
from ips_flows.cli.options import Target, example, output_option, target_options, timeout_option
from ips_flows.cli.request_options import RequestCommand, overrides_of, read_text, request_options

if TYPE_CHECKING:
    from ips_flows.tasks import Submission


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
    from ips_flows.cli import following  # noqa: PLC0415
    from ips_flows.cli import output as out  # noqa: PLC0415

    submission = tasks.submit(kube, namespace, request)
    name = submission.task.name
    _say_submitted(submission, namespace)
    if detach:
        if output == "table":
            put(f"task {name} {'submitted' if submission.created else 'unchanged'}")
        else:
            out.put_task(submission.task, output)
        say(f"follow it:  ips-flow wait {name} {target.flags(namespace)}")
        return
    try:
        ended = following.to_the_end(kube, namespace, name, timeout=timeout)
    except following.Left as left:
        following.goes_on(left, target, namespace, name, timeout)
        context.exit(left.code)
    out.put_end(tasks.with_results(kube, ended), output)
    if not submission.created and ended.status != "completed":
        say("This was the task of an earlier run; submit the request under another --name to try again.")
    context.exit(following.exit_code(ended))


def _say_submitted(submission: Submission, namespace: str) -> None:
    if submission.created:
        say(f"task {submission.task.name} submitted in namespace {namespace}")
    else:
        say(
            f"task {submission.task.name} with the same request is in namespace {namespace} already: unchanged"
        )


def _print_workflow(request: Any, namespace: str) -> None:
    from ips_flows.cli.output import put_document  # noqa: PLC0415
    from ips_flows.flows.task_workflow import task_workflow  # noqa: PLC0415
    from ips_flows.tasks import generated_name  # noqa: PLC0415

    put_document(task_workflow(request, name=request.name or generated_name(), namespace=namespace), "yaml")
