"""What a forecast knows of a node beside the plan: its architecture, its disk, and the content behind its images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ips_flows.core.images.reference import Reference
from ips_flows.core.plan.eligibility import Node

_QUANTITY = re.compile(
    r"([+-]?[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,2})|([KMGTPE]i|[numkMGTPE]))?"
)
_SUFFIXES: Mapping[str, Decimal] = {
    **{unit: Decimal(10) ** power for unit, power in zip("num", (-9, -6, -3), strict=True)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """`allocatable` is its ephemeral storage in bytes, None where it tells none.

    `digests` are those of the images that it holds, in the request's order; `worker` is whether it holds the worker's.
    """

    architecture: str
    allocatable: int | None
    pressure: bool
    worker: bool
    digests: tuple[str | None, ...]


def read_node_info(
    raw: Mapping[str, Any], node: Node, wanted: Sequence[Reference], worker: Reference
) -> NodeInfo:
    """The facts of a Node object as the API sends it."""
    status = raw.get("status") or {}
    info = status.get("nodeInfo") or {}
    held = [node.image(reference) for reference in wanted]
    return NodeInfo(
        architecture=node.labels.get("kubernetes.io/arch") or info.get("architecture") or "amd64",
        allocatable=quantity(str((status.get("allocatable") or {}).get("ephemeral-storage") or "")),
        pressure=any(
            one["type"] == "DiskPressure" and one["status"] == "True"
            for one in status.get("conditions") or ()
        ),
        worker=node.image(worker) is not None,
        digests=tuple(image.digest if image else None for image in held),
    )


def quantity(text: str) -> int | None:
    """A quantity of Kubernetes (`50Gi`, `95551679124`, `1e9`) as a whole number; None where it is none."""
    match = _QUANTITY.fullmatch(text)
    if not match:
        return None
    number, exponent, suffix = match.groups()
    factor = Decimal(10) ** int(exponent) if exponent else _SUFFIXES[suffix] if suffix else Decimal(1)
    return int(Decimal(number) * factor)
