"""Output functions of the command line: messages go to stderr, data to stdout, colours only to a terminal.

All output passes through here and is escaped, so that no external text can control the terminal.
"""

from __future__ import annotations

import os
import shutil
import sys

import click

from ips_flows.core.escape import escape

_OURS = "\n\t"  # line breaks and tabs of our own output


def say(text: str, *, mark: str = "") -> None:
    """Print a message to stderr. `mark` is a prefix that may contain escape sequences for colours."""
    click.echo(mark + escape(text, keep=_OURS), err=True)


def mark(text: str) -> None:
    """Print a control line of a CI system to stderr, with its escape sequences even without a terminal."""
    click.echo(text, err=True, color=True)


def put(text: str, *, mark: str = "") -> None:
    """Print data to stdout. `mark` is a prefix that may contain escape sequences for colours."""
    click.echo(mark + escape(text, keep=_OURS))


def colours(stream: object) -> bool:
    """Return whether a stream is a terminal with colours; NO_COLOR and TERM=dumb turn them off."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: object) -> bool:
    """Return whether a stream is a terminal."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def columns() -> int | None:
    """Return the width of the terminal on stdout in characters; None if stdout is not a terminal."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def failure(message: str, hint: str = "") -> None:
    """Print an error and its hint to stderr."""
    mark = click.style("error:", fg="red", bold=True) if colours(sys.stderr) else "error:"
    first, *rest = message.splitlines() or [""]
    say(f" {first}", mark=mark)
    for line in rest:
        say(f"       {line}")
    if hint:
        say(f"hint:  {hint}")
