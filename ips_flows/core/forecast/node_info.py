"""Properties of a node for a forecast: architecture, disk, and the digests of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ips_flows.core.images.reference import Reference
from ips_flows.core.k8s.objects import true_condition
from ips_flows.core.k8s.quantity import quantity
from ips_flows.core.plan.node import Node


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Properties of a node. `allocatable` is its ephemeral storage in bytes; None if it reports none.

    `digests` are those of the node's images in the request's order, None if the node lacks one. `worker` is True if the
    node has the worker image.
    """

    architecture: str
    allocatable: int | None
    pressure: bool
    worker: bool
    digests: tuple[str | None, ...]


def read_node_info(
    raw: Mapping[str, Any], node: Node, wanted: Sequence[Reference], worker: Reference
) -> NodeInfo:
    """Read the properties from a Node object of the API."""
    status = raw.get("status") or {}
    info = status.get("nodeInfo") or {}
    held = [node.image(reference) for reference in wanted]
    return NodeInfo(
        architecture=node.labels.get("kubernetes.io/arch") or info.get("architecture") or "amd64",
        allocatable=quantity(str((status.get("allocatable") or {}).get("ephemeral-storage") or "")),
        pressure=true_condition(raw, "DiskPressure") is not None,
        worker=node.image(worker) is not None,
        digests=tuple(image.digest if image else None for image in held),
    )
