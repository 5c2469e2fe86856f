"""The request on the command line: its text, and a flag for each of its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from ips_flows.cli.output.console import is_terminal
from ips_flows.core.errors import UsageError
from ips_flows.core.escape import escape
from ips_flows.core.request.limits import MAX_BYTES

F = TypeVar("F", bound=Callable[..., Any])

_LARGEST = MAX_BYTES + 1  # one byte more than a request may have: its reader says so
_NO_TEXT = "flags"


# The flags whose fields have another name in a request; the others differ by kebab-case only.
_FIELDS = {"image": "images", "task_timeout": "timeout"}


class RequestOption(click.Option):
    """A flag that sets a field of the request."""


def _flag(*names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=RequestOption, **settings)


_OPTIONS = (
    _flag("--image", "image", multiple=True, metavar="IMAGE", help="An image; repeatable."),
    _flag("--batch-size", metavar="N|N%", help="How many nodes may pull at once."),
    _flag("--priority", metavar="1-10", help="10 goes first."),
    _flag("--node-selector", multiple=True, metavar="KEY=VALUE", help="Nodes with this label; repeatable."),
    _flag("--nodes", multiple=True, metavar="NAMES", help="Only these nodes; commas or repeatable."),
    _flag("--selector", metavar="LABELS", help="Nodes by a set-based label selector."),
    _flag("--exclude-nodes", multiple=True, metavar="NAMES", help="Not these nodes."),
    _flag("--include-cordoned/--no-include-cordoned", default=None, help="Cordoned nodes too."),
    _flag(
        "--tolerations",
        multiple=True,
        metavar="KEY[=VALUE][:EFFECT]",
        help="Instead of all taints.",
    ),
    _flag("--max-retries", metavar="0-5", help="How often failed nodes are tried again."),
    _flag(
        "--retry-strategy", metavar="NAME", help="How that wait grows: linear (not at all) or exponential."
    ),
    _flag("--retry-delay", metavar="SECONDS", help="The wait before a retry: 1 to 300."),
    _flag("--webhook-url", metavar="URL", help="Who is told of the end."),
    _flag("--webhook-secret-name", metavar="NAME", help="The Secret with the webhook's URL or key."),
    _flag("--webhook-format", metavar="NAME", help="json, cloudevents, slack or dingtalk."),
    _flag("--pull-secrets", multiple=True, metavar="NAMES", help="Image pull Secrets of the namespace."),
    _flag("--pull-policy", metavar="NAME", help="IfNotPresent or Always."),
    _flag("--waves", multiple=True, metavar="SIZES", help='Cumulative sizes, such as "1,10%,100%".'),
    _flag("--order", metavar="NAME", help="rolling, or batch: a barrier after every batchSize nodes."),
    _flag("--max-failed-nodes", metavar="N|N%", help="How many nodes may be lost."),
    _flag("--node-timeout", metavar="DURATION", help="The time a node has for an attempt."),
    _flag("--task-timeout", metavar="DURATION", help="The time the task has (field `timeout`)."),
    _flag("--name", metavar="NAME", help="The task's name, instead of a generated one."),
    _flag("--labels", multiple=True, metavar="KEY=VALUE", help="Labels of the task; repeatable."),
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
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def overrides_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that flags set, by their names in a request, as they were typed."""
    return {
        _FIELDS.get(flag) or _camel(flag): value
        for flag, value in flags.items()
        if value is not None and value != ()
    }


def read_text(
    file: str | None, stdin: TextIO, *, needed: bool, command: str = "run"
) -> tuple[str | None, str]:
    """The text of a request and what its errors call it; no text where flags are enough.

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
    """What is piped in, as far as it is wanted."""
    if is_terminal(stdin):
        raise UsageError("stdin is a terminal, so - has nothing to read", hint=hint)
    return stdin.buffer.read(most)


def file_bytes(file: str, most: int) -> bytes:
    """What is in a file, as far as it is wanted."""
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
    """Bytes as text; where they are none, an error that says which one."""
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


def _camel(flag: str) -> str:
    first, *rest = flag.split("_")
    return first + "".join(word.capitalize() for word in rest)
