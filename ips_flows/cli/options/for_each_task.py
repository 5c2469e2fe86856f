"""Run an action for several tasks; continue with the others after a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from ips_flows.cli.options.common import target_options, timeout_option
from ips_flows.cli.output.console import failure, say
from ips_flows.cli.shell_completion import task_names
from ips_flows.core.errors import IpsFlowError

F = TypeVar("F", bound=Callable[..., Any])


def several_options(timeout_help: str) -> Callable[[F], F]:
    """Add `TASK...`, `--timeout` and the target options. The command gets `names`, `timeout` and `target`."""

    def with_options(command: F) -> F:
        names = click.argument("names", metavar="TASK...", nargs=-1, required=True, shell_complete=task_names)
        return names(timeout_option(timeout_help)(target_options(command)))

    return with_options


def for_each(names: Iterable[str], action: Callable[[str], None], *, left: str) -> int:
    """Run an action for each name, print each failure, and return the exit code: 1 if any action failed.

    If a timeout or Ctrl-C stops a wait, print `left` (what happens to the remaining tasks) and return the exit code of
    the stopped wait.
    """
    from ips_flows.cli.session.follow import StoppedFollowing  # noqa: PLC0415

    code = 0
    for name in dict.fromkeys(names):
        try:
            action(name)
        except IpsFlowError as error:
            failure(error.message, error.hint)
            code = 1
        except StoppedFollowing as stopped:
            say(left)
            return stopped.code
    return code
