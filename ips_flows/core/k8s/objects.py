"""Kubernetes objects as plain JSON, and their common parts."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]  # an object as the API server returns it


def annotations(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the annotations of an object; empty if it has none."""
    return obj["metadata"].get("annotations") or {}


def labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the labels of an object; empty if it has none."""
    return obj["metadata"].get("labels") or {}


def condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """Return the condition of this type in an object's status, or None."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), None)


def true_condition(obj: Mapping[str, Any], *kinds: str) -> Mapping[str, Any] | None:
    """Return the first condition of these types with status True, or None."""
    found = (condition(obj, kind) for kind in kinds)
    return next((one for one in found if one is not None and one["status"] == "True"), None)


def owner_reference(api_version: str, kind: str, name: str, uid: str) -> Json:
    """Return an owner reference. The garbage collector deletes the object after its owner."""
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid}
