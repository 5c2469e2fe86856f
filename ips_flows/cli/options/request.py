"""The request on the command line: its text, and one flag for each of its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from ips_flows.cli.options.option import Option, option
from ips_flows.cli.output.console import is_terminal
from ips_flows.core.errors import UsageError
from ips_flows.core.escape import escape
from ips_flows.core.request.fields import FIELDS, RequestField, in_order_of_flags
from ips_flows.core.request.limits import MAX_BYTES

F = TypeVar("F", bound=Callable[..., Any])

_LARGEST = MAX_BYTES + 1  # one byte over the limit, so that the parser reports a request that is too large
_NO_TEXT = "flags"


class RequestOption(Option):
    """A flag that sets a field of the request."""


def _option(field: RequestField) -> Callable[[F], F]:
    flag = field.flag
    if field.syntax == "boolean":
        both = f"{flag.name}/--no-{flag.name.removeprefix('--')}"
        return option(both, cls=RequestOption, default=None, help=flag.help, default_text=field.default_text)
    return option(
        flag.name,
        cls=RequestOption,
        multiple=field.several,
        metavar=flag.metavar,
        help=flag.help,
        default_text=field.default_text,
    )


class RequestCommand(click.Command):
    """A command whose help page has one section for the fields of the request and one for its own options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the section of the fields, then the section of the options."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        records = [(one, one.get_help_record(ctx)) for one in options]
        for title, wanted in (("Request", True), ("Options", False)):
            rows = [record for one, record in records if record and isinstance(one, RequestOption) == wanted]
            with formatter.section(title):
                formatter.write_dl(rows)


def request_options(command: F) -> F:
    """Add a flag for each field of the request. The command gets them by name."""
    for field in reversed(in_order_of_flags()):
        command = _option(field)(command)
    return command


def overrides_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that flags set: wire name → the value as typed."""
    fields = {field.flag.name.removeprefix("--").replace("-", "_"): field.name for field in FIELDS}
    named = {
        fields[flag]: value for flag, value in flags.items()
    }  # KeyError for a flag that belongs to no field, even if it was not given
    return {name: value for name, value in named.items() if value is not None and value != ()}


def read_text(
    file: str | None, stdin: TextIO, *, needed: bool, command: str = "run"
) -> tuple[str | None, str]:
    """Return the text of a request, and its source as errors name it.

    Without FILE the text is None. Raises UsageError if it is `needed`; the hint shows `command` as an example.
    """
    if file is None:
        if needed:
            raise UsageError(
                f"nothing to {command.split(maxsplit=1)[0]}: neither FILE nor --image was given",
                hint=f"Give a request file, - for stdin, or an image: `ips-flow {command} --image busybox:1.37`.",
            )
        return None, _NO_TEXT
    if file == "-":
        hint = f"Pipe a request to it: `ips-flow {command} - < images.yaml`."
        return decoded(stdin_bytes(stdin, _LARGEST, hint), "stdin"), "stdin"
    return decoded(file_bytes(file, _LARGEST), escape(file)), file


def stdin_bytes(stdin: TextIO, most: int, hint: str) -> bytes:
    """Read at most `most` bytes from stdin. Raises UsageError if stdin is a terminal."""
    if is_terminal(stdin):
        raise UsageError("got - for stdin, but stdin is a terminal; expected a pipe or a file", hint=hint)
    return stdin.buffer.read(most)


def file_bytes(file: str, most: int) -> bytes:
    """Read at most `most` bytes of a file. Raises UsageError if that fails."""
    shown = escape(file)
    try:
        with Path(file).open("rb") as handle:
            return handle.read(most)
    except FileNotFoundError as error:
        raise UsageError(
            f"{shown}: file does not exist", hint=f"Relative paths start at {Path.cwd()}."
        ) from error
    except IsADirectoryError as error:
        raise UsageError(f"{shown}: is a directory; expected a file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{shown}: can't be read: {reason}") from error


def decoded(data: bytes, source: str) -> str:
    """Decode UTF-8. Raises UsageError with the position of the first invalid byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) == _LARGEST:  # perhaps cut in the middle of a character; the parser reports the size
            return data.decode("utf-8", "replace")
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8")) + 1
        raise UsageError(
            f"{source}:{line}:{column}: got the byte 0x{data[error.start]:02x}; allowed: text in UTF-8"
        ) from error
