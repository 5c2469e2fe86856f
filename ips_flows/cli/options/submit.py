"""Options of the verbs that submit: how a submitted task is followed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ips_flows.cli.options.common import junit_option, output_option, timeout_option

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """What a verb does with the task that it submitted. `timeout` is in seconds."""

    detach: bool
    timeout: float | None
    output: str
    junit: Path | None
    cancel_on_exit: bool
    cancel_with: str = ""  # only if this Workflow was stopped

    @property
    def cancels(self) -> bool:
        """Whether an end of the command may be the end of its tasks."""
        return self.cancel_on_exit or bool(self.cancel_with)


def follow_options(command: F) -> F:
    """How a submitted task is followed: the command gets it as `follow`."""

    @click.option("--detach", is_flag=True, help="Submit only; do not follow.")
    @click.option(
        "--cancel-on-exit",
        is_flag=True,
        help="Ctrl-C or SIGTERM cancels the task  [exit code 3].",
    )
    @click.option(
        "--cancel-with",
        metavar="WORKFLOW",
        default="",
        help="The same, if this Argo Workflow was stopped or deleted; else the task goes on  [exit code 143].",
    )
    @junit_option
    @timeout_option("Stop following after this long; the task goes on  [exit code 124].")
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
            raise click.UsageError(f"--detach leaves the task to itself, so {given} has nothing to do")
        return command(
            *args,
            follow=FollowOptions(detach, timeout, output, junit, cancel_on_exit, cancel_with),
            **options,
        )

    return wrapped  # type: ignore[return-value]
