"""Escape text from other systems for logs and terminals.

Registries, nodes, labels and the API server send texts that are printed. An escape sequence could clear the screen,
a newline could forge a log line, and a bidirectional mark could reverse a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_UNUSUAL = re.compile(r"[^\x20-\x7e]")  # characters that may need an escape


def escape(text: str, *, keep: str = "") -> str:
    r"""Replace each non-printable character by its escape: `\x1b`, `\n`, `\u202e`.

    `keep` lists non-printable characters that are not replaced, such as the line ends that IPS Flow adds.
    """
    return _written(text, keep, _escaped)


def escape_json(document: str) -> str:
    r"""Replace the non-printable characters in the strings of a JSON document by JSON escapes such as `\u001b`."""
    return _written(document, "\n", _json_escape)


def _written(text: str, keep: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():  # fast path: almost every text is printable
        return text
    return _UNUSUAL.sub(
        lambda one: one[0] if one[0].isprintable() or one[0] in keep else escape(one[0]), text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
