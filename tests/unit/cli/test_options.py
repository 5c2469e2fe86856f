"""The help of all options of all verbs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest

from ips_flows.cli.main import cli
from ips_flows.cli.options.option import Option
from ips_flows.core.request.fields import FIELDS
from ips_flows.core.request.model import PrewarmRequest, default_text
from tests.contracts.verbs import commands

# The help texts of fields without a default in the model: what applies without them.
_WITHOUT_DEFAULT = {
    "images": "images of FILE",
    "name": "generated",
    "pullSecrets": "none",
    "waves": "one wave",
    "nodeSelector": "all nodes",
    "selector": "all nodes",
    "nodes": "all nodes",
    "excludeNodes": "none",
    "tolerations": "tolerate all taints",
    "webhookUrl": "none",
    "webhookSecretName": "none",
    "labels": "none",
}
_SHOWN = {"true": "on", "false": "off"}


def options() -> Iterator[tuple[str, click.Option]]:
    """Yield each option of each verb with its verb and name. `--help` and `--version` are click's own."""
    for verb, command in commands(cli).items():
        for one in command.params:
            if isinstance(one, click.Option):
                yield f"{verb} {one.opts[-1]}", one


OPTIONS = dict(options())


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_shows_its_default(name: str) -> None:
    """The help of an option ends with one pair of brackets, with `default: …` or `required` in it."""
    record = OPTIONS[name].get_help_record(click.Context(cli))
    assert record, "a hidden option"
    text, _, bracket = record[1].rpartition("  [")
    assert text.endswith("."), "a help text is a sentence"
    assert bracket.startswith("default: ") != (bracket == "required]")
    assert bracket.endswith("]")
    assert "[" not in text, "the default is shown by the option, not by its help text"


def test_an_option_shows_its_real_default() -> None:
    """A value as it is, a flag as on or off, and a text in its place if there is one."""

    def shown(**attributes: Any) -> object:
        return Option(["--one"], **attributes).get_help_extra(click.Context(cli)).get("default")

    assert shown() == "none"
    assert shown(default="") == "none"
    assert shown(multiple=True) == "none"
    assert shown(default=0, type=int) == "0"
    assert shown(default="10m") == "10m"
    assert shown(is_flag=True) == "off"
    assert shown(is_flag=True, default=True) == "on"
    assert shown(default="", default_text="all tasks") == "all tasks"
    assert shown(required=True) is None


def test_request_fields_show_the_defaults_of_the_model() -> None:
    """A field's `default_text` is the model's default, or states what applies without the field."""
    model = {field.name: default_text(field.name) for field in FIELDS}
    assert {field.name: field.default_text for field in FIELDS} == {
        name: _SHOWN.get(text, text) or _WITHOUT_DEFAULT[name] for name, text in model.items()
    }
    assert {name for name, text in model.items() if not text} == set(_WITHOUT_DEFAULT)
    assert len(model) == len(PrewarmRequest.model_fields)
