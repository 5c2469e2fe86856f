"""Drivers that were lost, as Argo tells of their pods in the status of a Workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_FAILED_ATTEMPT = "1"  # the exit code of a driver that worked its Job to the end


def lost_drivers(nodes: Mapping[str, Json]) -> dict[str, Json]:
    """Those of Argo's nodes that are drivers' pods which ended without working their Job to its end."""
    return {
        node_id: node
        for node_id, node in nodes.items()
        if node.get("type") == "Pod"
        and node.get("templateName") == "drive"
        and node.get("phase") in ("Failed", "Error")
        and str((node.get("outputs") or {}).get("exitCode")) != _FAILED_ATTEMPT
    }


def attempt_of(node: Json) -> tuple[str, str]:
    """For which wave and which attempt a driver was started; '' where that is not said."""
    given = {one["name"]: str(one.get("value")) for one in (node.get("inputs") or {}).get("parameters") or ()}
    return given.get("wave", ""), given.get("attempt", "")
