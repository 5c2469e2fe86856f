"""`ips-flow run`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ips_flows.cli.options.common import Target, example, targets_options
from ips_flows.cli.options.registry import forecast_options, insecure_option
from ips_flows.cli.options.request import RequestCommand, overrides_of, read_text, request_options
from ips_flows.cli.options.submit import FollowOptions, follow_options
from ips_flows.cli.output.console import failure, put, say
from ips_flows.cli.session.submit_and_follow import Submit, submit_and_follow
from ips_flows.cli.session.targets import ConnectedTarget, connected_targets
from ips_flows.core.errors import IpsFlowError, PlanError, UsageError

if TYPE_CHECKING:
    from ips_flows.core.request.model import PrewarmRequest
    from ips_flows.operations.forecast import Forecaster


@click.command(
    "run",
    cls=RequestCommand,
    epilog=example(
        "ips-flow run images.yaml --batch-size 20",
        "ips-flow run --image busybox:1.37 --image redis:8 --name nightly --detach",
        "helm template my-chart | ips-flow run --manifest -",
        "ips-flow run images.yaml --context east --context west",
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
@click.option(
    "--dry-run", is_flag=True, help="Print the Workflow that would be submitted, and submit nothing."
)
@click.option(
    "--request",
    "inline",
    envvar="IPS_FLOW_REQUEST",
    metavar="TEXT",
    help="The request itself, instead of FILE, also from IPS_FLOW_REQUEST.",
)
@click.option(
    "--name-from",
    metavar="TEXT",
    help="Name the task after a text: run again with the same text, it is found again.",
)
@click.option("--plan", is_flag=True, help="Look first as `plan` does, and submit nothing that would fail.")
@click.option("--pin", is_flag=True, help="Replace tags by the digests that they have now.")
@insecure_option
@follow_options
@targets_options
@click.pass_context
def run_command(
    context: click.Context,
    /,
    *,
    targets: tuple[Target, ...],
    file: str | None,
    manifests: tuple[str, ...],
    inline: str | None,
    name_from: str | None,
    dry_run: bool,
    plan: bool,
    pin: bool,
    insecure_registry: tuple[str, ...],
    follow: FollowOptions,
    **fields: Any,
) -> None:
    """Submit the request in FILE (YAML or JSON; - is stdin) and follow it to its end.

    Each flag under "Request" overrides the field of that name in FILE; with --image no FILE is needed.
    --manifest takes Kubernetes manifests as `ips-flow images` does, and makes a task for each set of nodes.
    With several --context each of these clusters gets the task, all are followed together, and one exit code tells
    of all: 1 if one failed, else that of an error, else 3 if one was cancelled.
    """
    if follow.cancel_with and len(targets) > 1:
        raise click.UsageError(
            "--cancel-with names a Workflow of one cluster; it does not go with several --context"
        )
    if insecure_registry and not (plan or pin):
        raise UsageError(
            "--insecure-registry says how `run` asks a registry, which it does only with --plan or --pin",
            hint="How the nodes ask it is a setting of their container runtime.",
        )
    overrides = overrides_of(fields)
    if name_from is not None:
        if "name" in overrides:
            raise click.UsageError("--name and --name-from both name the task: give one of them")
        overrides["name"] = _named_after(name_from)
    requests = _requests(context, file, inline, manifests, overrides)
    connected_to = connected_targets(targets)
    if len(connected_to) > 1:
        requests = [_named(one) for one in requests]
    wanted = dict.fromkeys(connected_to, requests)
    if plan or pin:
        wanted = _looked_at(context, wanted, insecure_registry, plan=plan, pin=pin)
    if dry_run:
        _print_workflows(wanted)
        return

    from ips_flows.operations.submit import submit_request  # noqa: PLC0415

    submits = [
        Submit(connected, partial(submit_request, connected.kube, connected.namespace, one))
        for connected, ones in wanted.items()
        for one in ones
    ]
    context.exit(submit_and_follow(submits, follow))


def _requests(
    context: click.Context,
    file: str | None,
    inline: str | None,
    manifests: tuple[str, ...],
    overrides: dict[str, Any],
) -> list[PrewarmRequest]:
    """The request that was given in one way or another; of manifests one for each set of nodes."""
    if inline is not None and not _typed(context, "inline") and (file is not None or manifests):
        inline = None  # the environment says what is meant where nothing else does
    if manifests:
        if file is not None or inline is not None or "images" in overrides:
            raise UsageError("--manifest says which images; it does not go with FILE, --request or --image")
        from ips_flows.cli.inputs.manifest_requests import requests_of  # noqa: PLC0415  (pydantic)

        return requests_of(manifests, overrides)
    text: str | None
    if inline is not None:
        if file is not None:
            raise click.UsageError("FILE and --request are both a request: give one of them")
        text, source = inline, "--request"
    else:
        text, source = read_text(file, sys.stdin, needed="images" not in overrides)
    from ips_flows.core.request.model import merge_overrides  # noqa: PLC0415  (pydantic)

    return [merge_overrides(text, source, overrides)]


def _typed(context: click.Context, name: str) -> bool:
    """Whether an option was given as a flag, not by the environment."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _named_after(text: str) -> str:
    """A task's name that depends on a text alone, and that no two texts share."""
    return "from-" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _named(request: PrewarmRequest) -> PrewarmRequest:
    """The request with a name, so that its tasks have the same one everywhere."""
    from ips_flows.operations.submit import generated_name  # noqa: PLC0415

    return request if request.name else request.model_copy(update={"name": generated_name()})


def _looked_at(
    context: click.Context,
    wanted: Mapping[ConnectedTarget, Sequence[PrewarmRequest]],
    insecure: tuple[str, ...],
    *,
    plan: bool,
    pin: bool,
) -> dict[ConnectedTarget, list[PrewarmRequest]]:
    """The requests to submit in each place; ends the command where a look at one says that nothing may be."""
    from ips_flows.operations.forecast import Forecaster  # noqa: PLC0415  (requests)

    looked_at: dict[ConnectedTarget, list[PrewarmRequest]] = {}
    codes = []
    for connected, requests in wanted.items():
        forecaster = Forecaster(connected.kube, connected.namespace, forecast_options(insecure))
        try:
            looked_at[connected] = [
                _checked_request(forecaster, one, connected.mark, plan=plan, pin=pin) for one in requests
            ]
        except IpsFlowError as error:
            failure(connected.mark + error.message, error.hint)
            codes.append(error.exit_code)
    if codes:
        context.exit(codes[0])
    return looked_at


def _checked_request(
    forecaster: Forecaster, request: PrewarmRequest, mark: str, *, plan: bool, pin: bool
) -> PrewarmRequest:
    """The request to submit. Raises PlanError where a task would fail, or a tag has no digest."""
    from ips_flows.cli.commands.plan import pinned  # noqa: PLC0415
    from ips_flows.cli.output import forecast_tables  # noqa: PLC0415

    if pin:
        request = pinned(forecaster, request, mark=mark)
    if plan:
        forecast = forecaster.forecast(request)
        for issue in forecast.issues:
            first, *rest = forecast_tables.issue_lines(issue)
            say("\n".join([f"{mark}{issue.level}: {first}", *(f"  {line}" for line in rest)]))
        if forecast.fails:
            raise PlanError(
                f"nothing was submitted: {forecast_tables.verdict_line(forecast.issues)}",
                hint="`ips-flow plan` shows the whole picture; without --plan the task is submitted all the same.",
            )
        say(f"{mark}plan: {forecast_tables.verdict_line(forecast.issues)}")
    return request


def _print_workflows(wanted: Mapping[ConnectedTarget, Sequence[PrewarmRequest]]) -> None:
    from ips_flows.argo.task_workflow import task_workflow  # noqa: PLC0415
    from ips_flows.cli.output.documents import put_document  # noqa: PLC0415
    from ips_flows.operations.submit import generated_name  # noqa: PLC0415

    printed = [(connected, request) for connected, requests in wanted.items() for request in requests]
    for connected, request in printed:
        if len(printed) > 1:
            put(f"---  # {connected.mark}".rstrip(" #"))
        name = request.name or generated_name()
        put_document(task_workflow(request, name=name, namespace=connected.namespace), "yaml")
