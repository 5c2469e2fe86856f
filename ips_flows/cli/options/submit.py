"""Options of the verbs that submit and follow tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ips_flows.cli.options.common import junit_option, output_option, timeout_option
from ips_flows.cli.options.option import option

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """Options for following the tasks that a verb submitted. `timeout` is in seconds."""

    detach: bool
    timeout: float | None
    output: str
    junit: Path | None
    cancel_on_exit: bool
    cancel_with: str = ""  # cancel only if this Workflow was stopped or deleted

    @property
    def cancels(self) -> bool:
        """Whether the command cancels its tasks when it is interrupted."""
        return self.cancel_on_exit or bool(self.cancel_with)


def follow_options(command: F) -> F:
    """Add the options for following submitted tasks. The command gets them as `follow`."""

    @option("--detach", is_flag=True, help="Submit only; do not follow the task.")
    @option(
        "--cancel-on-exit",
        is_flag=True,
        help="Cancel the task on Ctrl-C or SIGTERM; the exit code is then 3.",
    )
    @option(
        "--cancel-with",
        metavar="WORKFLOW",
        default="",
        help="Cancel the task on Ctrl-C or SIGTERM if this Argo Workflow was stopped or deleted (exit code 3);"
        " otherwise the task continues (exit code 143).",
    )
    @junit_option
    @timeout_option("Stop following after this time; the task continues, and the exit code is 124.")
    @output_option()
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        detach: bool,
        cancel_on_exit: bool,
        cancel_with: str,
        junit: Path | None,
        timeout: float | None,
        output: str,
        **options: Any,
    ) -> Any:
        if detach and (junit or cancel_on_exit or cancel_with):
            given = "--junit" if junit else "--cancel-on-exit" if cancel_on_exit else "--cancel-with"
            raise click.UsageError(f"--detach does not follow the task; it can't be combined with {given}")
        return command(
            *args,
            follow=FollowOptions(detach, timeout, output, junit, cancel_on_exit, cancel_with),
            **options,
        )

    return wrapped  # type: ignore[return-value]
