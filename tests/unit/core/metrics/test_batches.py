"""The batches of a task: runs of as many ends as the window holds."""

from __future__ import annotations

import pytest

from ips_flows.core.metrics.batches import Batches
from ips_flows.core.results.results import FILTER_GROUP, FINISH_GROUP, Chunk, NodeResult
from tests.support.watch_events import STARTED, failed, node, skipped


def chunk(*nodes: NodeResult, group: int = 0, attempt: int = 0) -> Chunk:
    return Chunk(group, attempt, {f"n{number}": one for number, one in enumerate(nodes)}, STARTED)


def test_a_batch_is_as_many_ends_as_the_window_holds() -> None:
    """From the start, or the end of those before, to the last of them; the last batch of a wave may be smaller."""
    one = Batches()
    assert one.add(chunk(node(10), node(4), node(20), node(30), node(70)), 2, 5) == [10, 20, 40]


def test_a_batch_may_span_stored_results() -> None:
    """They are stored every 30 s, whatever the window is."""
    one = Batches()
    assert one.add(chunk(node(5), node(6)), 3, 4) == []
    assert one.add(chunk(node(40)), 3, 4) == [40]
    assert one.add(chunk(node(41)), 3, 4) == [1]


def test_the_window_in_force_counts() -> None:
    """A window that was made larger or smaller holds from then on."""
    one = Batches()
    assert one.add(chunk(node(5)), 2, 9) == []
    assert one.add(chunk(node(6), node(7)), 3, 9) == [7]
    assert one.add(chunk(node(8)), 1, 9) == [1]


def test_the_next_attempt_has_the_nodes_that_were_lost() -> None:
    """So its last batch is known as well; a failed node has ended like any other."""
    one = Batches()
    assert one.add(chunk(node(5, failed()), node(6, failed()), node(9)), 2, 3) == [6, 3]
    assert one.add(chunk(node(15, failed()), attempt=1), 2, 3) == []
    assert one.add(chunk(node(25), attempt=1), 2, 3) == [25]
    assert one.add(chunk(node(50), attempt=2), 2, 3) == [50]


def test_another_wave_begins_anew() -> None:
    """Its first batch is counted from the start of its own Job."""
    one = Batches()
    assert one.add(chunk(node(5)), 2, 2) == []
    assert one.add(chunk(node(50), group=1), 2, 1) == [50]


def test_an_attempt_of_unknown_size_has_full_batches_only() -> None:
    """Where the one before was not seen, or the size of the wave is not known."""
    one = Batches()
    assert one.add(chunk(node(5), node(6), node(7)), 2, 0) == [6]
    assert one.add(chunk(node(5, failed()), attempt=1), 2, 1) == []
    assert one.add(chunk(node(6, failed()), attempt=3), 2, 1) == []


def test_midway_a_batch_begins_with_the_first_end_that_is_seen() -> None:
    """Nobody knows how many ended before; the attempt after that is whole again."""
    one = Batches(midway=True)
    assert one.add(chunk(node(50), node(57), node(58)), 2, 3) == [8]
    assert one.add(chunk(node(9), group=1), 2, 1) == [9]


@pytest.mark.parametrize("group", [FILTER_GROUP, FINISH_GROUP])
def test_nobody_worked_on_what_filter_and_finish_say(group: int) -> None:
    """Warm, skipped and unreached nodes are no batch."""
    one = Batches()
    assert one.add(chunk(node(5), group=group), 1, 1) == []
    assert one.add(chunk(), 1, 1) == []


def test_nodes_that_the_breaker_left_alone_are_no_batch() -> None:
    """But they belong to the attempt, which is over with them."""
    one = Batches()
    assert one.add(chunk(node(5, failed()), node(9, skipped()), node(9, skipped())), 2, 3) == [9]


def test_a_piece_with_earlier_ends_takes_no_negative_time() -> None:
    """Results that need two ConfigMaps are split by node, not by time."""
    one = Batches()
    assert one.add(chunk(node(50)), 1, 2) == [50]
    assert one.add(chunk(node(20)), 1, 2) == [0]
