"""A task is cut to a limited size."""

from __future__ import annotations

import json

from ips_flows.core.notice.event import truncate_task
from ips_flows.core.notice.formats import FORMATS
from tests.support.webhook_events import event, task


def test_a_task_that_fits_is_whole() -> None:
    """Nothing is added to it either."""
    assert truncate_task(task()) == task()


def test_node_statuses_go_first() -> None:
    """They are the longest; the failures stay."""
    long = task(failures=100, nodes=5000)
    found = truncate_task(long)
    assert found["truncated"] is True
    assert found["nodeStatuses"] == {}
    assert found["failedNodeDetails"] == long["failedNodeDetails"]


def test_then_the_last_failures() -> None:
    """As many as fit are kept, from the first; the whole is never larger than allowed, and not much smaller."""
    found = truncate_task(task(failures=5000, message="é" * 300))
    kept = found["failedNodeDetails"]
    assert 0 < len(kept) < 5000
    assert [one["nodeName"] for one in kept] == [f"n{i}" for i in range(len(kept))]
    size = len(json.dumps(found, separators=(",", ":")))
    assert 250 * 1024 < size <= 256 * 1024


def test_then_whatever_is_long() -> None:
    """Drift, for one; what identifies the task is there in any case."""
    found = truncate_task(
        task(failures=10) | {"drift": {f"image-{i}": ["sha256:" + "a" * 64] for i in range(5000)}}
    )
    assert found["drift"] == {}
    assert (found["taskId"], len(found["failedNodeDetails"])) == ("nightly", 10)
    made = FORMATS["cloudevents"].render(event(task=found))
    assert len(made.body) < 257 * 1024
