"""The window: the nodes that may start to pull now. A node starts only when its pod is ungated."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_SIZE = re.compile(r"[0-9]{1,3}|1000|[1-9][0-9]?%|100%")


@dataclass(frozen=True, slots=True)
class WindowState:
    """The state of an attempt that the window depends on.

    `pulling` counts ungated pods that have not ended, including pods whose deadline was set. `gated` are the indexes of
    gated pods. `ended` counts nodes with a result, and `reached` counts those of them that have at least one image of
    the task. `barrier` is the number of nodes that had started when the current window took effect, for `order: batch`;
    None means `order: rolling`. `awaited` counts pods that have ended but have no result yet.
    """

    window: int
    pulling: int
    gated: Sequence[int]
    ended: int
    reached: int
    barrier: int | None = None
    awaited: int = 0


def breaker_open(state: WindowState) -> bool:
    """Return whether a whole first window has ended without an image on any node. A typo then costs only one window."""
    return state.ended >= state.window > 0 and state.reached == 0


def ungatable(state: WindowState) -> Sequence[int]:
    """Return the indexes that may start now, in ascending order."""
    if breaker_open(state):
        return ()
    if state.reached == 0:
        # The first window is a probe: until a node has an image, no node beyond the window is ungated.
        free = state.window - state.pulling - state.awaited - state.ended
    else:
        free = state.window - state.pulling
    if state.barrier is not None:
        free = min(free, _left_of_batch(state, state.barrier))
    return sorted(state.gated)[: max(0, free)]


def _left_of_batch(state: WindowState, barrier: int) -> int:
    """Return the number of nodes of the current batch that have not started; 0 while an earlier node pulls."""
    ended = state.ended - barrier
    if ended < 0 or not state.window:
        return 0
    started = ended + state.awaited + state.pulling
    return (ended // state.window + 1) * state.window - started


def parse_window(text: str, eligible: int) -> int | None:
    """Parse the window in an annotation: a number, a percentage, or 0 for a pause.

    Return None for an invalid text, because a user may have edited the annotation.
    """
    if not _SIZE.fullmatch(text):
        return None
    if text.endswith("%"):
        return max(1, math.ceil(eligible * int(text[:-1]) / 100))
    return int(text)


def job_parallelism(window: int, nodes: int) -> int:
    """Return the Job's parallelism: the window and a reserve of gated pods, so that free slots are filled quickly."""
    return min(nodes, window + max(1, math.ceil(window / 4)))
