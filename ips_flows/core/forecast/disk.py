"""A node's image disk, as its kubelet reports it, compared with the bytes to pull.

A node keeps an image compressed and unpacked. Registries do not report the unpacked size; `GROWTH` is the usual ratio
of both together to the compressed size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GROWTH = 3
_STOCK_HIGH_PERCENT = 85  # the kubelet's default imageGCHighThresholdPercent


@dataclass(frozen=True, slots=True)
class Disk:
    """`free` and `capacity` are in bytes. Above `high` percent of usage the kubelet removes images that no pod uses."""

    free: int
    capacity: int
    high: int = _STOCK_HIGH_PERCENT


def read_disk(summary: Mapping[str, Any], configuration: Mapping[str, Any]) -> Disk | None:
    """Read the image disk from a kubelet's `stats/summary` and `configz`; None if it reports none.

    The images are on the summary's image file system if it has one, else on the node's file system.
    """
    node = summary.get("node") or {}
    filesystem = (node.get("runtime") or {}).get("imageFs") or node.get("fs") or {}
    free, capacity = filesystem.get("availableBytes"), filesystem.get("capacityBytes")
    if not isinstance(free, int) or not isinstance(capacity, int) or capacity <= 0:
        return None
    high = (configuration.get("kubeletconfig") or {}).get("imageGCHighThresholdPercent")
    return Disk(free, capacity, high if isinstance(high, int) else _STOCK_HIGH_PERCENT)


def overflows(disk: Disk, compressed: int) -> bool:
    """Return whether the compressed bytes alone exceed the free space."""
    return compressed > disk.free


def triggers_garbage_collection(disk: Disk, compressed: int) -> bool:
    """Return whether the kubelet would start to remove images. At a threshold of 100 percent it never does."""
    used = disk.capacity - disk.free + GROWTH * compressed
    return disk.high < 100 and used * 100 > disk.high * disk.capacity
