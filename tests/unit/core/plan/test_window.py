from __future__ import annotations

import random

import pytest

from ips_flows.core.plan.window import WindowState, breaker_open, job_parallelism, parse_window, ungatable


def state(**values: object) -> WindowState:
    defaults: dict[str, object] = {"window": 2, "pulling": 0, "gated": (), "ended": 0, "reached": 0}
    return WindowState(**{**defaults, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (state(gated=(0, 1, 2)), [0, 1]),
        (state(gated=(2, 1, 0)), [0, 1]),
        (state(gated=(1, 2), pulling=1), [1]),
        (state(gated=(2,), pulling=2), []),
        (state(gated=(2, 3), pulling=1, ended=1, reached=1), [2]),
        (state(gated=(2, 3), pulling=0, ended=2, reached=1), [2, 3]),
        (state(gated=(3,), pulling=3, ended=1, reached=1), []),
    ],
)
def test_free_slots_go_to_the_lowest_indexes(now: WindowState, expected: list[int]) -> None:
    """Nodes start in the order of their indexes, as many as the window has free slots."""
    assert list(ungatable(now)) == expected


def test_the_first_window_is_a_probe() -> None:
    """Until a node has an image, the slot of a failed node is not reused."""
    assert list(ungatable(state(gated=(2, 3), pulling=1, ended=1, reached=0))) == []
    assert list(ungatable(state(gated=(2, 3), pulling=1, awaited=1, reached=0))) == []


def test_the_breaker_opens_after_a_whole_window_without_an_image() -> None:
    """A first window without any image opens the breaker; one image on one node keeps it closed."""
    assert breaker_open(state(ended=2, reached=0))
    assert not breaker_open(state(ended=2, reached=1))
    assert not breaker_open(state(ended=1, reached=0, pulling=1))
    assert list(ungatable(state(ended=2, reached=0, gated=(2, 3)))) == []


def test_never_more_than_the_window_pull() -> None:
    """In any order of ends, the number of pulling nodes is within the window, and all nodes are done."""
    generator = random.Random(7)  # noqa: S311
    for _ in range(200):
        nodes, window = generator.randint(1, 40), generator.randint(1, 12)
        gated, pulling, ended, reached = set(range(nodes)), set[int](), 0, 0
        while gated or pulling:
            now = WindowState(window, len(pulling), tuple(gated), ended, reached)
            start = set(ungatable(now))
            assert start <= gated
            gated -= start
            pulling |= start
            assert 0 < len(pulling) <= window
            done = generator.choice(sorted(pulling))
            pulling.remove(done)
            ended += 1
            reached += 1
        assert ended == nodes


@pytest.mark.parametrize(
    ("window", "nodes", "pods"),
    [(1, 1, 1), (1, 2, 2), (1, 9, 2), (10, 100, 13), (10, 12, 12), (1000, 5000, 1250)],
)
def test_the_job_holds_a_reserve(window: int, nodes: int, pods: int) -> None:
    """The Job's parallelism is the window plus a quarter, at most the number of nodes."""
    assert job_parallelism(window, nodes) == pods


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (state(barrier=0, gated=(0, 1, 2)), [0, 1]),
        (state(barrier=0, gated=(2, 3), pulling=1, ended=1, reached=1), []),
        (state(barrier=0, gated=(2, 3, 4), ended=2, reached=2), [2, 3]),
        (state(barrier=0, gated=(3, 4), pulling=1, ended=2, reached=2), [3]),
        (state(barrier=3, gated=(3, 4), pulling=1, ended=2, reached=2), []),
        (state(barrier=3, gated=(3, 4, 5), ended=3, reached=3), [3, 4]),
    ],
    ids=[
        "the first batch",
        "a node of the batch still pulls",
        "the next batch",
        "the rest of a batch whose pods were created late",
        "a node from before the window's change still pulls",
        "a batch of the new window",
    ],
)
def test_batches_have_a_strict_barrier(now: WindowState, expected: list[int]) -> None:
    """The next batch starts when every node of the previous batch has ended, also after a change of the window."""
    assert list(ungatable(now)) == expected


def test_batches_in_any_run() -> None:
    """When a node starts, every earlier node is in the same batch or has ended. All nodes are done."""
    generator = random.Random(11)  # noqa: S311
    for _ in range(200):
        nodes, window = generator.randint(1, 40), generator.randint(1, 12)
        waiting, pulling, started, ended = list(range(nodes)), set[int](), 0, 0
        while waiting or pulling:
            created = waiting[: generator.randint(1, window)]  # not every pod is created yet
            now = WindowState(window, len(pulling), tuple(created), ended, ended, barrier=0)
            for index in ungatable(now):
                waiting.remove(index)
                batch = started // window
                assert all(one // window == batch for one in pulling)
                pulling.add(started)
                started += 1
            assert 0 < len(pulling) <= window
            pulling.remove(generator.choice(sorted(pulling)))
            ended += 1
        assert ended == nodes


def test_a_pause_starts_nothing() -> None:
    """With window 0 no node starts, and the breaker stays closed."""
    for barrier in (None, 0):
        paused = state(window=0, gated=(1, 2), ended=3, reached=0, barrier=barrier)
        assert list(ungatable(paused)) == []
        assert not breaker_open(paused)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("50", 50),
        ("1000", 1000),
        ("10%", 3),
        ("1%", 1),
        ("100%", 25),
        ("1001", None),
        ("00", 0),
        ("007", 7),
        ("0%", None),
        ("-1", None),
        ("", None),
        ("ten", None),
        ("٣", None),
    ],
)
def test_parse_window(text: str, expected: int | None) -> None:
    """A window is a number, 0 for a pause, or a percentage of the eligible nodes, rounded up."""
    assert parse_window(text, 25) == expected
