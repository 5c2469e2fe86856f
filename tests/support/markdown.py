"""Parts of a README: its text without code, the anchors of its headings, its links."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FENCE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)


def outside_code(text: str) -> str:
    """Return the text with the lines of code blocks emptied, so that line numbers stay."""
    return _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings as GitHub makes them: a repeated heading gets `-1`."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.*)$", outside_code(text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        same = sum(one == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", one) is not None for one in found)
        found.add(f"{slug}-{same}" if same else slug)
    return found


def links(text: str) -> Iterator[str]:
    """Yield the targets of links and pictures outside code."""
    prose = re.sub(r"`[^`\n]*`", "``", outside_code(text))
    yield from re.findall(r"\]\(\s*<?([^)\s>]+)", prose)
    yield from re.findall(r"^\[[^]]+\]: +(\S+)", prose, re.MULTILINE)
