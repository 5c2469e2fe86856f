"""Files generated from the table of request fields: the page's list of fields, the example, the README.

`python -m tests.docs` writes these files; a unit test compares them.
"""

from __future__ import annotations

import json
from pathlib import Path

from ips_flows.core.request.fields import FIELDS, SECTIONS, RequestField, Section
from ips_flows.core.request.model import choices, default_text, json_schema
from tests.docs import default_cell, table
from tests.support.paths import EXAMPLES, ROOT

_REQUEST = ROOT / "ips_flows" / "core" / "request"
_SOURCE = "ips_flows/core/request/fields.py"
_GENERATED = f"Generated from {_SOURCE} by `python -m tests.docs`; do not edit."
_PAGE_KINDS = {
    "duration": "text",
    "url": "text",
    "names": "lines",
    "boolean": "flag",
}  # the other kinds have the same name as the syntax in the table
_PLACEHOLDERS = ("size", "number", "text")  # kinds of controls that show the default while they are empty


def generated_files() -> dict[Path, str]:
    """Return path → text of each file that is generated as a whole."""
    return {
        ROOT / "ips_flows" / "server" / "web" / "request_fields.js": _page(),
        EXAMPLES / "images.yaml": _example(),
        _REQUEST / "README.md": _readme(),
    }


def write() -> None:
    """Write the generated files."""
    for path, text in generated_files().items():
        path.write_text(text, encoding="utf-8")


def _of(section: Section) -> list[RequestField]:
    return [field for field in FIELDS if field.section == section.name]


def _page() -> str:
    sections = "".join(_page_section(section) for section in SECTIONS)
    return f"""\
// {_GENERATED}

/**
 * The sections of the form with their fields. A field is its name, its kind or choices, and, where it can be shown, the
 * default that applies while it is empty. The first choice is the default.
 */
export const SECTIONS = [
{sections}];
"""


def _page_section(section: Section) -> str:
    fields = "".join(f"      {_page_field(field)},\n" for field in _of(section) if field.on_page)
    opened = "    open: true,\n" if section.open else ""
    return f"  {{\n    name: {json.dumps(section.name)},\n{opened}    fields: [\n{fields}    ],\n  }},\n"


def _page_field(field: RequestField) -> str:
    kind = choices(field.name) or _PAGE_KINDS.get(field.syntax, field.syntax)
    shown = default_text(field.name) if kind in _PLACEHOLDERS else ""
    return json.dumps([field.name, kind, *([shown] if shown else [])])


def _example() -> str:
    head = (
        f"# {_GENERATED}\n"
        "# A request: images to pull, and the nodes to pull them to. Run it with `ips-flow run images.yaml`.\n"
        "# Only `images` is required. Commented-out fields show their default or an example.\n"
    )
    return "\n".join([head, *(_example_section(section) for section in SECTIONS)])


def _example_section(section: Section) -> str:
    comment = f"{section.example}\n" if section.example else ""
    return comment + "".join(field.example for field in _of(section))


def _readme() -> str:
    head = f"""\
<!-- {_GENERATED} -->

# The request

A request lists the images to pull, selects the nodes, and sets options. The same fields are used in a YAML or JSON
document, the flags of `ips-flow run`, the body of `POST /api/v1/tasks`, the form of the page and the form of the
Argo UI. Only `images` is required. [images.yaml](../../../deploy/examples/images.yaml) is an example with comments.

| module | content |
|---|---|
| `fields` | the table of fields: flag, form parameter, syntax as text, place on the page |
| `model` | types and defaults; parses a document, flags or a form into a request |
| `types` | the types of fields, with their error messages |
| `limits` | all limits |
| `text_values` | parsing of values written as text, in flags and in the Argo UI's form |
| `document` | parsing of YAML and JSON into values with line and column |
| `validation` | all problems of a request, each with its position in the document |

A new field needs a type and a default in `model`, a record in `fields`, and texts in the page's dictionaries.
`python -m tests.docs` writes the files derived from them.
"""
    return "\n".join([head, *(_readme_section(section) for section in SECTIONS)])


def _readme_section(section: Section) -> str:
    rows = [_row(field) for field in _of(section)]
    columns = ("field", "flag", "form parameter", "default", "allowed", "meaning")
    return f"## {section.title}\n\n{table(columns, rows)}\n"


def _row(field: RequestField) -> tuple[str, ...]:
    schema = json_schema()["properties"][field.name]
    return (
        f"`{field.name}`",
        f"`{field.flag.name}`",
        f"`{field.form.name}`" if field.form else "–",
        default_cell(field.name, schema),
        schema["description"],
        field.meaning,
    )
