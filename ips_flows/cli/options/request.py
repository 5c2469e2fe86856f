"""The request on the command line: its text, and a flag for each of its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from ips_flows.cli.output.console import is_terminal
from ips_flows.core.errors import UsageError
from ips_flows.core.escape import escape
from ips_flows.core.request.fields import FIELDS, RequestField, in_order_of_flags
from ips_flows.core.request.limits import MAX_BYTES

F = TypeVar("F", bound=Callable[..., Any])

_LARGEST = MAX_BYTES + 1  # one byte more than a request may have: its reader says so
_NO_TEXT = "flags"


class RequestOption(click.Option):
    """A flag that sets a field of the request."""


def _option(field: RequestField) -> Callable[[F], F]:
    flag = field.flag
    if field.syntax == "boolean":
        both = f"{flag.name}/--no-{flag.name.removeprefix('--')}"
        return click.option(both, cls=RequestOption, default=None, help=flag.help)
    return click.option(
        flag.name, cls=RequestOption, multiple=field.several, metavar=flag.metavar, help=flag.help
    )


class RequestCommand(click.Command):
    """A command whose help page shows the fields of the request apart from its own options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The fields first, then the options."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        records = [(one, one.get_help_record(ctx)) for one in options]
        for title, wanted in (("Request", True), ("Options", False)):
            rows = [record for one, record in records if record and isinstance(one, RequestOption) == wanted]
            with formatter.section(title):
                formatter.write_dl(rows)


def request_options(command: F) -> F:
    """A flag for each field of the request; the command gets them by name."""
    for field in reversed(in_order_of_flags()):
        command = _option(field)(command)
    return command


def overrides_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that flags set, by their names in a request, as they were typed."""
    fields = {field.flag.name.removeprefix("--").replace("-", "_"): field.name for field in FIELDS}
    named = {
        fields[flag]: value for flag, value in flags.items()
    }  # KeyError for a flag of no field, given or not
    return {name: value for name, value in named.items() if value is not None and value != ()}


def read_text(
    file: str | None, stdin: TextIO, *, needed: bool, command: str = "run"
) -> tuple[str | None, str]:
    """The text of a request and its name in errors; no text where flags are enough.

    Errors show `command` as one that works with a request.
    """
    if file is None:
        if needed:
            raise UsageError(
                f"nothing to {command.split(maxsplit=1)[0]}: neither FILE nor --image was given",
                hint=f"Name a request file, - for stdin, or an image: `ips-flow {command} --image busybox:1.37`.",
            )
        return None, _NO_TEXT
    if file == "-":
        hint = f"Pipe a request into it: `ips-flow {command} - < images.yaml`."
        return decoded(stdin_bytes(stdin, _LARGEST, hint), "stdin"), "stdin"
    return decoded(file_bytes(file, _LARGEST), escape(file)), file


def stdin_bytes(stdin: TextIO, most: int, hint: str) -> bytes:
    """Read at most so many bytes from stdin. Raises UsageError if it is a terminal."""
    if is_terminal(stdin):
        raise UsageError("stdin is a terminal, so - has nothing to read", hint=hint)
    return stdin.buffer.read(most)


def file_bytes(file: str, most: int) -> bytes:
    """Read at most so many bytes of a file. Raises UsageError if that fails."""
    shown = escape(file)
    try:
        with Path(file).open("rb") as handle:
            return handle.read(most)
    except FileNotFoundError as error:
        raise UsageError(
            f"{shown}: there is no such file", hint=f"Files are looked for in {Path.cwd()}."
        ) from error
    except IsADirectoryError as error:
        raise UsageError(f"{shown}: is a directory, expected a request file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{shown}: can't be read: {reason}") from error


def decoded(data: bytes, source: str) -> str:
    """Decode UTF-8. Raises UsageError with the position of the first byte that is not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) == _LARGEST:  # cut in the middle of a character, perhaps: its size is what is wrong
            return data.decode("utf-8", "replace")
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8")) + 1
        raise UsageError(
            f"{source}:{line}:{column}: got the byte 0x{data[error.start]:02x}; allowed: text in UTF-8"
        ) from error
