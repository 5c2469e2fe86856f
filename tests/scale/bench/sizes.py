"""Sizes of the benchmark: numbers of nodes, with the window of each."""

from __future__ import annotations

SIZES = (200, 1000, 2000, 5000)
_LARGEST_WINDOW = 200  # more than two processors can serve: about 20 nodes per second


def window_of(nodes: int) -> int:
    """Return the window: a tenth of the nodes, at most what this machine can serve."""
    return min(nodes // 10, _LARGEST_WINDOW)
