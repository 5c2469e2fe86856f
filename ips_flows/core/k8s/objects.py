"""Kubernetes objects as plain JSON, and the parts that all of them have."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]  # an object as the API server writes it


def annotations(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """The annotations of an object; empty where it has none."""
    return obj["metadata"].get("annotations") or {}


def labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an object; empty where it has none."""
    return obj["metadata"].get("labels") or {}


def condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition of this type in an object's status; None where it has none."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), None)


def true_condition(obj: Mapping[str, Any], *kinds: str) -> Mapping[str, Any] | None:
    """The first condition of one of these types whose status is True; None where none is."""
    found = (condition(obj, kind) for kind in kinds)
    return next((one for one in found if one is not None and one["status"] == "True"), None)


def owner_reference(api_version: str, kind: str, name: str, uid: str) -> Json:
    """An owner reference: the garbage collector deletes the object when its owner is gone."""
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid}
