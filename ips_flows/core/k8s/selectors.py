"""Label selectors: the set-based grammar of kubectl, and which labels one matches."""

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
    """One condition of a selector. `values` belongs to `in` and `notin`; `=` is an `in` of one value."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels fulfils the condition; `notin` is true where the key is missing."""
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
    """A label selector: all its requirements must be met. The empty one matches everything."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def parse_selector(text: str) -> Selector:
    """Read a set-based label selector as kubectl does. Raises ValueError with what stands where it must not."""
    if not text.strip():
        return Selector(())
    tokens = _Tokens(text)
    requirements = [_requirement(tokens)]
    while tokens.peek():
        tokens.expect(",", "',' or the end")
        requirements.append(_requirement(tokens))
    return Selector(tuple(requirements))


class _Tokens:
    """The tokens of a selector, with one of look-ahead; "" is the end."""

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
        return ValueError(f"{found} where {meant} must stand")

    def word(self) -> bool:
        return self._next != "" and self._next[0] not in "=!(),<>"


def _named(token: str) -> str:
    """A token in a message: a whole file may stand in a selector."""
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
            return Requirement(key, "in", _values(tokens))
        case "notin":
            tokens.take()
            return Requirement(key, "notin", _values(tokens))
        case _:
            raise tokens.unexpected("'=', '==', '!=', 'in', 'notin' or ','")


def _value(tokens: _Tokens) -> str:
    """One value; nothing before ',' or ')' or the end is the empty value."""
    if tokens.peek() in ("", ",", ")"):
        return ""
    if not tokens.word():
        raise tokens.unexpected("a label value")
    value = tokens.take()
    if not is_label_value(value):
        raise ValueError(f"{_named(value)} is not a label value")
    return value


def _values(tokens: _Tokens) -> frozenset[str]:
    tokens.expect("(", "'('")
    if tokens.peek() == ")":
        raise tokens.unexpected("a label value")
    values = {_value(tokens)}
    while tokens.peek() == ",":
        tokens.take()
        values.add(_value(tokens))
    tokens.expect(")", "',' or ')'")
    return frozenset(values)
