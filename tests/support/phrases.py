"""Where docstrings, help texts, messages and READMEs hold a phrase that there is a plainer one for: a report, no gate."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT, readmes

PHRASES = ("let go", "by and by", "anew", "someone else's hand", "nobody", "tells of", "a word")

_FOUND = re.compile(rf"\b(?:{'|'.join(PHRASES)})\b".replace(" ", r"\s+"), re.IGNORECASE)
_FOLDERS = ("ips_flows", "steps", "tests", "deploy/local")


def report() -> Iterator[str]:
    """A line for each place: file, line and phrase."""
    for path in readmes():
        yield from _places(path, path.read_text(encoding="utf-8"), 1)
    for path in sorted(path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.py")):
        if path != Path(__file__).resolve():
            for text, line in texts(path.read_text(encoding="utf-8")):
                yield from _places(path, text, line)


def texts(source: str) -> Iterator[tuple[str, int]]:
    """The texts of a module, docstrings among them, each with the line where it begins."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def _places(path: Path, text: str, first: int) -> Iterator[str]:
    for match in _FOUND.finditer(text):
        line = first + text.count("\n", 0, match.start())
        yield f"{path.relative_to(ROOT)}:{line}: {' '.join(match[0].split()).lower()}"
