"""`ips-flow plan`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options
from ips_flows.cli.options.option import option
from ips_flows.cli.options.registry import DEFAULT_BANDWIDTH, BandwidthType, forecast_options, insecure_option
from ips_flows.cli.options.request import RequestCommand, overrides_of, read_text, request_options
from ips_flows.cli.output.console import colours, columns, put, say
from ips_flows.core.errors import UsageError

if TYPE_CHECKING:
    from ips_flows.core.forecast.forecast import Forecast
    from ips_flows.core.forecast.issues import Issue
    from ips_flows.core.request.model import PrewarmRequest
    from ips_flows.operations.forecast import Forecaster

_COLOURS = {"error": "red", "warning": "yellow"}


@click.command(
    "plan",
    cls=RequestCommand,
    epilog=example(
        "ips-flow plan images.yaml",
        "ips-flow plan images.yaml --pin -o request > pinned.yaml",
    ),
)
@click.argument("file", required=False)
@request_options
@option(
    "--pin",
    is_flag=True,
    help="Replace tags by their current digests, and print both. Pods must then use the digests too.",
)
@option(
    "--check-disk",
    is_flag=True,
    help="Read the free disk space from the kubelets; requires permission to get nodes/proxy.",
)
@option(
    "--bandwidth",
    type=BandwidthType(),
    default=DEFAULT_BANDWIDTH,
    metavar="RATE",
    help="Download bandwidth per node.",
)
@option(
    "--registry-bandwidth",
    type=BandwidthType(),
    metavar="RATE",
    help="Download bandwidth of all nodes together.",
    default_text="no limit",
)
@insecure_option
@output_option("table", "wide", "json", "yaml", "request")
@target_options
@click.pass_context
def plan_command(
    context: click.Context,
    /,
    *,
    target: Target,
    file: str | None,
    pin: bool,
    check_disk: bool,
    bandwidth: float,
    registry_bandwidth: float | None,
    insecure_registry: tuple[str, ...],
    output: str,
    **fields: Any,
) -> None:
    """Preview the request in FILE (YAML or JSON; - is stdin): nodes, sizes, time, problems. Changes nothing.

    The exit code is 1 if a task would fail. -o request --pin prints only the pinned request, as input for `run -`.
    """
    if output == "request" and not pin:
        raise UsageError("-o request prints a pinned request and requires --pin", hint="Add --pin.")
    overrides = overrides_of(fields)
    text, source = read_text(file, sys.stdin, needed="images" not in overrides, command="plan")

    from ips_flows.core.request.model import canonical_json, merge_overrides  # noqa: PLC0415  (pydantic)
    from ips_flows.operations.forecast import Forecaster  # noqa: PLC0415  (requests)

    request = merge_overrides(text, source, overrides)
    kube, namespace = target.connect()
    options = forecast_options(
        insecure_registry,
        bandwidth=bandwidth,
        registry_bandwidth=registry_bandwidth,
        check_disk=check_disk,
    )
    forecaster = Forecaster(kube, namespace, options)
    if pin:
        request = pinned(forecaster, request)
    if output == "request":
        from ips_flows.cli.output.documents import put_document  # noqa: PLC0415

        put_document(json.loads(canonical_json(request)), "yaml")
        return
    forecast = forecaster.forecast(request)
    put_forecast(forecast, output)
    context.exit(1 if forecast.fails else 0)


def pinned(forecaster: Forecaster, request: PrewarmRequest, *, mark: str = "") -> PrewarmRequest:
    """Return the request with a digest for every tag. Print each tag and its digest, with a prefix `mark`."""
    found = forecaster.pinned(request)
    for tag, now in found.tags.items():
        say(f"{mark}pinned: {tag} is {now.partition('@')[2]}")
    for image in found.doubled:
        say(f"{mark}pinned: {image} left out: it has the same digest as another image of the request")
    return found.request


def put_forecast(forecast: Forecast, output: str) -> None:
    """Print a forecast on stdout."""
    from ips_flows.cli.output import forecast_tables  # noqa: PLC0415

    if output in ("json", "yaml"):
        from ips_flows.cli.output.documents import put_document  # noqa: PLC0415
        from ips_flows.core.forecast.as_json import forecast_json  # noqa: PLC0415

        put_document(forecast_json(forecast), output)
        return
    wide = output == "wide"
    for line in forecast_tables.head_lines(forecast):
        put(line)
    put("\n" + forecast_tables.forecast_image_table(forecast, wide=wide, width=columns()))
    if wide:
        put("\n" + forecast_tables.forecast_node_table(forecast))
    put("")
    for issue in forecast.issues:
        _put_concern(issue)
    put(forecast_tables.verdict_line(forecast.issues))


def _put_concern(issue: Issue) -> None:
    from ips_flows.cli.output.forecast_tables import issue_lines  # noqa: PLC0415

    mark = f"{issue.level}: "
    first, *rest = issue_lines(issue)
    put(first, mark=click.style(mark, fg=_COLOURS[issue.level]) if colours(sys.stdout) else mark)
    for line in rest:
        put(f"  {line}")
