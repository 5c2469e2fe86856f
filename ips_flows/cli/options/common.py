"""Options that verbs share, and where they point: a cluster and a namespace."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ips_flows.kube.client import Kube

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "wide", "json", "yaml", "name")
_DURATION = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster and the namespace that a command is about."""

    kubeconfig: str | None
    context: str | None
    namespace: str | None

    def connect(self) -> tuple[Kube, str]:
        """A connection, and the namespace: of the option or environment, else of the kubeconfig or the pod."""
        from ips_flows.kube.client import Kube  # noqa: PLC0415

        kube = Kube.connect(self.kubeconfig, self.context)
        return kube, self.namespace or kube.namespace

    def flags(self, namespace: str) -> str:
        """The flags that lead another command to the same place."""
        named = {"-n": namespace, "--kubeconfig": self.kubeconfig, "--context": self.context}
        return " ".join(f"{flag} {shlex.quote(value)}" for flag, value in named.items() if value)


class DurationType(click.ParamType[float]):
    """Seconds, written as `90s`, `10m`, `1h30m` or a plain number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a duration."""
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(str(value))
        if not match:
            self.fail(f'{value!r} is no duration; expected one such as "90s", "10m" or "1h30m"', param, ctx)
        return float(
            sum(
                int(part or 0) * unit for part, unit in zip(match.groups(), (86400, 3600, 60, 1), strict=True)
            )
        )


_NAMESPACE = click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    envvar=["IPS_FLOW_NAMESPACE", "K8S_NAMESPACE"],
    help="Namespace  [default: IPS_FLOW_NAMESPACE, K8S_NAMESPACE, the context's].",
)
_KUBECONFIG = click.option(
    "--kubeconfig", metavar="FILE", help="Kubeconfig  [default: KUBECONFIG, ~/.kube/config]."
)


def target_options(command: F) -> F:
    """`-n`, `--kubeconfig`, `--context`: the command gets them as `target`."""

    @_NAMESPACE
    @_KUBECONFIG
    @click.option("--context", metavar="NAME", help="Context of the kubeconfig.")
    @functools.wraps(command)
    def wrapped(
        *args: Any, kubeconfig: str | None, context: str | None, namespace: str | None, **options: Any
    ) -> Any:
        return command(*args, target=Target(kubeconfig, context, namespace), **options)

    return wrapped  # type: ignore[return-value]


def targets_options(command: F) -> F:
    """The same with any number of contexts: the command gets `targets`, one for each, or the only one."""

    @_NAMESPACE
    @_KUBECONFIG
    @click.option(
        "--context",
        "contexts",
        metavar="NAME",
        multiple=True,
        help="Context of the kubeconfig; repeatable: the same in each of these clusters.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, kubeconfig: str | None, contexts: tuple[str, ...], namespace: str | None, **options: Any
    ) -> Any:
        for context in contexts:
            if contexts.count(context) > 1:
                raise click.UsageError(
                    f"--context {context} is given twice: a task there would be one, not two"
                )
        targets = tuple(Target(kubeconfig, context, namespace) for context in contexts or (None,))
        return command(*args, targets=targets, **options)

    return wrapped  # type: ignore[return-value]


def output_option(*formats: str, default: str = "table") -> Callable[[F], F]:
    """`-o`: the command gets it as `output`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats or FORMATS),
        default=default,
        show_default=True,
        help="How to print.",
    )


def timeout_option(help_text: str) -> Callable[[F], F]:
    """`--timeout`: how long this command waits, as `timeout` in seconds or None."""
    return click.option("--timeout", type=DurationType(), metavar="DURATION", help=help_text)


def example(*lines: str) -> str:
    """The end of a help page: commands that can be pasted."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def junit_option(command: F) -> F:
    """`--junit`: the command gets a path or None."""
    return click.option(
        "--junit",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write a JUnit report: a test case a node and image.",
    )(command)
