"""Read objects from a stream of YAML or JSON documents, each with the line where it starts.

Unlike a request, a manifest may have anchors, duplicate keys and any size. A document that can't be read becomes a
note, and the other documents are still read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import yaml

from ips_flows.core.discover.image_uses import Note, SourceLocation

_SEPARATOR = re.compile(r"^---(?=[ \t\r]|$)", re.MULTILINE)
_BRACES = "{{"
_TEMPLATE = "this is a template that was not rendered: use `helm template … | ips-flow images -`"


class Located(dict[Any, Any]):
    """A mapping with its line, counted from 1."""

    line = 0

    @classmethod
    def at_line(cls, content: Mapping[str, Any], line: int) -> Located:
        """Return a mapping with this content and line."""
        made = cls(content)
        made.line = line
        return made


class ManifestObject(NamedTuple):
    """A document of a stream, or an item of a list in it."""

    content: Mapping[str, Any]
    location: SourceLocation


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Loads plain values, with libyaml if PyYAML has it. A date stays text."""

    first_line = 1
    one_line = False


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def _located(loader: Any, node: yaml.MappingNode) -> Iterator[Located]:
    made = Located()
    made.line = loader.first_line + (0 if loader.one_line else node.start_mark.line)
    yield made
    made.update(loader.construct_mapping(node))


_Loader.add_constructor("tag:yaml.org,2002:map", _located)


def read_manifests(text: str, source: str, *, line: int = 0) -> Iterator[ManifestObject | Note]:
    """Yield the objects of a text; items of lists are yielded one by one. Invalid documents are yielded as notes.

    If the text is a value inside another text, `line` is its line there, and all objects get that line.
    """
    text = text.removeprefix("\ufeff")
    documents = _json_documents(text)
    if documents is not None:
        for document in documents:
            yield from _objects(document, SourceLocation(source, line))
        return
    starts = [0, *(match.start() for match in _SEPARATOR.finditer(text)), len(text)]
    at = line or 1
    for start, end in pairwise(starts):
        chunk = text[start:end]
        if any(_says_something(one) for one in chunk.splitlines()):
            yield from _yaml_objects(chunk, source, at, one_line=bool(line))
        at += 0 if line else chunk.count("\n")


def line_of(value: Any, otherwise: int) -> int:
    """Return the line where a mapping starts, or `otherwise` if it is unknown."""
    return (isinstance(value, Located) and value.line) or otherwise


def _json_documents(text: str) -> list[Any] | None:
    """Return the values of a JSON stream; None if the text is not one."""
    decoder, found, at = json.JSONDecoder(), [], 0
    text = text.strip()
    if text[:1] not in ("{", "["):
        return None
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        found.append(value)
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def _says_something(line: str) -> bool:
    text = line.removeprefix("---").strip()
    return text not in ("", "...") and text[0] not in "#%"


def _yaml_objects(chunk: str, source: str, line: int, *, one_line: bool) -> Iterator[ManifestObject | Note]:
    lines = 0 if one_line else len(chunk) - len(chunk.lstrip("\n"))
    try:
        loader = _Loader(chunk)
        loader.first_line, loader.one_line = line, one_line
        document = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = SourceLocation(source, line if one_line or mark is None else line + mark.line)
        what = f"not valid YAML: {error.problem or error.context}"
        yield Note(at, f"{what}; {_TEMPLATE}" if _BRACES in chunk else what, missing=True)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        what = " ".join(str(error).split())
        yield Note(SourceLocation(source, line + lines), f"not valid YAML: {what}", missing=True)
    else:
        yield from _objects(document, SourceLocation(source, line_of(document, line + lines)))


def _objects(value: Any, location: SourceLocation) -> Iterator[ManifestObject | Note]:
    """Yield the objects of a document. Lists and objects of a list kind are expanded, each once."""
    waiting, taken = [value], set()
    while waiting:
        one = waiting.pop()
        if id(one) in taken:  # an alias, which may refer to its own parent
            continue
        taken.add(id(one))
        at = SourceLocation(location.source, line_of(one, location.line))
        if isinstance(one, list):
            waiting += reversed(one)
        elif not isinstance(one, Mapping):
            if one is not None:
                yield Note(at, "not a Kubernetes object: it is not a mapping", missing=True)
        elif str(one.get("kind")).endswith("List") and isinstance(one.get("items"), list):
            waiting += reversed(one["items"])
        else:
            yield ManifestObject(one, at)
