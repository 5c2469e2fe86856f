from __future__ import annotations

import pytest

from ips_flows.core.errors import BadRequestError
from ips_flows.core.request.document import field_path, read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("'true'", "true"),
        ("~", None),
        ("null", None),
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2001-01-01", "2001-01-01"),
        ("1.0", 1.0),
        ("'1.0'", "1.0"),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("=", "="),
        ("9" * 30, float("9" * 30)),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    """Plain scalars are parsed by the core schema of YAML 1.2, and their text is kept."""
    document = read_document(f"a: {text}", "f")
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)
    assert document.values[("a",)].text == ("" if "'" in text else text)


def test_positions() -> None:
    """Every key and value has its line and column, both counted from 1."""
    document = read_document("a: 1\nb:\n  - x\n  - {c: 'd'}\n", "f")
    values = {
        field_path(path): (position.line, position.column) for path, position in document.values.items()
    }
    keys = {field_path(path): (position.line, position.column) for path, position in document.keys.items()}
    assert values == {"": (1, 1), "a": (1, 4), "b": (3, 3), "b[0]": (3, 5), "b[1]": (4, 5), "b[1].c": (4, 9)}
    assert keys == {"a": (1, 1), "b": (2, 1), "b[1].c": (4, 6)}


def test_json_is_read_as_json() -> None:
    """JSON that PyYAML can't parse (tabs, surrogate pairs, long keys) is read with positions."""
    document = read_document('{\n\t"a" : "\\ud83d\\ude00",\n\t"' + "k" * 2000 + '": [true, null, -1.5]}', "f")
    assert document.data == {"a": "\U0001f600", "k" * 2000: [True, None, -1.5]}
    assert (document.values[("a",)].line, document.values[("a",)].column) == (2, 8)


@pytest.mark.parametrize(
    "text", ["\ufeffa: b", "---\na: b\n", "---\na: b\n...\n", "a: b\r\n", "%YAML 1.2\n---\na: b"]
)
def test_harmless_wrapping(text: str) -> None:
    """A byte order mark, document markers and Windows line ends are ignored."""
    assert read_document(text, "f").data == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n\t- b", "f:2:1: not valid YAML: got a tab; allowed: spaces"),
        (
            "a: b: c",
            "f:1:5: not valid YAML: a second ': ' in one line; put a text that contains ': ' in quotes",
        ),
        (
            "a:\n - b\n- c",
            "f:3:1: not valid YAML: this line doesn't fit the lines above; check its indentation",
        ),
        ("a: [b", "f:1:6: not valid YAML: the text ends in the middle of a list, mapping or quoted text"),
        ("a: 'b", "f:1:6: not valid YAML: the text ends in the middle of a list, mapping or quoted text"),
        ("a: 1\nfoo\nb: 2", "f:2:1: not valid YAML: a key without ':'"),
        (
            "a: %x",
            "f:1:4: not valid YAML: found character '%' that cannot start any token; put a text with such characters in quotes",
        ),
        ('{"a": 1 "b": 2}', "f:1:9: not valid JSON: expecting ',' delimiter"),
        ('{"a":\n', "f:2:1: not valid JSON: expecting value"),
        ("a: b\n---\nc: d", "f:2:1: a second document starts here; allowed: one document"),
        ("a: {{b}}", 'f:1:5: got a mapping as a key; allowed: text, without "{{" and "}}"'),
        ("? [a]\n: b", 'f:1:3: got a list as a key; allowed: text, without "{{" and "}}"'),
        ("a: b\0", "f:1:5: got the control character U+0000; allowed: printable text"),
        ("a\nb: \ud800", "f:2:4: got the control character U+D800; allowed: printable text"),
        ("x" * (1024 * 1024 + 1), "f: got more than 1 MiB of text; allowed: at most 1 MiB"),
        ("é" * (512 * 1024 + 1), "f: got more than 1 MiB of text; allowed: at most 1 MiB"),
        ("[" * 100_000, "f:1:21: got more than 20 levels of nesting; allowed: at most 20"),
        ("[" * 5000 + "]" * 5000, "f:1:21: got more than 20 levels of nesting; allowed: at most 20"),
        ("- " * 100_000, "f:1:41: got more than 20 levels of nesting; allowed: at most 20"),
        ("-\n" * 60_000, "f:50000:2: got more than 50000 values; allowed: at most 50000"),
        ('a: "\\UFFFFFFFF"', "f:1:7: not valid YAML: a number is out of range"),
    ],
)
def test_invalid_documents(text: str, message: str) -> None:
    """A text that can't be parsed is rejected with one short message with line and column."""
    with pytest.raises(BadRequestError) as caught:
        read_document(text, "f")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1: a: duplicate key, first used in line 1"),
        (
            '{"a": {"b/c": 1,\n"b/c": 2}}',
            'f:2:1: a["b/c"]: duplicate key, first used in line 1',
        ),
        ("a: &x 1", "f:1:4: a: got the anchor &x; allowed: a value without anchor"),
        ("a: *x", "f:1:4: a: got the alias *x; allowed: the value itself"),
        ("a: !!int 1", "f:1:4: a: got the tag !!int; allowed: a value without tag, in quotes if it is text"),
        ("a: !p [1]", "f:1:4: a: got the tag !p; allowed: a value without tag, in quotes if it is text"),
    ],
)
def test_problems_of_a_document(text: str, message: str) -> None:
    """Duplicate keys, anchors, aliases and tags are problems of the document."""
    assert [str(problem) for problem in read_document(text, "f").problems] == [message]


def test_field_path() -> None:
    """A simple key follows a dot; another key is in brackets and quotes."""
    assert field_path(("images", 2, "pullPolicy")) == "images[2].pullPolicy"
    assert field_path(("nodeSelector", "kubernetes.io/os")) == 'nodeSelector["kubernetes.io/os"]'
    assert field_path(("a\nb",)) == '["a\\nb"]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: [a]", "f:1:1: not valid JSON: expecting value"),
        ('{"a": 1,\n "b": 2,}', "f:2:9: not valid JSON: expecting property name enclosed in double quotes"),
        ('{"a": ["NaN",\n NaN]}', "f:2:2: not valid JSON: got NaN; allowed: a number, or null"),
        ("[" * 100_000, "f: got more than 20 levels of nesting; allowed: at most 20"),
        ("[" * 30 + "]" * 30, "f:1:21: got more than 20 levels of nesting; allowed: at most 20"),
    ],
)
def test_invalid_json(text: str, message: str) -> None:
    """If only JSON is allowed, YAML is rejected with its position."""
    with pytest.raises(BadRequestError) as caught:
        read_document(text, "f", only_json=True)
    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "data"), [("", None), (" \n", None), ("5", 5), ('{"a": "é"}', {"a": "é"})])
def test_only_json(text: str, data: object) -> None:
    """If only JSON is allowed, JSON and an empty text are read as usual."""
    assert read_document(text, "f", only_json=True).data == data
