"""A task is truncated to a limited size."""

from __future__ import annotations

import json

from ips_flows.core.notice.event import truncate_task
from ips_flows.core.notice.formats import FORMATS
from tests.support.webhook_events import event, task


def test_a_task_that_fits_is_whole() -> None:
    """The task is returned without a change."""
    assert truncate_task(task()) == task()


def test_node_statuses_are_removed_first() -> None:
    """Node statuses are the longest field; the failures are kept."""
    long = task(failures=100, nodes=5000)
    found = truncate_task(long)
    assert found["truncated"] is True
    assert found["nodeStatuses"] == {}
    assert found["failedNodeDetails"] == long["failedNodeDetails"]


def test_the_last_failures_are_removed_second() -> None:
    """As many failures as fit are kept, from the first. The size is at most the limit, and close to it."""
    found = truncate_task(task(failures=5000, message="é" * 300))
    kept = found["failedNodeDetails"]
    assert 0 < len(kept) < 5000
    assert [one["nodeName"] for one in kept] == [f"n{i}" for i in range(len(kept))]
    size = len(json.dumps(found, separators=(",", ":")))
    assert 250 * 1024 < size <= 256 * 1024


def test_other_long_fields_are_removed_last() -> None:
    """A long field such as `drift` is removed. The fields that identify the task are always kept."""
    found = truncate_task(
        task(failures=10) | {"drift": {f"image-{i}": ["sha256:" + "a" * 64] for i in range(5000)}}
    )
    assert found["drift"] == {}
    assert (found["taskId"], len(found["failedNodeDetails"])) == ("nightly", 10)
    made = FORMATS["cloudevents"].render(event(task=found))
    assert len(made.body) < 257 * 1024
