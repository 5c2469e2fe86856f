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
from ips_flows.cli.options.option import option
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
@option(
    "--manifest",
    "manifests",
    multiple=True,
    metavar="FILE",
    help="Warm the images of these manifests on the nodes where their pods may be scheduled; - is stdin;"
    " repeatable.",
)
@request_options
@option("--dry-run", is_flag=True, help="Print the Workflow that would be submitted, and submit nothing.")
@option(
    "--request",
    "inline",
    envvar="IPS_FLOW_REQUEST",
    metavar="TEXT",
    help="Text of the request, instead of FILE; also from IPS_FLOW_REQUEST.",
)
@option(
    "--name-from",
    metavar="TEXT",
    help="Derive the task name from TEXT, such as the ID of a pipeline run: the same TEXT finds the task again.",
)
@option(
    "--plan", is_flag=True, help="Check the request first, as `plan` does; submit nothing if it would fail."
)
@option(
    "--pin",
    is_flag=True,
    help="Replace tags by their current digests. Pods must then use the digests too.",
)
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
    """Submit the request in FILE (YAML or JSON; - is stdin) and follow the task until it ends.

    Each flag under "Request" overrides the field of that name in FILE. With --image, FILE is optional.
    --manifest reads Kubernetes manifests as `ips-flow images` does, and creates one task per set of nodes.
    With several --context the task is submitted to each of these clusters, and all tasks are followed together. The
    exit code is then 1 if one task failed, else that of an error, else 3 if one was cancelled.
    """
    if follow.cancel_with and len(targets) > 1:
        raise click.UsageError(
            "--cancel-with names a Workflow of one cluster; it can't be combined with several --context"
        )
    if insecure_registry and not (plan or pin):
        raise UsageError(
            "--insecure-registry requires --plan or --pin; without them `run` does not connect to a registry",
            hint="For the nodes, configure the registry in their container runtime.",
        )
    overrides = overrides_of(fields)
    if name_from is not None:
        if "name" in overrides:
            raise click.UsageError("--name and --name-from can't be combined; give one of them")
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
    """Return the request from FILE, --request or flags; from manifests, one request per set of nodes."""
    if inline is not None and not _typed(context, "inline") and (file is not None or manifests):
        inline = None  # FILE and --manifest override the environment
    if manifests:
        if file is not None or inline is not None or "images" in overrides:
            raise UsageError("--manifest can't be combined with FILE, --request or --image")
        from ips_flows.cli.inputs.manifest_requests import requests_of  # noqa: PLC0415  (pydantic)

        return requests_of(manifests, overrides)
    text: str | None
    if inline is not None:
        if file is not None:
            raise click.UsageError("FILE and --request can't be combined; give one of them")
        text, source = inline, "--request"
    else:
        text, source = read_text(file, sys.stdin, needed="images" not in overrides)
    from ips_flows.core.request.model import merge_overrides  # noqa: PLC0415  (pydantic)

    return [merge_overrides(text, source, overrides)]


def _typed(context: click.Context, name: str) -> bool:
    """Return whether an option was given as a flag, not by the environment."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _named_after(text: str) -> str:
    """Return the task name for a text: the same text always gives the same name, another text another name."""
    return "from-" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _named(request: PrewarmRequest) -> PrewarmRequest:
    """Return the request with a name, so that its tasks have the same name in all clusters."""
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
    """Return the checked requests of each target. If a check fails, print the error and exit the command."""
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
    """Return the request to submit. Raises PlanError if the task would fail, or a tag has no digest."""
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
                f"nothing submitted: {forecast_tables.verdict_line(forecast.issues)}",
                hint="`ips-flow plan` shows all details. To submit anyway, leave out --plan.",
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
