"""The window: which nodes may start to pull now. Ungating pods is the only control point."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_SIZE = re.compile(r"[0-9]{1,3}|1000|[1-9][0-9]?%|100%")


@dataclass(frozen=True, slots=True)
class WindowState:
    """The state of an attempt that the window depends on.

    `pulling` counts ungated pods that have not ended, those whose deadline was set included.
    `gated` are the indexes whose pods are gated. `ended` counts nodes with a result, `reached` those
    of them that hold at least one image of the task. `barrier` is for batches with a strict barrier between
    them: how many nodes had started when the present window came into force; None: nodes roll. `awaited` counts
    pods that have ended and have no result yet.
    """

    window: int
    pulling: int
    gated: Sequence[int]
    ended: int
    reached: int
    barrier: int | None = None
    awaited: int = 0


def breaker_open(state: WindowState) -> bool:
    """Whether a whole first window has ended and no image is on any node of it: a typo costs one window."""
    return state.ended >= state.window > 0 and state.reached == 0


def ungatable(state: WindowState) -> Sequence[int]:
    """The indexes that may start now, lowest first."""
    if breaker_open(state):
        return ()
    if state.reached == 0:
        # The first window is a probe: until one node holds an image, no node beyond it is ungated.
        free = state.window - state.pulling - state.awaited - state.ended
    else:
        free = state.window - state.pulling
    if state.barrier is not None:
        free = min(free, _left_of_batch(state, state.barrier))
    return sorted(state.gated)[: max(0, free)]


def _left_of_batch(state: WindowState, barrier: int) -> int:
    """How many nodes of the present batch have not started; none while a node from before the barrier pulls."""
    ended = state.ended - barrier
    if ended < 0 or not state.window:
        return 0
    started = ended + state.awaited + state.pulling
    return (ended // state.window + 1) * state.window - started


def parse_window(text: str, eligible: int) -> int | None:
    """The window in an annotation: a number, a percentage, or 0 for a pause.

    None if the text is none of these: it may have been written by hand.
    """
    if not _SIZE.fullmatch(text):
        return None
    if text.endswith("%"):
        return max(1, math.ceil(eligible * int(text[:-1]) / 100))
    return int(text)


def job_parallelism(window: int, nodes: int) -> int:
    """How many pods the Job holds: the window and a reserve of gated pods, so that a freed slot fills at once."""
    return min(nodes, window + max(1, math.ceil(window / 4)))
