"""Duration of a task."""

from __future__ import annotations

import pytest

from ips_flows.core.forecast.duration import Bandwidth, max_fed_window, task_seconds


def test_the_time_of_a_task() -> None:
    """Order `rolling` refills the window, `batch` waits for each batch; nodes share the registry's bandwidth."""
    pace = Bandwidth(10.0)
    assert task_seconds(pace, [], 5, "rolling") == 0
    assert task_seconds(pace, [[90]], 5, "rolling") == 10
    assert task_seconds(pace, [[90, 90, 90]], 3, "rolling") == pytest.approx(10.2)
    assert task_seconds(pace, [[90], [90]], 3, "rolling") == 20
    rolling = task_seconds(pace, [[90, 0, 0, 0]], 2, "rolling")
    assert rolling == 10
    assert task_seconds(pace, [[90, 0, 90, 0]], 2, "batch") == 20
    assert task_seconds(Bandwidth(10.0, 10.0), [[90, 90]], 2, "rolling") == pytest.approx(19.1)
    assert task_seconds(Bandwidth(10.0, 100.0), [[90]], 2, "rolling") == 10


def test_the_controllers_limit_a_large_window() -> None:
    """The controllers create ten pods per second, which limits small pulls on many nodes."""
    assert task_seconds(Bandwidth(1e9), [[0] * 1000], 1000, "rolling") == pytest.approx(100.9)
    assert max_fed_window(3.0) == 30
    assert max_fed_window(0.01) == 1
