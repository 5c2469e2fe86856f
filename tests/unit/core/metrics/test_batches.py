"""The batches of a task: a batch has as many ended nodes as the window."""

from __future__ import annotations

import pytest

from ips_flows.core.metrics.batches import Batches
from ips_flows.core.results.results import FILTER_GROUP, FINISH_GROUP, Chunk, NodeResult
from tests.support.watch_events import STARTED, failed, node, skipped


def chunk(*nodes: NodeResult, group: int = 0, attempt: int = 0) -> Chunk:
    return Chunk(group, attempt, {f"n{number}": one for number, one in enumerate(nodes)}, STARTED)


def test_a_batch_has_as_many_ends_as_the_window() -> None:
    """It starts at the start or the end of the previous batch. The last batch of a wave may be smaller."""
    one = Batches()
    assert one.add(chunk(node(10), node(4), node(20), node(30), node(70)), 2, 5) == [10, 20, 40]


def test_a_batch_may_span_stored_results() -> None:
    """Results are stored every 30 s, independent of the window."""
    one = Batches()
    assert one.add(chunk(node(5), node(6)), 3, 4) == []
    assert one.add(chunk(node(40)), 3, 4) == [40]
    assert one.add(chunk(node(41)), 3, 4) == [1]


def test_the_current_window_counts() -> None:
    """A changed window applies from the next results on."""
    one = Batches()
    assert one.add(chunk(node(5)), 2, 9) == []
    assert one.add(chunk(node(6), node(7)), 3, 9) == [7]
    assert one.add(chunk(node(8)), 1, 9) == [1]


def test_the_next_attempt_has_the_failed_nodes() -> None:
    """So the size of its last batch is known. A failed node counts as an ended node."""
    one = Batches()
    assert one.add(chunk(node(5, failed()), node(6, failed()), node(9)), 2, 3) == [6, 3]
    assert one.add(chunk(node(15, failed()), attempt=1), 2, 3) == []
    assert one.add(chunk(node(25), attempt=1), 2, 3) == [25]
    assert one.add(chunk(node(50), attempt=2), 2, 3) == [50]


def test_another_wave_starts_a_new_batch() -> None:
    """The first batch of a wave starts at the start of its Job."""
    one = Batches()
    assert one.add(chunk(node(5)), 2, 2) == []
    assert one.add(chunk(node(50), group=1), 2, 1) == [50]


def test_an_attempt_of_unknown_size_has_full_batches_only() -> None:
    """The size is unknown if the previous attempt was not seen, or if the wave's size is unknown."""
    one = Batches()
    assert one.add(chunk(node(5), node(6), node(7)), 2, 0) == [6]
    assert one.add(chunk(node(5, failed()), attempt=1), 2, 1) == []
    assert one.add(chunk(node(6, failed()), attempt=3), 2, 1) == []


def test_midway_a_batch_begins_with_the_first_end_that_is_seen() -> None:
    """The number of earlier ends is unknown. The next wave is counted completely."""
    one = Batches(midway=True)
    assert one.add(chunk(node(50), node(57), node(58)), 2, 3) == [8]
    assert one.add(chunk(node(9), group=1), 2, 1) == [9]


@pytest.mark.parametrize("group", [FILTER_GROUP, FINISH_GROUP])
def test_results_of_filter_and_finish_are_not_counted(group: int) -> None:
    """Warm, skipped and unreached nodes are not part of a batch."""
    one = Batches()
    assert one.add(chunk(node(5), group=group), 1, 1) == []
    assert one.add(chunk(), 1, 1) == []


def test_nodes_skipped_by_the_breaker_are_no_batch() -> None:
    """Skipped nodes belong to the attempt, which ends with them."""
    one = Batches()
    assert one.add(chunk(node(5, failed()), node(9, skipped()), node(9, skipped())), 2, 3) == [9]


def test_a_duration_is_never_negative() -> None:
    """Results in two ConfigMaps are split by node, so the second may have earlier ends."""
    one = Batches()
    assert one.add(chunk(node(50)), 1, 2) == [50]
    assert one.add(chunk(node(20)), 1, 2) == [0]
