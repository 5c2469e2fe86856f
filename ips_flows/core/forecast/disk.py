"""A node's image disk, as its kubelet reports it, compared with what is to be pulled.

A node keeps an image compressed and unpacked. Registries do not tell the unpacked size; `GROWTH` is the usual factor
for both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GROWTH = 3
_STOCK_HIGH_PERCENT = 85  # the kubelet's default imageGCHighThresholdPercent


@dataclass(frozen=True, slots=True)
class Disk:
    """`free` and `capacity` in bytes; above `high` percent the kubelet removes images that no pod uses."""

    free: int
    capacity: int
    high: int = _STOCK_HIGH_PERCENT


def read_disk(summary: Mapping[str, Any], configuration: Mapping[str, Any]) -> Disk | None:
    """The image disk from a kubelet's `stats/summary` and `configz`; None if it reports none.

    containerd's images are on the summary's image file system, else on the node's.
    """
    node = summary.get("node") or {}
    filesystem = (node.get("runtime") or {}).get("imageFs") or node.get("fs") or {}
    free, capacity = filesystem.get("availableBytes"), filesystem.get("capacityBytes")
    if not isinstance(free, int) or not isinstance(capacity, int) or capacity <= 0:
        return None
    high = (configuration.get("kubeletconfig") or {}).get("imageGCHighThresholdPercent")
    return Disk(free, capacity, high if isinstance(high, int) else _STOCK_HIGH_PERCENT)


def overflows(disk: Disk, compressed: int) -> bool:
    """Whether the compressed bytes alone are more than the free space."""
    return compressed > disk.free


def triggers_garbage_collection(disk: Disk, compressed: int) -> bool:
    """Whether the kubelet would begin to remove images. At 100 percent it never does."""
    used = disk.capacity - disk.free + GROWTH * compressed
    return disk.high < 100 and used * 100 > disk.high * disk.capacity
