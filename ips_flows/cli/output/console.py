"""The command line's voice: narration goes to stderr, data to stdout; colours only for a terminal that wants them.

Whatever is printed passes here, so that no text of others can move the terminal.
"""

from __future__ import annotations

import os
import shutil
import sys

import click

from ips_flows.core.escape import escape

_OURS = "\n\t"  # lines and columns, which we make


def say(text: str, *, mark: str = "") -> None:
    """A line for the person who watches, behind a mark of our own that may be coloured."""
    click.echo(mark + escape(text, keep=_OURS), err=True)


def mark(text: str) -> None:
    """A line of our own for the program that shows a log, with its escapes, though it is no terminal."""
    click.echo(text, err=True, color=True)


def put(text: str, *, mark: str = "") -> None:
    """Data, behind a mark of our own that may be coloured."""
    click.echo(mark + escape(text, keep=_OURS))


def colours(stream: object) -> bool:
    """Whether a stream is a terminal that has not been asked to stay plain."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: object) -> bool:
    """Whether someone sees a stream as it is written."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def columns() -> int | None:
    """How wide the terminal is that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def failure(message: str, hint: str = "") -> None:
    """An error and what to do about it."""
    mark = click.style("error:", fg="red", bold=True) if colours(sys.stderr) else "error:"
    first, *rest = message.splitlines() or [""]
    say(f" {first}", mark=mark)
    for line in rest:
        say(f"       {line}")
    if hint:
        say(f"hint:  {hint}")
