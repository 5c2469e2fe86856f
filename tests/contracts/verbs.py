"""The command line: every verb with its arguments and flags, and the exit code of each situation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ips_flows.cli.main import PROGRAM, cli
from tests.contracts.exits import exit_codes

Json = dict[str, Any]

# Limits of a parameter's type. The name of its Python class is no contract.
_LIMITS = ("choices", "case_sensitive", "min", "max", "min_open", "max_open", "clamp")


def verbs() -> Json:
    """Return the document: the tree of commands, and the exit codes."""
    return {"program": PROGRAM, **_command(cli, None), "exitCodes": exit_codes()}


def commands(command: click.Command, context: click.Context | None = None) -> dict[str, click.Command]:
    """Return all commands of a tree by their words after the program's name."""
    context = click.Context(command, context, info_name=command.name)
    found = {}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner
            found[name] = inner
            found |= {f"{name} {below}": one for below, one in commands(inner, context).items()}
    return found


def _command(command: click.Command, parent: click.Context | None) -> Json:
    context = click.Context(command, parent, info_name=command.name, **command.context_settings)
    parameters = command.get_params(context)
    document: Json = {
        "arguments": [_argument(one) for one in parameters if isinstance(one, click.Argument)],
        "flags": {_names(one): _flag(one) for one in parameters if isinstance(one, click.Option)},
    }
    if command.hidden:
        document["hidden"] = True
    if isinstance(command, click.Group):
        inner = {name: command.get_command(context, name) for name in command.list_commands(context)}
        document["verbs"] = {name: _command(one, context) for name, one in inner.items() if one}
    return document


def _names(option: click.Option) -> str:
    """Return all names of a flag, and after a slash those that turn it off."""
    names = ", ".join(sorted(option.opts))
    return f"{names} / {', '.join(sorted(option.secondary_opts))}" if option.secondary_opts else names


def _argument(argument: click.Argument) -> Json:
    return {"name": argument.human_readable_name, **_shape(argument.to_info_dict())}


def _flag(option: click.Option) -> Json:
    said = option.to_info_dict()
    document = _shape(said)
    for key in ("is_flag", "count", "hidden"):
        if said.get(key):
            document[key] = True
    if said["flag_value"] not in (None, True):
        document["flag_value"] = said["flag_value"]
    default = said.get("default")
    if default not in (None, (), []) and not (said["is_flag"] and default is False):
        document["default"] = str(default) if isinstance(default, Path) else default
    return document


def _shape(said: Mapping[str, Any]) -> Json:
    """Return the attributes that flags and arguments share, without defaults."""
    kind = said["type"]
    document: Json = {"type": kind["name"]}
    document |= {key: kind[key] for key in _LIMITS if kind.get(key) is not None and kind[key] is not False}
    for key, usual in (("required", False), ("nargs", 1), ("multiple", False), ("envvar", None)):
        if said.get(key, usual) != usual:
            document[key] = said[key]
    return document
