"""Label selectors: parse the set-based syntax of kubectl, and match labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ips_flows.core.k8s.names import is_label_key, is_label_value

Operator = Literal["in", "notin", "exists", "!"]

_LONGEST_NAMED = 70
_TOKEN = re.compile(r"\s*(?:(==|!=|[=!(),<>])|([^\s=!(),<>]+))")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement of a selector. Only `in` and `notin` have `values`; `=` is `in` with one value."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet the requirement. `notin` is also met if the key is missing."""
        match self.operator:
            case "exists":
                return self.key in labels
            case "!":
                return self.key not in labels
            case "in":
                return labels.get(self.key) in self.values
            case "notin":
                return labels.get(self.key) not in self.values


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector. All requirements must be met. A selector without requirements matches every object."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet all requirements."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def parse_selector(text: str) -> Selector:
    """Parse a set-based label selector as kubectl does. Raises ValueError (what was expected, what was got)."""
    if not text.strip():
        return Selector(())
    tokens = _Tokens(text)
    requirements = [_requirement(tokens)]
    while tokens.peek():
        tokens.expect(",", "',' or the end")
        requirements.append(_requirement(tokens))
    return Selector(tuple(requirements))


class _Tokens:
    """The tokens of a selector, with one token of look-ahead. "" is the end."""

    def __init__(self, text: str) -> None:
        self._stream = self._scan(text.rstrip())
        self._next = next(self._stream, "")

    @staticmethod
    def _scan(text: str) -> Iterator[str]:
        for match in _TOKEN.finditer(text):
            yield match[1] or match[2]

    def peek(self) -> str:
        return self._next

    def take(self) -> str:
        token, self._next = self._next, next(self._stream, "")
        return token

    def expect(self, token: str, meant: str) -> None:
        if self._next != token:
            raise self.unexpected(meant)
        self.take()

    def unexpected(self, meant: str) -> ValueError:
        found = _named(self._next) if self._next else "the end"
        return ValueError(f"expected {meant}, got {found}")

    def word(self) -> bool:
        return self._next != "" and self._next[0] not in "=!(),<>"


def _named(token: str) -> str:
    """Quote a token for a message, and cut a long one."""
    return f"'{token}'" if len(token) <= _LONGEST_NAMED else f"'{token[: _LONGEST_NAMED - 1]}…'"


def _requirement(tokens: _Tokens) -> Requirement:
    absent = tokens.peek() == "!"
    if absent:
        tokens.take()
    if not tokens.word():
        raise tokens.unexpected("a label key")
    key = tokens.take()
    if not is_label_key(key):
        raise ValueError(f"{_named(key)} is not a label key")
    if absent:
        return Requirement(key, "!")
    match tokens.peek():
        case "" | ",":
            return Requirement(key, "exists")
        case "=" | "==":
            tokens.take()
            return Requirement(key, "in", frozenset({_value(tokens)}))
        case "!=":
            tokens.take()
            return Requirement(key, "notin", frozenset({_value(tokens)}))
        case "in":
            tokens.take()
            return Requirement(key, "in", _values(tokens, "in"))
        case "notin":
            tokens.take()
            return Requirement(key, "notin", _values(tokens, "notin"))
        case _:
            raise tokens.unexpected("'=', '==', '!=', 'in', 'notin' or ','")


def _value(tokens: _Tokens) -> str:
    """Parse one value. A value is empty if ',', ')' or the end follows immediately."""
    if tokens.peek() in ("", ",", ")"):
        return ""
    if not tokens.word():
        raise tokens.unexpected("a label value")
    value = tokens.take()
    if not is_label_value(value):
        raise ValueError(f"{_named(value)} is not a label value")
    return value


def _values(tokens: _Tokens, operator: Operator) -> frozenset[str]:
    tokens.expect("(", f"'(' after '{operator}'")
    if tokens.peek() == ")":
        raise tokens.unexpected("a label value")
    values = {_value(tokens)}
    while tokens.peek() == ",":
        tokens.take()
        values.add(_value(tokens))
    tokens.expect(")", "',' or ')'")
    return frozenset(values)
