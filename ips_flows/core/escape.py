"""Text of others, made safe to print: what can't be seen, or would move a terminal, is written out.

Registries, nodes, labels and the API server send texts that end in logs and terminals. There an escape sequence
could clear a screen, a newline forge a line, and a bidirectional mark turn a name around.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_UNUSUAL = re.compile(r"[^\x20-\x7e]")  # all that is not seen at once to be harmless


def escape(text: str, *, keep: str = "") -> str:
    r"""A text in which each character without a picture of its own stands as its escape: `\x1b`, `\n`, `\u202e`.

    `keep` are such characters that stay as they are, for texts whose lines are ours.
    """
    return _written(text, keep, _escaped)


def escape_json(document: str) -> str:
    r"""A JSON document, as it is but for such characters inside its texts: there they are `\u001b` and the like."""
    return _written(document, "\n", _json_escape)


def _written(text: str, keep: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():  # almost every text; a table has a million
        return text
    return _UNUSUAL.sub(
        lambda one: one[0] if one[0].isprintable() or one[0] in keep else escape(one[0]), text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
