"""Ideal times: the makespan if only the pulls took time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def rolling(seconds: Sequence[float], slots: int) -> float:
    """Return the time of list scheduling in the given order: the next node starts when a slot is free."""
    free = [0.0] * min(slots, len(seconds))
    heapq.heapify(free)
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free, default=0.0)


def batches(seconds: Sequence[float], slots: int) -> float:
    """Return the time of batches with a barrier: each waits for the slowest node of the previous one."""
    return sum(max(seconds[start : start + slots]) for start in range(0, len(seconds), slots))


def waves(seconds: Sequence[float], slots: int, sizes: Sequence[int]) -> float:
    """Return the time of consecutive waves with a rolling window in each; `sizes` are their numbers of nodes."""
    total, start = 0.0, 0
    for size in sizes:
        total += rolling(seconds[start : start + size], slots)
        start += size
    return total
