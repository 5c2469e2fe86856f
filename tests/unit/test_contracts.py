from __future__ import annotations

import base64
import difflib
import gzip
import json

import pytest

from ips_flows.core.constants import ANNOTATION_ERROR
from ips_flows.core.request.fields import BY_NAME
from ips_flows.core.request.model import parse_json
from tests.contracts.examples import FULL_REQUEST
from tests.contracts.record import FILES, FOLDER, generated, rendered
from tests.contracts.wording import unfolded, without_text


@pytest.mark.parametrize("name", FILES)
def test_the_record_matches_the_code(name: str) -> None:
    """A file of the record contains the names and formats that the code has now."""
    path = FOLDER / name
    recorded = path.read_text(encoding="utf-8") if path.is_file() else ""
    difference = difflib.unified_diff(
        recorded.splitlines(), rendered(name).splitlines(), f"{name} (recorded)", f"{name} (now)", lineterm=""
    )
    lines = list(difference)
    if lines:
        pytest.fail(
            "\n".join([*lines, "", "If you intend to change this contract, run: python -m tests.contracts"]),
            pytrace=False,
        )


def test_every_generated_file_is_of_the_record() -> None:
    """The folder contains no generated file that is no longer generated."""
    assert generated() == set(FILES)


def test_sentences_are_left_out() -> None:
    """Human-readable text is replaced by `<text>`; enum values, empty texts and properties of that name stay."""
    assert without_text(
        {
            "message": "no such tag",
            "hint": "",
            ANNOTATION_ERROR: "no node",
            "items": [{"reason": "NotFound", "title": "a"}],
            "properties": {
                "message": {"type": "string", "description": "why"},
                "examples": {"type": "array"},
            },
            "examples": ["a"],
        }
    ) == {
        "message": "<text>",
        "hint": "",
        ANNOTATION_ERROR: "<text>",
        "items": [{"reason": "NotFound", "title": "<text>"}],
        "properties": {"message": {"type": "string", "description": "<text>"}, "examples": {"type": "array"}},
        "examples": "<text>",
    }


def test_a_reason_that_is_a_sentence_is_left_out() -> None:
    """The reason of a failed delivery or of a server that is not ready is human-readable; other reasons are enums."""
    assert without_text(
        [
            {"outcome": "undelivered", "reason": "HTTP 503"},
            {"status": "not ready", "reason": "not listed yet"},
            {"phase": "Failed", "reason": "Unschedulable"},
        ]
    ) == [
        {"outcome": "undelivered", "reason": "<text>"},
        {"status": "not ready", "reason": "<text>"},
        {"phase": "Failed", "reason": "Unschedulable"},
    ]


def test_json_in_strings_is_unfolded() -> None:
    """JSON in annotations and compressed JSON in ConfigMaps is unfolded; other strings stay."""
    packed = base64.b64encode(gzip.compress(b'{"a":[1]}')).decode()
    assert unfolded({"x": '{"v":1}', "y": "[no JSON", "p.json.gz": packed}) == {
        "x": {"json": {"v": 1}},
        "y": "[no JSON",
        "p.json.gz": {"gzipped json": {"a": [1]}},
    }


def test_the_example_of_a_request_has_every_field() -> None:
    """The example sets every field to a value other than its default, so that the record contains each of them."""
    assert set(FULL_REQUEST) == set(BY_NAME)
    bare = json.loads(parse_json('{"images": ["a"]}', "bare").model_dump_json(by_alias=True))
    assert [name for name, value in FULL_REQUEST.items() if value == bare[name]] == []
