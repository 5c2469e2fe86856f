"""Flags of `plan` and `run` for registries and bandwidth, used before a task is submitted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ips_flows.cli.options.option import option

if TYPE_CHECKING:
    from ips_flows.operations.forecast import ForecastOptions

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BANDWIDTH = "100MB/s"
_BANDWIDTH = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMGT]?)(i?)(B|bit|b)(?:/s|ps)?")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


class BandwidthType(click.ParamType[float]):
    """Bytes per second, written as `100MB/s`, `80MiB/s` or `1Gbit/s`."""

    name = "bandwidth"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a bandwidth."""
        if isinstance(value, int | float):
            return float(value)
        match = _BANDWIDTH.fullmatch(str(value))
        number = 0.0
        if match:
            power = " kMGT".index(match[2] or " ")
            number = float(match[1]) * (1024 if match[3] else 1000) ** power
            number /= 1 if match[4] == "B" else 8
        if number <= 0:
            self.fail(
                f'{value!r} is not a bandwidth; expected one such as "100MB/s" or "1Gbit/s"', param, ctx
            )
        return number


class RegistryType(click.ParamType[str]):
    """A registry: a host with an optional port."""

    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse a host."""
        if not _HOST.fullmatch(str(value)):
            self.fail(
                f'{value!r} is not a registry; expected one such as "registry.example.com:5000"', param, ctx
            )
        return str(value)


def insecure_option(command: F) -> F:
    """Add `--insecure-registry`. The command gets it as `insecure_registry`."""
    return option(
        "--insecure-registry",
        type=RegistryType(),
        multiple=True,
        metavar="HOST[:PORT]",
        help="Use plain HTTP for this registry in this command's own requests, not in the nodes' pulls; repeatable.",
        default_text="loopback addresses only",
    )(command)


def forecast_options(
    insecure: tuple[str, ...],
    *,
    bandwidth: float | None = None,
    registry_bandwidth: float | None = None,
    check_disk: bool = False,
) -> ForecastOptions:
    """Return the options of a forecast from the values of the flags."""
    from ips_flows.core.forecast.duration import Bandwidth  # noqa: PLC0415  (pydantic and requests, behind Forecaster)
    from ips_flows.operations.forecast import ForecastOptions  # noqa: PLC0415

    node = bandwidth if bandwidth is not None else BandwidthType().convert(DEFAULT_BANDWIDTH, None, None)
    return ForecastOptions(Bandwidth(node, registry_bandwidth), frozenset(insecure), check_disk)
