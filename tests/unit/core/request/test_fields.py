"""The table of request fields is complete and agrees with the model."""

from __future__ import annotations

import re

import pytest

from ips_flows.core.request.fields import (
    FIELDS,
    SECTIONS,
    RequestField,
    flag_of,
    form_parameters,
    in_order_of_flags,
)
from ips_flows.core.request.model import PrewarmRequest, choices, default_text
from ips_flows.core.request.text_values import parse_text_value
from ips_flows.core.request.validation import wire_names
from tests.support.paths import ROOT

NAMES = [field.name for field in FIELDS]


def test_every_field_has_one_record() -> None:
    """The model and the table have the same fields, each once."""
    model = wire_names(PrewarmRequest)
    without = sorted(set(model) - set(NAMES))
    assert not without, f"fields of PrewarmRequest without a record in core/request/fields.py: {without}"
    unknown = sorted(set(NAMES) - set(model))
    assert not unknown, f"records in core/request/fields.py without a field of PrewarmRequest: {unknown}"
    assert len(NAMES) == len(set(NAMES)), "two records of one field"


def test_positions_are_counted_from_one() -> None:
    """Positions of flags and form parameters have no gaps, and names are unique."""
    flags = [field.flag for field in in_order_of_flags()]
    assert [flag.position for flag in flags] == list(range(1, len(FIELDS) + 1))
    assert len({flag.name for flag in flags}) == len(flags)
    form = [parameter for _, parameter in form_parameters()]
    assert [parameter.position for parameter in form] == list(range(1, len(form) + 1))
    assert len({parameter.name for parameter in form}) == len(form)


def test_sections_hold_their_fields_together() -> None:
    """Every section has fields, every field has a section, and the table has the order of the sections."""
    assert list(dict.fromkeys(field.section for field in FIELDS)) == [section.name for section in SECTIONS]
    order = [section.name for section in SECTIONS]
    positions = [order.index(field.section) for field in FIELDS]
    assert positions == sorted(positions)


@pytest.mark.parametrize("field", FIELDS, ids=NAMES)
def test_the_example_has_the_field(field: RequestField) -> None:
    """The example of a field has the field, possibly as a comment, and ends with a line end."""
    assert re.search(rf"^(# )?{field.name}:", field.example, re.MULTILINE)
    assert field.example.endswith("\n")


@pytest.mark.parametrize("name", [name for name in NAMES if default_text(name)])
def test_a_default_as_text_is_the_default(name: str) -> None:
    """The default in a form is parsed as the model's default. The default of a choice is its first value."""
    info = next(info for key, info in PrewarmRequest.model_fields.items() if (info.alias or key) == name)
    assert parse_text_value(name, default_text(name)) == info.default
    if choices(name):
        assert choices(name)[0] == default_text(name)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_names_every_field(language: str) -> None:
    """The page's dictionaries have a label for each field of the page, and for no other."""
    (path,) = (ROOT / "ips_flows" / "server" / "web").rglob(f"{language}.js")
    labels = re.findall(r'^ *"field\.(\w+)":', path.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(labels) == sorted(field.name for field in FIELDS if field.on_page)


def test_an_unknown_name_has_a_flag_too() -> None:
    """An unknown name gives the flag that it would have."""
    assert flag_of("notAField") == "--not-a-field"
