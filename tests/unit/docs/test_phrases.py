from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.phrases import PHRASES, phrases, report, sources

PYTHON = '''\
"""What the module is for."""

import os  # asked once


# Nobody reads this
# anew: the block is one text, and one phrase may be broken: by and
# by.
def ready() -> bool:
    """Whether the lock is let
    go.
    """
    return os.getpid() > 0


class Lock:
    """One that waits."""

    def plain(self) -> str:
        """Return the name of the one lock, for the callers that need it."""
        return f"{os.getpid()} stands here"


def order() -> str:
    """Whether it is so."""
    return f"whether: it is not an opening {PARTS['told']}" + "nobody"
'''
SCRIPT = """\
/** Where a task stands. */
export function place(told) {
  // it looks at the list,
  // and anew
  return told ? "nobody's turn" : 'https://example.com/ anew' + "nobody";
}

/* What a comment says is no docstring. */
/**
 * How often.
 */
const text = `by
hand`;
"""
OBJECTS = """\
# The keeper mends a task.
metadata:
  annotations:
    description: Whoever asks gets 429.
    expression: variables.asked < 1
"""


def found(source: str, suffix: str) -> list[tuple[int, str]]:
    """Line and phrase of each hit."""
    return [(line, phrase) for line, phrase, _ in phrases(source, suffix)]


def test_python_is_read_in_strings_and_comments() -> None:
    """A hit has the line of its first word; names and keys are no hits; `Whether` may document a boolean."""
    assert found(PYTHON, ".py") == [
        (1, "What …"),
        (3, "asked"),
        (6, "nobody"),
        (7, "anew"),
        (7, "by and by"),
        (10, "let go"),
        (17, "One …"),
        (21, "stands"),
        (25, "Whether …"),
    ]


def test_scripts_are_read_in_comments_and_quotes() -> None:
    """Names and single words in JavaScript are no hits; only `/**` begins a docstring."""
    assert found(SCRIPT, ".js") == [
        (1, "Where …"),
        (1, "stands"),
        (3, "looks at"),
        (4, "anew"),
        (5, "anew"),
        (5, "nobody's"),
        (8, "says"),
        (10, "How …"),
        (12, "by hand"),
    ]


def test_yaml_and_markdown_are_read_as_a_whole() -> None:
    """Comments and values are read; a clause at the start of a text is a hit only in a docstring."""
    expected = [(1, "mends"), (4, "asks"), (4, "whoever")]
    assert found(OBJECTS, ".yaml") == expected
    assert found(OBJECTS, ".md") == expected
    assert found("What is where\n", ".md") == []


@pytest.mark.parametrize(
    "text",
    [
        "One node of two fails.",
        "Return whether the lock is free.",
        "The bearer token of the command, which is understandable.",
        "A notice in the log.",
        "Recommended; configure it once, sayings aside.",
        "Generated; do not edit by hand.",
    ],
)
def test_plain_text_has_no_hit(text: str) -> None:
    """A number, a field's term and a longer word are not phrases of the table."""
    assert found(f'"""{text}"""', ".py") == []


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("the pod is to go", "is to go"),
        ("it lets it go", "lets it go"),
        ("of a node of which finish has no say", "has no say"),
        ("by containerd's own word", "by containerd's own word"),
        ("an object born with a label", "born"),
        ("in one go", "in one go"),
        ("keep nobody waiting", "keep nobody waiting"),
        ("'b' where '(' must stand", "must stand"),
        ("for the page to lead there", "lead there"),
        ("what stands against a task", "against a task"),
        ("allowed: each one once", "each one once"),
        ("the registry answers 404", "answers 404"),
        ("leave others alone", "leave others alone"),
    ],
)
def test_the_phrases_of_the_table_are_found(text: str, phrase: str) -> None:
    """Each private word of the vocabulary has a pattern that matches it in a sentence."""
    assert phrase in [hit for _, hit in found(text, ".md")]


def test_overlapping_phrases_are_one_hit() -> None:
    """Of overlapping phrases the longest one is reported."""
    assert found("expected '(' where it must stand", ".md") == [(1, "must stand")]
    assert found("keep nobody waiting, nobody", ".md") == [(1, "keep nobody waiting"), (1, "nobody")]


def test_each_phrase_has_a_plain_form() -> None:
    """Every pattern compiles and names what to write instead."""
    for pattern, plain in PHRASES.items():
        assert re.compile(pattern)
        assert plain


def test_the_report_reads_every_kind_of_file() -> None:
    """READMEs, Python, the page's scripts, manifests and templates are read, the table itself is not."""
    names = {str(path.relative_to(ROOT)) for path in sources()}
    assert {
        "README.md",
        "ips_flows/cli/main.py",
        "ips_flows/server/web/app.js",
        "deploy/base/configmap-ips-config.yaml",
        "deploy/components/monitoring/dashboard.json",
        "templates/ips-prewarm.yaml",
    } <= names
    assert "tests/support/phrases.py" not in names


def test_the_report_ends_with_the_number_of_hits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each hit has a line with file, line, phrase and plain form; the last line counts hits and files."""
    monkeypatch.setattr("tests.support.phrases.ROOT", tmp_path)
    monkeypatch.setattr("tests.support.phrases.readmes", lambda: [tmp_path / "README.md"])
    monkeypatch.setattr("tests.support.phrases._SCRIPTS", tmp_path)
    (tmp_path / "README.md").write_text("Write it anew.\n\nNobody reads it.\n", encoding="utf-8")
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "plain.py").write_text('"""A step."""\n', encoding="utf-8")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "one.yaml").write_text("# It was told.\n", encoding="utf-8")
    assert list(report()) == [
        "README.md:1: anew (again)",
        "README.md:3: nobody (no client, no process, no user)",
        "templates/one.yaml:1: told (report, send, print, show, state or record)",
        "3 hits in 2 files",
    ]
