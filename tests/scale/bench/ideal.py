"""How long the same pulls would take if nothing but them took time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def rolling(seconds: Sequence[float], slots: int) -> float:
    """List scheduling in the given order: whenever a slot is free the next node starts."""
    free = [0.0] * min(slots, len(seconds))
    heapq.heapify(free)
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free, default=0.0)


def batches(seconds: Sequence[float], slots: int) -> float:
    """Batches with a barrier: each waits for the slowest node of the one before."""
    return sum(max(seconds[start : start + slots]) for start in range(0, len(seconds), slots))


def waves(seconds: Sequence[float], slots: int, sizes: Sequence[int]) -> float:
    """Waves one after another, rolling inside; `sizes` are how many nodes each has."""
    total, start = 0.0, 0
    for size in sizes:
        total += rolling(seconds[start : start + size], slots)
        start += size
    return total
