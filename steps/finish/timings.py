"""Waits of finish."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FinishTimings:
    """All in seconds. `python -m steps.finish` uses the defaults."""

    drivers: float = 40.0  # for stopped drivers to end
    cleanup: float = 30.0  # for Jobs to be deleted
    patience: float = 120.0  # without an answer of the API server
    refused: float = 15.0  # an API server that has just started knows no rights yet
    retry: float = 2.0
    verdict: float = 120.0  # of conflicts while the verdict is written
    record: float = 120.0  # without an answer of the API server while the notice is recorded
