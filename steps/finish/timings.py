"""Timeouts and intervals of finish."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FinishTimings:
    """All in seconds. `python -m steps.finish` uses the defaults."""

    drivers: float = 40.0  # for stopped drivers to end
    cleanup: float = 30.0  # for Jobs to be deleted
    patience: float = 120.0  # while API requests fail
    refused: float = 15.0  # while the API server returns 403: after its start it may not have loaded RBAC yet
    retry: float = 2.0
    verdict: float = 120.0  # while conflicts prevent the write of the verdict
    record: float = 120.0  # while requests to record the notification fail
