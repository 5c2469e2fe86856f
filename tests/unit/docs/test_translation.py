"""The Chinese front page against the English one: the same sections, commands, tables and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.markdown import links
from tests.support.paths import GITHUB, README

CHINESE = GITHUB / "README.zh.md"


def both(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code_blocks(text: str) -> list[str]:
    """Return the code blocks, without comments and without labels of diagrams, which are translated."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [
        re.sub(r'"[^"]*"', '""', body) if language == "mermaid" else re.sub(r" +# .*", "", body)
        for language, body in blocks
    ]


def code_spans(text: str) -> set[str]:
    """Return the texts in backquotes outside of code blocks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", prose))


def sections(text: str) -> list[tuple[str, int, int]]:
    """Return for each heading its level, and how many table rows and paragraphs of code follow."""
    parts = re.split(
        r"^(#+) .*$",
        re.sub(r"^```\w+\n.*?^```", "CODE", text, flags=re.MULTILINE | re.DOTALL),
        flags=re.MULTILINE,
    )
    return [
        (level, len(re.findall(r"^\|", body, re.MULTILINE)), body.count("CODE"))
        for level, body in zip(parts[1::2], parts[2::2], strict=True)
    ]


def targets(path: Path) -> list[Path | str]:
    """Return where the links lead, without the language links of the first line."""
    found = links(both(path).partition("\n")[2])
    return sorted(
        (link if "://" in link else str((path.parent / link).resolve().relative_to(README.parent)))
        for link in found
    )


@pytest.mark.parametrize("part", [sections, code_blocks, code_spans])
def test_it_has_the_same_parts(part: object) -> None:
    """Sections with their tables, commands and transcripts, and words in code are the same."""
    assert callable(part)
    assert part(both(CHINESE)) == part(both(README))


def test_it_links_to_the_same_places() -> None:
    """Each link of one page is in the other."""
    assert targets(CHINESE) == targets(README)


def test_each_links_to_the_other_in_its_first_line() -> None:
    """A reader of the wrong language finds the other page immediately."""
    assert list(links(both(README).partition("\n")[0])) == [".github/README.zh.md"]
    assert list(links(both(CHINESE).partition("\n")[0])) == ["../README.md"]
