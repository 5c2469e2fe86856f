"""Duration of a task at a given bandwidth, with the plan's order of nodes, waves and window."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from ips_flows.core.request.choices import RolloutOrder

# The Job controller needs two writes per pod, and is limited to 20 writes per second by default.
PODS_A_SECOND = 10
# A pod takes about a second, even if it pulls nothing.
POD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Bytes per second: of each node, and of the registry for all nodes together (None: unlimited)."""

    node: float
    registry: float | None = None

    def rate(self, pulling: int) -> float:
        """Return the bytes per second of each node while `pulling` nodes pull."""
        return self.node if self.registry is None else min(self.node, self.registry / max(1, pulling))


def node_seconds(bandwidth: Bandwidth, size: int, pulling: int) -> float:
    """Return the seconds in which one node pulls `size` bytes while `pulling` nodes pull."""
    return POD_SECONDS + size / bandwidth.rate(pulling)


def task_seconds(
    bandwidth: Bandwidth, waves: Sequence[Sequence[int]], window: int, order: RolloutOrder
) -> float:
    """Return the seconds of a task. `waves` holds the bytes of each node of each wave."""
    total = 0.0
    for wave in waves:
        pulling = min(window, len(wave))
        seconds = [node_seconds(bandwidth, size, pulling) for size in wave]
        if order == "batch":
            batches = (seconds[start : start + window] for start in range(0, len(seconds), window))
            total += sum(_rolling(batch, window) for batch in batches)
        else:
            total += _rolling(seconds, window)
    return total


def max_fed_window(mean_seconds: float) -> int:
    """Return the largest window that the controllers can keep full if a node takes `mean_seconds`."""
    return max(1, int(PODS_A_SECOND * mean_seconds))


def _rolling(seconds: Sequence[float], window: int) -> float:
    """Return the end of the last node. A node starts when its pod is created and the window has a free place."""
    ends: list[float] = []
    for number, one in enumerate(seconds):
        made = number / PODS_A_SECOND
        free = heapq.heappop(ends) if len(ends) >= window else 0.0
        heapq.heappush(ends, max(made, free) + one)
    return max(ends, default=0.0)
