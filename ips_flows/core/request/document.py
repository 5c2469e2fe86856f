"""Read a YAML or JSON text into plain values, with the line and column of every key and value.

Scalars follow the core schema of YAML 1.2: only `true` and `false` are booleans, so `no` and `yes` are text.
The values are built from parse events without recursion, so deep nesting can't exhaust the stack.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import yaml
from yaml.reader import Reader

from ips_flows.core.errors import BadRequestError, FieldProblem
from ips_flows.core.request.limits import MAX_BYTES

Path = tuple[str | int, ...]

_DEEPEST = 20
_TOO_DEEP = f"got more than {_DEEPEST} levels of nesting; allowed: at most {_DEEPEST}"
_MOST_VALUES = 50_000
_LONGEST_SHOWN = 100  # characters of a key or a name in a message
_LONGEST_INTEGER = 18  # digits; a longer number is above every limit

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_JSON_START = re.compile(r'\s*(?:\{\s*"|\[\s*["\[{])')
_JSON_TOKEN = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*"|[^\s,:\[\]{}"]+')
_YAML_MEANINGS = {  # part of a message of PyYAML: the message for the user
    "'\\t'": "got a tab; allowed: spaces",
    "mapping values are not allowed": "a second ': ' in one line; put a text that contains ': ' in quotes",
    "<block end>": "this line doesn't fit the lines above; check its indentation",
    "could not find expected ':'": "a key without ':'",
    "<stream end>": "the text ends in the middle of a list, mapping or quoted text",
    "unexpected end of stream": "the text ends in the middle of a list, mapping or quoted text",
}
_SIMPLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class TextPosition:
    """Line and column of a key or value, and the text of a plain scalar. Line 0 means: not from a text."""

    source: str
    line: int = 0
    column: int = 0
    text: str = ""


@dataclass(slots=True)
class Document:
    """The values of a text, their positions, and the problems of the text itself.

    `muted` has the paths whose values could not be read. No further problem is added at or below them.
    """

    data: Any = None
    values: dict[Path, TextPosition] = field(default_factory=dict)
    keys: dict[Path, TextPosition] = field(default_factory=dict)
    problems: list[FieldProblem] = field(default_factory=list)
    muted: set[Path] = field(default_factory=set)


def field_path(path: Path) -> str:
    """Format a path: `images[2].pullPolicy`, `nodeSelector["kubernetes.io/os"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif len(part) <= _LONGEST_SHOWN and _SIMPLE_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            shown = _cut(part)
            quoted = json.dumps(shown, ensure_ascii=not shown.isprintable())
            text += f"[{quoted}]"
    return text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def read_document(text: str, source: str, *, only_json: bool = False) -> Document:
    """Read one YAML or JSON document. Raises BadRequestError if the text is not exactly one."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _fatal(
            source,
            0,
            0,
            f"got more than {MAX_BYTES >> 20} MiB of text; allowed: at most {MAX_BYTES >> 20} MiB",
        )
    if unprintable := Reader.NON_PRINTABLE.search(text):
        position = _Lines(text).at(unprintable.start())
        raise _fatal(
            source,
            *position,
            f"got the control character U+{ord(unprintable[0]):04X}; allowed: printable text",
        )
    if only_json and text.strip():
        _check_json(text, source)
        return _Builder(source).build(_json_events(text))
    json_error = _json_error(text)
    if json_error is None:
        return _Builder(source).build(_json_events(text))
    try:
        return _Builder(source).build(_yaml_events(text, source))
    except BadRequestError:
        if isinstance(json_error, json.JSONDecodeError) and _JSON_START.match(text):
            message = f"not valid JSON: {json_error.msg[0].lower()}{json_error.msg[1:]}"
            raise _fatal(source, json_error.lineno, json_error.colno, message) from json_error
        raise


class _Event(NamedTuple):
    """A parse event: a scalar (`plain`: not quoted), the start of a mapping or list, or an end."""

    kind: Literal["scalar", "mapping", "list", "end"]
    line: int
    column: int
    text: str = ""
    plain: bool = False
    problem: str = ""


class _Lines:
    """Converts offsets in a text to line and column, both counted from 1."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer(r"\n", text))]

    def at(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def _fatal(source: str, line: int, column: int, message: str) -> BadRequestError:
    return BadRequestError([FieldProblem(source, line, column, "", message)])


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _json_error(text: str) -> Exception | None:
    """Return the error of parsing a text as JSON; None if it is JSON."""
    if text.lstrip()[:1] not in ("{", "["):
        return ValueError("not JSON: it does not start with { or [")
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return error
    return None


def _check_json(text: str, source: str) -> None:
    """Raise BadRequestError, with line and column, if a text is not JSON."""
    try:
        json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        message = f"not valid JSON: {error.msg[0].lower()}{error.msg[1:]}"
        raise _fatal(source, error.lineno, error.colno, message) from error
    except RecursionError as error:
        raise _fatal(source, 0, 0, _TOO_DEEP) from error
    except ValueError as error:  # NaN and Infinity, which JSON does not allow
        offset = next((match.start() for match in _JSON_TOKEN.finditer(text) if match[0] == str(error)), 0)
        message = f"not valid JSON: got {error}; allowed: a number, or null"
        raise _fatal(source, *_Lines(text).at(offset), message) from error


def _json_events(text: str) -> Iterator[_Event]:
    """Yield the events of a JSON text, which may contain tabs and surrogates that YAML can't parse."""
    lines = _Lines(text)
    for match in _JSON_TOKEN.finditer(text):
        lexeme = match[0]
        line, column = lines.at(match.start())
        if lexeme in ("{", "["):
            yield _Event("mapping" if lexeme == "{" else "list", line, column)
        elif lexeme in ("}", "]"):
            yield _Event("end", line, column)
        elif lexeme.startswith('"'):
            yield _Event("scalar", line, column, json.loads(lexeme))
        else:
            yield _Event("scalar", line, column, lexeme, plain=True)


def _yaml_events(text: str, source: str) -> Iterator[_Event]:
    documents = 0
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_event():
            event: yaml.Event = loader.get_event()  # type: ignore[no-untyped-call]
            start = event.start_mark
            line, column = (start.line + 1, start.column + 1) if start else (0, 0)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _fatal(source, line, column, "a second document starts here; allowed: one document")
            elif isinstance(event, yaml.AliasEvent):
                yield _Event(
                    "scalar",
                    line,
                    column,
                    problem=f"got the alias *{_cut(event.anchor or '')}; allowed: the value itself",
                )
            elif isinstance(event, yaml.NodeEvent):
                yield _node_event(event, line, column)
            elif isinstance(event, yaml.CollectionEndEvent):
                yield _Event("end", line, column)
    except yaml.MarkedYAMLError as error:
        forgotten_colon = "could not find expected ':'" in str(
            error.problem
        )  # PyYAML reports it after the key's line
        mark = (error.context_mark if forgotten_colon else None) or error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (loader.line + 1, loader.column + 1)
        raise _fatal(source, line, column, _yaml_problem(error)) from error
    except (
        ValueError,
        OverflowError,
    ) as error:  # bugs of PyYAML: "\UFFFFFFFF", %YAML with too many digits
        message = "not valid YAML: a number is out of range"
        raise _fatal(source, loader.line + 1, loader.column + 1, message) from error


def _node_event(event: yaml.NodeEvent, line: int, column: int) -> _Event:
    problem = ""
    tag: str | None = getattr(event, "tag", None)
    if event.anchor is not None:
        problem = f"got the anchor &{_cut(event.anchor)}; allowed: a value without anchor"
    elif tag is not None:
        problem = f"got the tag {_cut(tag.replace('tag:yaml.org,2002:', '!!'))}; allowed: a value without tag, in quotes if it is text"
    if isinstance(event, yaml.ScalarEvent):
        return _Event("scalar", line, column, event.value, plain=event.style is None, problem=problem)
    kind: Literal["mapping", "list"] = "mapping" if isinstance(event, yaml.MappingStartEvent) else "list"
    return _Event(kind, line, column, problem=problem)


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "it can't be read")
    for part, meaning in _YAML_MEANINGS.items():
        if part in problem:
            return f"not valid YAML: {meaning}"
    return f"not valid YAML: {_cut(problem)}; put a text with such characters in quotes"


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being built."""

    path: Path
    container: dict[str, Any] | list[Any]
    key: str | None = None


class _Builder:
    """Builds values and positions from events."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._document = Document()
        self._stack: list[_Frame] = []
        self._values = 0

    def build(self, events: Iterator[_Event]) -> Document:
        for event in events:
            if event.kind == "end":
                self._stack.pop()
            elif self._wants_key():
                self._take_key(event)
            else:
                self._take_value(event)
        return self._document

    def _wants_key(self) -> bool:
        return (
            bool(self._stack) and isinstance(self._stack[-1].container, dict) and self._stack[-1].key is None
        )

    def _take_key(self, event: _Event) -> None:
        frame = self._stack[-1]
        if event.kind != "scalar" or event.problem:
            message = (
                event.problem or f'got a {event.kind} as a key; allowed: text, without "{{{{" and "}}}}"'
            )
            raise _fatal(self._source, event.line, event.column, message)
        path = (*frame.path, event.text)
        position = TextPosition(self._source, event.line, event.column, event.text)
        if event.text in frame.container:
            first = self._document.keys[path]
            self._add_problem(
                path,
                position,
                f"duplicate key, first used in line {first.line}",
            )
        else:
            self._document.keys[path] = position
        frame.key = event.text

    def _take_value(self, event: _Event) -> None:
        self._values += 1  # includes the values of duplicate keys, which are not stored
        if self._values > _MOST_VALUES:
            raise _fatal(
                self._source,
                event.line,
                event.column,
                f"got more than {_MOST_VALUES} values; allowed: at most {_MOST_VALUES}",
            )
        path = self._next_path()
        position = TextPosition(self._source, event.line, event.column, event.text if event.plain else "")
        self._document.values[path] = position
        if event.problem:
            self._add_problem(path, position, event.problem)
            self._document.muted.add(path)
        value = self._value(event)
        self._store(value)
        if isinstance(value, dict | list):
            if len(self._stack) == _DEEPEST:
                raise _fatal(self._source, event.line, event.column, _TOO_DEEP)
            self._stack.append(_Frame(path, value))

    def _next_path(self) -> Path:
        if not self._stack:
            return ()
        frame = self._stack[-1]
        return (*frame.path, len(frame.container) if frame.key is None else frame.key)

    def _store(self, value: Any) -> None:
        if not self._stack:
            self._document.data = value
            return
        frame = self._stack[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
        elif frame.key is not None:
            frame.container[frame.key] = value
            frame.key = None

    def _add_problem(self, path: Path, position: TextPosition, message: str) -> None:
        self._document.problems.append(
            FieldProblem(self._source, position.line, position.column, field_path(path), message)
        )

    @staticmethod
    def _value(event: _Event) -> Any:
        if event.kind == "mapping":
            return {}
        if event.kind == "list":
            return []
        return _scalar(event.text) if event.plain else event.text


def _scalar(text: str) -> Any:
    """Convert a plain scalar by the core schema of YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) <= _LONGEST_INTEGER else float(text)
    if _BASED_INTEGER.fullmatch(text):
        return int(text, 0) if len(text) <= _LONGEST_INTEGER else float("inf")
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.(?=[a-z])", "", text.lower()))  # .inf and .nan are inf and nan in Python
    return text
