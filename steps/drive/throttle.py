"""How fast a driver asks the API server: one that refuses or fails is asked less, and by and by more again."""

from __future__ import annotations

from ips_flows.core.errors import ApiError

# How many requests are under way at most: a server that answers slowly is asked slowly.
MAX_CONCURRENT = 8
_REST = 0.05  # a burst of changes is one pass
_LONGEST_REST = 2.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 16.0


class Throttle:
    """`at_once` requests side by side, `rest` seconds between two passes.

    Trouble halves the one and doubles the other; each pass that went well gives a little back.
    """

    def __init__(self) -> None:
        self.concurrency = MAX_CONCURRENT
        self.rest = _REST
        self._pause = _FIRST_PAUSE

    def succeeded(self) -> None:
        """A whole pass had its answers."""
        self.concurrency = min(MAX_CONCURRENT, self.concurrency + 1)
        self.rest = max(_REST, 0.9 * self.rest)
        self._pause = _FIRST_PAUSE

    def failed(self, error: ApiError) -> float:
        """A request failed: for how many seconds nothing is to be asked; longer each time, or what the server says."""
        self.concurrency = max(1, self.concurrency // 2)
        self.rest = min(_LONGEST_REST, 2 * self.rest)
        pause = self._pause
        self._pause = min(_LONGEST_PAUSE, 2 * pause)
        return max(pause, error.retry_after)
