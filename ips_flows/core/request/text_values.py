"""Parse fields written as plain text (flags, the Argo UI's form) into the values that YAML would have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ips_flows.core.request.fields import BY_NAME, Syntax
from ips_flows.core.request.types import FieldError, shown

_NUMBER = re.compile(r"-?[0-9]{1,18}")
# Other control characters are not separators. They stay in the text, and validation rejects them.
_BLANK = " \t\r\n"
_SEPARATOR = re.compile(r"[, \t\r\n]+")
_LINE_END = re.compile(r"\r\n|\n|\r")
_COMMENT = re.compile(r"(?:^|[ \t])#.*", re.DOTALL)


def parse_text_value(field: str, value: Any) -> Any:
    """Return the value of a field from a text, a sequence of texts (a repeated flag), or the value itself.

    Raises FieldError if a text does not have the field's syntax.
    """
    if isinstance(value, Mapping):
        return dict(value)
    syntax = BY_NAME[field].syntax if field in BY_NAME else "text"
    split = _SPLITTERS.get(syntax)
    if split is not None:
        if isinstance(value, str):
            return split([value])
        if isinstance(value, Sequence):
            return split(list(value))
        return value
    return _scalar(syntax, value.strip(_BLANK)) if isinstance(value, str) else value


def _scalar(syntax: Syntax, text: str) -> Any:
    if syntax in _NUMBERS and _NUMBER.fullmatch(text):
        return int(text)
    if syntax == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def _lines(values: list[Any]) -> list[Any]:
    """Split texts into lines, without blank lines and comments that start with #."""
    items: list[Any] = []
    for value in values:
        if not isinstance(value, str):
            items.append(value)
            continue
        lines = (_COMMENT.sub("", line).strip(_BLANK) for line in _LINE_END.split(value))
        items += [line for line in lines if line]
    return items


def _names(values: list[Any]) -> list[Any]:
    items: list[Any] = []
    for value in values:
        items += [part for part in _SEPARATOR.split(value) if part] if isinstance(value, str) else [value]
    return items


def _sizes(values: list[Any]) -> list[Any]:
    return [
        int(item) if isinstance(item, str) and _NUMBER.fullmatch(item) else item for item in _names(values)
    ]


def _pairs(values: list[Any]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in _names(values):
        key, equals, value = str(item).partition("=")
        if not equals:
            raise FieldError(
                [((), f"got {shown(str(item))}; allowed: key=value, or several separated by commas")]
            )
        if key in pairs:
            raise FieldError([((), f"duplicate key {shown(key)}")])
        pairs[key] = value
    return pairs


def _tolerations(values: list[Any]) -> list[Any]:
    """Parse tolerations in the syntax of kubectl taint: `key=value:Effect`, `key:Effect`, `key`."""
    items: list[Any] = []
    for item in _names(values):
        if not isinstance(item, str):
            items.append(item)
            continue
        head, _, effect = item.partition(":")
        key, equals, value = head.partition("=")
        toleration = {
            "key": key,
            "operator": "Equal" if equals else "Exists",
            "value": value,
            "effect": effect,
        }
        items.append({name: text for name, text in toleration.items() if text})
    return items


_NUMBERS: frozenset[Syntax] = frozenset({"number", "size"})
_SPLITTERS: dict[Syntax, Callable[[list[Any]], Any]] = {
    "lines": _lines,
    "names": _names,
    "sizes": _sizes,
    "pairs": _pairs,
    "tolerations": _tolerations,
}
