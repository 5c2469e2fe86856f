"""Text of others, made safe to print: what can't be seen, or would move a terminal, is written out.

Registries, nodes, labels and the API server send texts that end in logs and terminals. There an escape sequence
could clear a screen, a newline forge a line, and a bidirectional mark turn a name around.
"""

from __future__ import annotations

import re

_UNUSUAL = re.compile(r"[^\x20-\x7e]")  # all that is not seen at once to be harmless


def legible(text: str, *, keep: str = "") -> str:
    r"""A text in which each character without a picture of its own stands as its escape: `\x1b`, `\n`, `\u202e`.

    `keep` are such characters that stay as they are, for texts whose lines are ours.
    """

    def shown(match: re.Match[str]) -> str:
        one = match[0]
        return one if one.isprintable() or one in keep else _escaped(one)

    return _UNUSUAL.sub(shown, text)


def legible_json(document: str) -> str:
    r"""A JSON document, as it is but for such characters inside its texts: there they are `\u001b` and the like."""

    def shown(match: re.Match[str]) -> str:
        one = match[0]
        return one if one.isprintable() or one == "\n" else _json_escape(one)

    return _UNUSUAL.sub(shown, document)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
