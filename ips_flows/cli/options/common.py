"""Options that verbs share: the cluster and the namespace, the output format, the timeout."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ips_flows.cli.options.option import option

if TYPE_CHECKING:
    from ips_flows.kube.client import Kube

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "wide", "json", "yaml", "name")
_DURATION = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster and the namespace of a command."""

    kubeconfig: str | None
    context: str | None
    namespace: str | None

    def connect(self) -> tuple[Kube, str]:
        """Connect to the cluster.

        Return the connection and the namespace: that of the option or the environment, else that of the kubeconfig or
        the pod.
        """
        from ips_flows.kube.client import Kube  # noqa: PLC0415

        kube = Kube.connect(self.kubeconfig, self.context)
        return kube, self.namespace or kube.namespace

    def flags(self, namespace: str) -> str:
        """Return the flags that give another command the same target."""
        named = {"-n": namespace, "--kubeconfig": self.kubeconfig, "--context": self.context}
        return " ".join(f"{flag} {shlex.quote(value)}" for flag, value in named.items() if value)


class DurationType(click.ParamType[float]):
    """Seconds, written as `90s`, `10m`, `1h30m` or a plain number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a duration."""
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(str(value))
        if not match:
            self.fail(
                f'{value!r} is not a duration; expected one such as "90s", "10m" or "1h30m"', param, ctx
            )
        return float(
            sum(
                int(part or 0) * unit for part, unit in zip(match.groups(), (86400, 3600, 60, 1), strict=True)
            )
        )


_NAMESPACE = option(
    "-n",
    "--namespace",
    metavar="NAME",
    envvar=["IPS_FLOW_NAMESPACE", "K8S_NAMESPACE"],
    help="Namespace.",
    default_text="IPS_FLOW_NAMESPACE, K8S_NAMESPACE, the context's",
)
_KUBECONFIG = option(
    "--kubeconfig", metavar="FILE", help="Kubeconfig file.", default_text="KUBECONFIG, ~/.kube/config"
)
_CURRENT_CONTEXT = "the current context"


def target_options(command: F) -> F:
    """Add `-n`, `--kubeconfig` and `--context`. The command gets them as `target`."""

    @_NAMESPACE
    @_KUBECONFIG
    @option("--context", metavar="NAME", help="Context of the kubeconfig.", default_text=_CURRENT_CONTEXT)
    @functools.wraps(command)
    def wrapped(
        *args: Any, kubeconfig: str | None, context: str | None, namespace: str | None, **options: Any
    ) -> Any:
        return command(*args, target=Target(kubeconfig, context, namespace), **options)

    return wrapped  # type: ignore[return-value]


def targets_options(command: F) -> F:
    """Add the same options, but `--context` can be repeated.

    The command gets `targets`: one target for each context, or one target without a context.
    """

    @_NAMESPACE
    @_KUBECONFIG
    @option(
        "--context",
        "contexts",
        metavar="NAME",
        multiple=True,
        help="Context of the kubeconfig; repeatable: the task is submitted to each of these clusters.",
        default_text=_CURRENT_CONTEXT,
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, kubeconfig: str | None, contexts: tuple[str, ...], namespace: str | None, **options: Any
    ) -> Any:
        for context in contexts:
            if contexts.count(context) > 1:
                raise click.UsageError(f"duplicate --context {context}; expected each context once")
        targets = tuple(Target(kubeconfig, context, namespace) for context in contexts or (None,))
        return command(*args, targets=targets, **options)

    return wrapped  # type: ignore[return-value]


def output_option(*formats: str, default: str = "table") -> Callable[[F], F]:
    """Add `-o`. The command gets it as `output`."""
    return option(
        "-o",
        "--output",
        type=click.Choice(formats or FORMATS),
        default=default,
        help="Output format.",
    )


def timeout_option(help_text: str) -> Callable[[F], F]:
    """Add `--timeout`, the time limit of the command. The command gets `timeout` in seconds, or None."""
    return option(
        "--timeout", type=DurationType(), metavar="DURATION", help=help_text, default_text="no limit"
    )


def example(*lines: str) -> str:
    """Return the last part of a help page: commands to copy."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def junit_option(command: F) -> F:
    """Add `--junit`. The command gets a path or None."""
    return option(
        "--junit",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write a JUnit report to this file: one test case per node and image.",
    )(command)
