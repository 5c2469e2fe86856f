"""Find all problems of a request, each with its position in the text and a message for users."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from ips_flows.core.errors import BadRequestError, FieldProblem
from ips_flows.core.request.document import Document, Path, TextPosition, field_path
from ips_flows.core.request.fields import FIELDS
from ips_flows.core.request.types import FieldError, duplicates, image_identity, shown

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BRACES = re.compile(r"\{\{|\}\}")
_MOST_UNKNOWN = 100  # reported per mapping; a text with more of them is not a request
_IDENTITIES: dict[str, Callable[[str], str]] = {
    "images": image_identity,
    "nodes": str,
    "excludeNodes": str,
    "pullSecrets": str,
}
# For these fields, a number in quotes is invalid too.
_NEVER_NUMBERS = tuple(field.name for field in FIELDS if field.syntax in ("duration", "url"))
_STAND_INS: dict[str, str] = {
    "nodeTimeout": "timeout"
}  # the default of nodeTimeout can exceed the given timeout


class RequestErrors:
    """Collects the problems of a document, at most one per path."""

    def __init__(self, document: Document, source: str, names: Mapping[str, str] | None = None) -> None:
        self._document = document
        self.names = names or {}  # wire name → name in the form
        self._source = source
        self._found: dict[tuple[Path, bool], FieldProblem] = {}

    def add(self, path: Path, message: str, *, of_key: bool = False) -> None:
        """Add a problem of the value at a path, or of the key."""
        if (path, of_key) not in self._found and not self._is_muted(path):
            self._found[path, of_key] = self._problem(path, message, of_key=of_key)

    def add_and_mute(self, path: Path, message: str, *, of_key: bool = False) -> None:
        """Add a problem, and ignore further problems at or below its path."""
        self.add(path, message, of_key=of_key)
        self._document.muted.add(path)

    @property
    def found(self) -> bool:
        """Return whether the text or its values have a problem."""
        return bool(self._found or self._document.problems)

    def error(self) -> BadRequestError:
        """Return the error with all problems in the order of the text. Problems without a line come last."""
        problems = [*self._document.problems, *self._found.values()]
        return BadRequestError(
            sorted(problems, key=lambda problem: (problem.line == 0, problem.line, problem.column))
        )

    def text_of(self, path: Path) -> str:
        """Return a plain scalar as it is written in the text."""
        position = self._document.values.get(path)
        return position.text if position else ""

    def _is_muted(self, path: Path) -> bool:
        return any(path[:length] in self._document.muted for length in range(len(path) + 1))

    def _problem(self, path: Path, message: str, *, of_key: bool) -> FieldProblem:
        position, own = self._position(path, of_key=of_key)
        by_flag = own and position.source != self._source and len(path) == 1
        named = (self.names.get(str(path[0]), path[0]), *path[1:]) if path else path
        return FieldProblem(
            position.source, position.line, position.column, "" if by_flag else field_path(named), message
        )

    def _position(self, path: Path, *, of_key: bool) -> tuple[TextPosition, bool]:
        """Return the position of a path or of its nearest parent, and whether it is the path's own position."""
        if of_key and path in self._document.keys:
            return self._document.keys[path], True
        for length in range(len(path), 0, -1):
            position = self._document.values.get(path[:length])
            if position is not None:
                return position, length == len(path)
        stand_in = _STAND_INS.get(str(path[0])) if path else None
        if stand_in and (stand_in,) in self._document.values:
            return self._document.values[(stand_in,)], False
        return self._document.values.get((), TextPosition(self._source)), not path


def check_texts(errors: RequestErrors, data: Any) -> None:
    """Check that no text or key has control characters, or `{{`, which Argo would expand."""
    for path, text, of_key in _texts((), data):
        if match := _FORBIDDEN.search(text):
            name = f"U+{ord(match[0]):04X}"
            message = f"got {shown(text)} with the control character {name}; allowed: printable text"
            errors.add_and_mute(path, message, of_key=of_key)
        elif match := _BRACES.search(text):
            message = f'got {shown(text)}; allowed: text without "{match[0]}", which Argo would expand'
            errors.add_and_mute(path, message, of_key=of_key)


def encodable(data: Any) -> Any:
    """Return values without lone surrogates, which pydantic rejects. `check_texts` reports them."""
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
    """Add unknown keys as problems. Return the mapping without them and without nulls, which mean "omitted"."""
    if not isinstance(value, Mapping):
        return value
    known = wire_names(model)
    meant = (not path and list(errors.names.values())) or known
    for key in [key for key in value if key not in known][:_MOST_UNKNOWN]:
        errors.add((*path, key), f"unknown field; {_suggestion(key, meant)}", of_key=True)
    return {key: item for key, item in value.items() if key in known and item is not None}


def wire_names(model: type[BaseModel]) -> list[str]:
    """Return the wire names of a model's fields, in the model's order."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _suggestion(key: str, known: list[str]) -> str:
    folded = {name.replace("-", "").lower(): name for name in known}
    close = difflib.get_close_matches(re.sub(r"[-_]", "", key[:60]).lower(), folded, n=1)
    return f"did you mean '{folded[close[0]]}'?" if close else f"allowed: {', '.join(known)}"


def check_sizes(errors: RequestErrors, data: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Check that no list or mapping is longer than the schema allows. Mute and empty a longer one."""
    for field, value in data.items():
        limits = [schema["properties"][field], *schema["properties"][field].get("anyOf", ())]
        most = min(
            (limit[key] for limit in limits for key in ("maxItems", "maxProperties") if key in limit),
            default=None,
        )
        if most is not None and isinstance(value, list | dict) and len(value) > most:
            errors.add_and_mute((field,), f"got {len(value)} items; allowed: {_allowed((field,), schema)}")
            data[field] = type(value)()


def check_duplicates(errors: RequestErrors, data: Mapping[str, Any]) -> None:
    """Check for duplicates in lists. The model checks too, but not if an item is invalid."""
    for field, identity in _IDENTITIES.items():
        items = data.get(field)
        if isinstance(items, list):
            for index, message in duplicates(items, identity):
                errors.add((field, index), message)


def explain(errors: RequestErrors, error: ValidationError, data: Any, schema: Mapping[str, Any]) -> None:
    """Add the model's errors with messages for users; the messages of pydantic are for programmers."""
    for detail in error.errors(include_url=False):
        path, of_key = _path(detail["loc"], data, detail["type"])
        cause = detail.get("ctx", {}).get("error")
        if detail["type"] == "too_short" and detail["input"]:
            continue  # pydantic counts only valid items; the invalid items are reported already
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
    """Convert a location of pydantic to a path, without the parts for union branches and keys."""
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
    """Return the description in the schema that is nearest to a path."""
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
