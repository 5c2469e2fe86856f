"""Limits the request rate of a driver: backs off on API errors and recovers gradually."""

from __future__ import annotations

from ips_flows.core.errors import ApiError
from steps.drive.timings import DriverTimings

MAX_CONCURRENT = 8  # requests


class Throttle:
    """Limits of a driver: `concurrency` requests in parallel, `rest` seconds between two passes.

    An API error halves `concurrency` and doubles `rest`; each successful pass restores both a little.
    """

    def __init__(self, timings: DriverTimings) -> None:
        self._timings = timings
        self.concurrency = MAX_CONCURRENT
        self.rest = timings.rest
        self._pause = timings.first_pause

    def succeeded(self) -> None:
        """Recover a little after a pass without an API error."""
        self.concurrency = min(MAX_CONCURRENT, self.concurrency + 1)
        self.rest = max(self._timings.rest, 0.9 * self.rest)
        self._pause = self._timings.first_pause

    def failed(self, error: ApiError) -> float:
        """Slow down after an API error. Returns the seconds to pause, at least the server's Retry-After."""
        self.concurrency = max(1, self.concurrency // 2)
        self.rest = min(self._timings.longest_rest, 2 * self.rest)
        pause = self._pause
        self._pause = min(self._timings.longest_pause, 2 * pause)
        return max(pause, error.retry_after)
