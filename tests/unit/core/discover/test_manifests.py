"""Read streams of manifests as objects with their lines."""

from __future__ import annotations

import pytest

from ips_flows.core.discover.image_uses import Note
from ips_flows.core.discover.manifests import Located, line_of, read_manifests


def names(text: str) -> list[tuple[object, int]]:
    """Return `a` and the line of each object; for a note its text and line."""
    found = read_manifests(text, "f")
    return [(one.text if isinstance(one, Note) else one.content.get("a"), one.location.line) for one in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("# nothing\n---\n...\n%YAML 1.2\n---\n", []),
        ("a: 1\n", [(1, 1)]),
        ("\ufeffa: 1", [(1, 1)]),
        ("# of whom\n\na: 1\n---\n# Source: x\na: 2\n--- # third\na: 3\n", [(1, 3), (2, 6), (3, 8)]),
        ("a: 1\r\n---\r\na: 2\r\n", [(1, 1), (2, 3)]),
        ("--- {a: 1}\n---\n\n\na: 2\n", [(1, 1), (2, 5)]),
        ("a: |\n  ---\n  text\nb: ---x\n", [("---\ntext\n", 1)]),
        ("- a: 1\n- - a: 2\n", [(1, 1), (2, 2)]),
        ("kind: List\nitems:\n  - a: 1\n  - kind: PodList\n    items:\n      - a: 2\n", [(1, 3), (2, 6)]),
        ("kind: List\nitems: nothing\n", [(None, 1)]),
        ("a: 1\n...\n---\na: 2\n", [(1, 1), (2, 4)]),
        ("a: &x 1\nb: *x\n", [(1, 1)]),
        ("base: &b {a: 1}\n<<: *b\n", [(1, 1)]),
        ("a: 2026-01-01\n", [("2026-01-01", 1)]),
        ("&x [*x, {a: 1}]\n", [(1, 1)]),
        ('{"a": 1}', [(1, 0)]),
        ('{"a": 1}\n{"a": 2}\n[{"a": 3}, null]\n', [(1, 0), (2, 0), (3, 0)]),
        ('{"a": 1}\n---\n{"a": 2}\n', [(1, 1), (2, 3)]),
        ("text\n---\na: 1\n", [("not a Kubernetes object: it is not a mapping", 1), (1, 3)]),
        ("a: [\n---\na: 2\n", [("not valid YAML: did not find expected node content", 2), (2, 3)]),
        ("a: !Ref b\n", [("not valid YAML: could not determine a constructor for the tag '!Ref'", 1)]),
        ("\n\na: !!int x\n", [("not valid YAML: invalid literal for int() with base 10: 'x'", 3)]),
    ],
)
def test_a_stream(text: str, found: list[tuple[object, int]]) -> None:
    """Each document is read separately, as objects with lines, or becomes a note."""
    assert names(text) == found


def test_control_characters_are_notes() -> None:
    """A forbidden character makes only its own document invalid."""
    first, second = read_manifests("a: \x00\n---\na: 2\n", "f")
    assert isinstance(first, Note)
    assert first.missing
    assert not isinstance(second, Note)


def test_deep_nesting_is_a_note() -> None:
    """A document that is nested too deeply is a note, not a crash."""
    (only,) = read_manifests("a: " + "[" * 5000 + "]" * 5000, "f")
    assert isinstance(only, Note)
    assert (only.text, only.missing) == ("not valid YAML: exceeded maximum nesting depth", True)


def test_a_text_inside_another_one() -> None:
    """All objects of a manifest that is a value inside another text have the value's line."""
    found = list(read_manifests("\n\na: 1\n---\na: 2\n---\n{\n", "f", line=7))
    assert [one.location.line for one in found] == [7, 7, 7]
    (only,) = read_manifests('{"a": 1}', "f", line=7)
    assert only.location.line == 7


def test_lines_of_mappings() -> None:
    """Every mapping has its line; a mapping from `at_line` has the given line."""
    (one,) = read_manifests("a:\n  b:\n    c: 1\n", "f")
    assert not isinstance(one, Note)
    assert [line_of(one.content, 9), line_of(one.content["a"], 9), line_of(one.content["a"]["b"], 9)] == [
        1,
        2,
        3,
    ]
    assert [line_of(Located.at_line({}, 4), 9), line_of(Located(), 9), line_of({}, 9)] == [4, 9, 9]
