"""How many nodes the benchmark has, and how wide a window for them."""

from __future__ import annotations

SIZES = (200, 1000, 2000, 5000)
_LARGEST_WINDOW = 200  # more than two processors serve: some 20 nodes a second


def window_of(nodes: int) -> int:
    """A tenth of the nodes, as far as this machine can follow."""
    return min(nodes // 10, _LARGEST_WINDOW)
