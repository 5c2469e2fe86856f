"""Patches and selectors with the semantics of the Kubernetes API."""

from __future__ import annotations

import copy
import re
from typing import Any

Json = dict[str, Any]

_TERM = re.compile(
    r"^\s*(?P<key>[^\s=!]+?)\s*(?:(?P<op>==|=|!=)\s*(?P<value>\S*)|\s+(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?\s*$"
)


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target with a merge patch applied (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Json, operations: list[Json]) -> Json:
    """Apply a JSON patch (RFC 6902): add, remove, replace and test. A failed test raises ValueError."""
    document = copy.deepcopy(target)
    for operation in operations:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        *way, last = parts
        place: Any = document
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        key: Any = (len(place) if last == "-" else int(last)) if isinstance(place, list) else last
        match operation["op"]:
            case "test":
                there = place[key] if isinstance(place, list) or key in place else None
                if there != operation["value"]:
                    raise ValueError(f"test of {operation['path']} failed")
            case "add" if isinstance(place, list):
                place.insert(key, operation["value"])
            case "add" | "replace":
                place[key] = operation["value"]
            case "remove":
                del place[key]
    return document


def selects(selector: str, labels: dict[str, str]) -> bool:
    """Return whether a label selector matches."""
    terms = [one.strip() for one in re.split(r",(?![^(]*\))", selector)]
    return all(_term_selects(term, labels) for term in terms if term)


def _term_selects(term: str, labels: dict[str, str]) -> bool:
    if term.startswith("!"):
        return term[1:].strip() not in labels
    match = _TERM.match(term)
    if not match:
        raise ValueError(f"bad selector {term!r}")
    value = labels.get(match["key"])
    if match["set"]:
        return (value in [one.strip() for one in match["values"].split(",")]) == (match["set"] == "in")
    if match["op"] == "!=":
        return value != match["value"]
    return value == match["value"] if match["op"] else value is not None


def field_selects(selector: str, item: Json) -> bool:
    """Return whether a field selector matches."""
    for term in filter(None, selector.split(",")):
        path, _, wanted = term.partition("=")
        value: Any = item
        for part in path.rstrip("!").split("."):
            value = (value or {}).get(part)
        if path.rstrip("!") == "source":  # of an event: the API matches `source.component`
            value = (value or {}).get("component")
        if ((value or "") == wanted.lstrip("=")) == path.endswith("!"):
            return False
    return True
