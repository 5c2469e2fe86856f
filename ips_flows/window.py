"""The window: which nodes may start to pull now. Ungating pods is the only control point, so this is all of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an attempt stands.

    `pulling` counts pods that were let go and have not ended, those told to end included.
    `gated` are the indexes whose pods wait at the gate. `ended` counts nodes with a result, `reached` those
    of them that hold at least one image of the task.
    """

    window: int
    pulling: int
    gated: Sequence[int]
    ended: int
    reached: int


def breaker_open(standing: Standing) -> bool:
    """Whether a whole first window has ended and no image is on any node of it: a typo costs one window."""
    return standing.ended >= standing.window > 0 and standing.reached == 0


def startable(standing: Standing) -> Sequence[int]:
    """The indexes that may start now, lowest first."""
    if breaker_open(standing):
        return ()
    if standing.reached == 0:
        # The first window is a probe: until one node holds an image, not a node more than it is let go.
        free = standing.window - standing.pulling - standing.ended
    else:
        free = standing.window - standing.pulling
    return sorted(standing.gated)[: max(0, free)]


def parallelism(window: int, nodes: int) -> int:
    """How many pods the Job holds: the window and a reserve of gated pods, so that a freed slot fills at once."""
    return min(nodes, window + max(1, math.ceil(window / 4)))
