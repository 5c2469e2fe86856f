from __future__ import annotations

from pathlib import Path

import pytest

from ips_flows.core.request.model import parse_request
from tests.request_fields import generated_files
from tests.support.paths import EXAMPLES, ROOT

FILES = generated_files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_generated_from_the_fields_is_up_to_date(path: Path) -> None:
    """The page's list of fields, the example and the README agree with the table (`python -m tests.docs`)."""
    assert path.read_text(encoding="utf-8") == FILES[path]


def test_the_example_with_all_its_fields_is_a_request() -> None:
    """The example is a valid request, also with every commented-out field."""
    text = (EXAMPLES / "images.yaml").read_text(encoding="utf-8")
    assert parse_request(text).images
    lines = (line.removeprefix("# ") if _is_field(line) else line for line in text.splitlines())
    assert parse_request("\n".join(lines)).tolerations


def _is_field(line: str) -> bool:
    first = line.removeprefix("# ").split(" ", maxsplit=1)[0]
    return line.startswith("#   ") or (first[:1].islower() and first.endswith(":"))
