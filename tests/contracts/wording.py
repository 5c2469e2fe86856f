"""Replacement of human text by `<text>`, so that a better sentence does not change the record."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

from ips_flows.core.constants import ANNOTATION_DESCRIPTION, ANNOTATION_ERROR, ANNOTATION_TITLE

TEXT = "<text>"

# Keys whose value, if a string, is a sentence for people.
_SENTENCES = frozenset(
    {
        "description",
        "error",
        "errorMessage",
        "hint",
        "mend",
        "message",
        "modeReason",
        "runbook",
        "summary",
        "text",
        "title",
        ANNOTATION_DESCRIPTION,
        ANNOTATION_ERROR,
        ANNOTATION_TITLE,
    }
)
# Keys whose whole value is an example for people.
_EXAMPLES = frozenset({"example", "examples"})
_GZIPPED = ".json.gz"


def without_text(document: Any) -> Any:
    """Return the document with `<text>` in place of human text.

    The key of a string decides whether it is human text. `reason` is a sentence beside `outcome` (a webhook's delivery)
    and beside a probe's status, and a machine-readable value everywhere else.
    """
    if isinstance(document, Mapping):
        return {key: _value(key, value, document) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [without_text(item) for item in document]
    return document


def unfolded(document: Any) -> Any:
    """Return the document with JSON in strings as structure: `{"json": …}` or `{"gzipped json": …}`."""
    if isinstance(document, Mapping):
        return {
            key: {"gzipped json": json.loads(gzip.decompress(base64.b64decode(value)))}
            if key.endswith(_GZIPPED) and isinstance(value, str)
            else unfolded(value)
            for key, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [unfolded(item) for item in document]
    if isinstance(document, str) and document[:1] in ("{", "["):
        try:
            return {"json": unfolded(json.loads(document))}
        except ValueError:
            return document
    return document


def _value(key: str, value: Any, holder: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value and (key in _SENTENCES or _is_reason(key, holder)):
        return TEXT
    if key in _EXAMPLES and not _is_schema(value):
        return TEXT
    return without_text(value)


def _is_reason(key: str, holder: Mapping[str, Any]) -> bool:
    return key == "reason" and ("outcome" in holder or holder.get("status") in ("not ready", "degraded"))


def _is_schema(value: Any) -> bool:
    """Return whether a value is the schema of a property whose name is one of these keys."""
    return isinstance(value, Mapping) and ("type" in value or "$ref" in value)
