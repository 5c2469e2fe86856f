"""What is generated from the table of request fields: the page's list of fields, the example, the README's table.

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
}  # the others are called as in the table
_PLACEHOLDERS = ("size", "number", "text")  # kinds of controls that show the default while they are empty


def generated_files() -> dict[Path, str]:
    """Path → text of each file that is generated as a whole."""
    return {
        ROOT / "ips_flows" / "server" / "web" / "request_fields.js": _page(),
        EXAMPLES / "images.yaml": _example(),
        _REQUEST / "README.md": _readme(),
    }


def write() -> None:
    """Write them."""
    for path, text in generated_files().items():
        path.write_text(text, encoding="utf-8")


def _of(section: Section) -> list[RequestField]:
    return [field for field in FIELDS if field.section == section.name]


def _page() -> str:
    sections = "".join(_page_section(section) for section in SECTIONS)
    return f"""\
// {_GENERATED}

/**
 * The sections of the form, and each field of them: its name, its kind or its choices, and what counts while it is
 * empty, where that can be shown. The first choice is the default.
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
        "# A request: these images on those nodes. Run it with `ips-flow run images.yaml`.\n"
        "# Only `images` is required. A field in a comment has its default or an example.\n"
    )
    return "\n".join([head, *(_example_section(section) for section in SECTIONS)])


def _example_section(section: Section) -> str:
    comment = f"{section.example}\n" if section.example else ""
    return comment + "".join(field.example for field in _of(section))


def _readme() -> str:
    head = f"""\
<!-- {_GENERATED} -->

# The request

A request defines which images to warm on which nodes, and how. A YAML or JSON file, the flags of `ips-flow run`, the
body of `POST /api/v1/tasks`, the form of the page and the form of the Argo UI have the same fields. Only `images` is
required. [images.yaml](../../../deploy/examples/images.yaml) is an example with comments.

| module | content |
|---|---|
| `fields` | the table of fields: flag, form parameter, syntax as text, section on the page |
| `model` | types and defaults; reads a request from a text, flags or a form |
| `types` | the types of fields, with their error messages |
| `limits` | the limits of all fields |
| `text_values` | field values as text, in flags and in the Argo UI's form |
| `document` | reads a YAML or JSON text into values, each with line and column |
| `validation` | finds all problems of a request, each with its position in the text |

A new field needs a type and a default in `model`, a record in `fields`, and its texts in the page's dictionaries.
`python -m tests.docs` writes the derived files.
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
