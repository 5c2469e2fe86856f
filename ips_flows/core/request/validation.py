"""All that is wrong with the values of a request, each problem at its place in the text and in our own words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from ips_flows.core.errors import BadRequestError, FieldProblem
from ips_flows.core.request.document import Document, Path, TextPosition, field_path
from ips_flows.core.request.types import FieldError, duplicates, image_identity, shown

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BRACES = re.compile(r"\{\{|\}\}")
_MOST_UNKNOWN = 100  # who gets that many wrong sent something else
_IDENTITIES: dict[str, Callable[[str], str]] = {
    "images": image_identity,
    "nodes": str,
    "excludeNodes": str,
    "pullSecrets": str,
}
_NEVER_NUMBERS = ("nodeTimeout", "timeout", "webhookUrl")  # quotes don't mend a number there
_STAND_INS: dict[str, str] = {"nodeTimeout": "timeout"}  # a default collides with the field beside it


class RequestErrors:
    """Collects what is wrong with one document, at most one problem a path."""

    def __init__(self, document: Document, source: str, names: Mapping[str, str] | None = None) -> None:
        self._document = document
        self.names = names or {}  # of fields, where they have others than in YAML
        self._source = source
        self._found: dict[tuple[Path, bool], FieldProblem] = {}

    def add(self, path: Path, message: str, *, of_key: bool = False) -> None:
        """Note a problem of the value at a path, or of its key."""
        if (path, of_key) not in self._found and not self._is_spoilt(path):
            self._found[path, of_key] = self._problem(path, message, of_key=of_key)

    def add_and_mute(self, path: Path, message: str, *, of_key: bool = False) -> None:
        """Note a problem after which nothing more is said about this path and what is below."""
        self.add(path, message, of_key=of_key)
        self._document.muted.add(path)

    def has(self, field: str) -> bool:
        """Whether anything is wrong in this field."""
        return any(path[:1] == (field,) for path, _ in self._found)

    @property
    def found(self) -> bool:
        """Whether anything is wrong, with the text or with its values."""
        return bool(self._found or self._document.problems)

    def error(self) -> BadRequestError:
        """All problems in the order of the text; those that stand in no text come last."""
        problems = [*self._document.problems, *self._found.values()]
        return BadRequestError(
            sorted(problems, key=lambda problem: (problem.line == 0, problem.line, problem.column))
        )

    def text_of(self, path: Path) -> str:
        """A plain scalar as it is written in the text."""
        place = self._document.values.get(path)
        return place.text if place else ""

    def _is_spoilt(self, path: Path) -> bool:
        return any(path[:length] in self._document.muted for length in range(len(path) + 1))

    def _problem(self, path: Path, message: str, *, of_key: bool) -> FieldProblem:
        place, own = self._place(path, of_key=of_key)
        by_flag = own and place.source != self._source and len(path) == 1
        named = (self.names.get(str(path[0]), path[0]), *path[1:]) if path else path
        return FieldProblem(
            place.source, place.line, place.column, "" if by_flag else field_path(named), message
        )

    def _place(self, path: Path, *, of_key: bool) -> tuple[TextPosition, bool]:
        """Where a path stands, and whether it stands there itself or only what holds it."""
        if of_key and path in self._document.keys:
            return self._document.keys[path], True
        for length in range(len(path), 0, -1):
            place = self._document.values.get(path[:length])
            if place is not None:
                return place, length == len(path)
        stand_in = _STAND_INS.get(str(path[0])) if path else None
        if stand_in and (stand_in,) in self._document.values:
            return self._document.values[(stand_in,)], False
        return self._document.values.get((), TextPosition(self._source)), not path


def check_texts(errors: RequestErrors, data: Any) -> None:
    """Every text, and every key, is free of control characters and of what Argo would expand."""
    for path, text, of_key in _texts((), data):
        if match := _FORBIDDEN.search(text):
            name = f"U+{ord(match[0]):04X}"
            message = f"got {shown(text)} with the control character {name}; allowed: printable text"
            errors.add_and_mute(path, message, of_key=of_key)
        elif match := _BRACES.search(text):
            message = f'got {shown(text)}; allowed: text without "{match[0]}", which Argo would expand'
            errors.add_and_mute(path, message, of_key=of_key)


def encodable(data: Any) -> Any:
    """Values without halves of surrogate pairs, which pydantic can't take; they are complained of already."""
    if isinstance(data, str):
        return "" if _SURROGATE.search(data) else data
    if isinstance(data, Mapping):
        return {key: encodable(item) for key, item in data.items() if not _SURROGATE.search(key)}
    return [encodable(item) for item in data] if isinstance(data, list) else data


def _texts(path: Path, value: Any) -> Iterator[tuple[Path, str, bool]]:
    if isinstance(value, str):
        yield path, value, False
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield (*path, key), key, True
            yield from _texts((*path, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts((*path, index), item)


def check_keys(errors: RequestErrors, path: Path, value: Any, model: type[BaseModel]) -> Any:
    """A mapping without the keys that the model doesn't know, and without nulls, which mean "left out"."""
    if not isinstance(value, Mapping):
        return value
    known = wire_names(model)
    meant = (not path and list(errors.names.values())) or known
    for key in [key for key in value if key not in known][:_MOST_UNKNOWN]:
        errors.add((*path, key), f"unknown field; {_suggestion(key, meant)}", of_key=True)
    return {key: item for key, item in value.items() if key in known and item is not None}


def wire_names(model: type[BaseModel]) -> list[str]:
    """The names of a model's fields as YAML and JSON have them, in the model's order."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _suggestion(key: str, known: list[str]) -> str:
    folded = {name.replace("-", "").lower(): name for name in known}
    close = difflib.get_close_matches(re.sub(r"[-_]", "", key[:60]).lower(), folded, n=1)
    return f"did you mean '{folded[close[0]]}'?" if close else f"allowed: {', '.join(known)}"


def check_sizes(errors: RequestErrors, data: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """No list or mapping is longer than the schema allows; of one that is, nothing more is said."""
    for field, value in data.items():
        limits = [schema["properties"][field], *schema["properties"][field].get("anyOf", ())]
        most = min(
            (limit[key] for limit in limits for key in ("maxItems", "maxProperties") if key in limit),
            default=None,
        )
        if most is not None and isinstance(value, list | dict) and len(value) > most:
            errors.add_and_mute((field,), f"got {len(value)} of them; allowed: {_allowed((field,), schema)}")
            data[field] = type(value)()


def check_duplicates(errors: RequestErrors, data: Mapping[str, Any]) -> None:
    """No list names the same thing twice. Said here too, as the model is silent while an item is wrong."""
    for field, identity in _IDENTITIES.items():
        items = data.get(field)
        if isinstance(items, list):
            for index, message in duplicates(items, identity):
                errors.add((field, index), message)


def explain(errors: RequestErrors, error: ValidationError, data: Any, schema: Mapping[str, Any]) -> None:
    """Note what the model found, in our words: pydantic's own are for programmers."""
    for detail in error.errors(include_url=False):
        path, of_key = _path(detail["loc"], data, detail["type"])
        cause = detail.get("ctx", {}).get("error")
        if detail["type"] == "too_short" and detail["input"]:
            continue  # its items are wrong, and said to be; pydantic counts the right ones only
        if isinstance(cause, FieldError):
            for below, message in cause.parts:
                errors.add((*path, *below), message)
        elif isinstance(cause, ValueError):
            errors.add(path, str(cause), of_key=of_key)
        elif detail["type"] == "missing":
            errors.add(path, f"missing; needed: {_allowed(path, schema)}")
        else:
            errors.add(path, _mismatch(errors, path, detail["type"], detail["input"], schema), of_key=of_key)


def _mismatch(errors: RequestErrors, path: Path, kind: str, got: Any, schema: Mapping[str, Any]) -> str:
    text = errors.text_of(path)
    is_scalar = isinstance(got, bool | int | float)
    if (
        is_scalar
        and path[-1] not in _NEVER_NUMBERS
        and (kind == "string_type" or (path[:1] == ("images",) and len(path) == 2))
    ):
        written = text or shown(got)
        what = written if isinstance(got, bool) else f"the number {shown(got, text)}"
        return f"got {what}; allowed: text; put it in quotes: {shown(written)}"
    if kind == "too_short":
        return f"got an empty list; allowed: {_allowed(path, schema)}"
    return f"got {shown(got, text)}; allowed: {_allowed(path, schema)}"


def _path(loc: tuple[str | int, ...], data: Any, kind: str) -> tuple[Path, bool]:
    """Pydantic's location without its own marks for branches of unions and for keys."""
    path: Path = ()
    value: Any = data
    for part in (to_camel(str(loc[0])), *loc[1:]):
        holds = (
            part in value if isinstance(value, Mapping) else isinstance(value, list) and isinstance(part, int)
        )
        if holds:
            value = value[part]
        elif path and kind != "missing":
            break
        path = (*path, part)
    return path, loc[-1:] == ("[key]",)


def _allowed(path: Path, schema: Mapping[str, Any]) -> str:
    """What the schema's description nearest to a path says."""
    definitions = schema.get("$defs", {})
    node: Mapping[str, Any] = schema
    allowed = ""
    for part in path:
        below = _below(node, part, definitions)
        if below is None:
            break
        node = below
        allowed = (
            node.get("description", "") or _definition(node, definitions).get("description", "") or allowed
        )
    return str(allowed)


def _below(
    node: Mapping[str, Any], part: str | int, definitions: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    whole = _definition(node, definitions)
    for branch in (whole, *whole.get("anyOf", ())):
        found = _definition(branch, definitions)
        if isinstance(part, int) and isinstance(found.get("items"), Mapping):
            return found["items"]  # type: ignore[no-any-return]
        if isinstance(part, str) and part in found.get("properties", {}):
            return found["properties"][part]  # type: ignore[no-any-return]
    return None


def _definition(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(node.get("$ref", "")).rpartition("/")[2]
    return definitions.get(name, node) if name else node
