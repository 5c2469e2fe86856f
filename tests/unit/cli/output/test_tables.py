"""Formatted values and tables."""

from __future__ import annotations

import pytest

from ips_flows.cli.output import tables


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (599, "9m59s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (19800, "5h30m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (864000, "10d"),
    ],
)
def test_durations_are_as_kubectl_writes_them(seconds: float, text: str) -> None:
    """A duration has at most two units, the second only for small values."""
    assert tables.human_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (4_196_390, "4.2 MB"),
        (214_000_000, "214 MB"),
        (999_600_000, "1.0 GB"),
        (12_300_000_000, "12 GB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_sizes_are_decimal(count: int | None, text: str) -> None:
    """Sizes are in powers of 1000; an unknown size is a dash, never 0."""
    assert tables.human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.07, "0.1 s"), (9.96, "10 s"), (12, "12 s"), (330, "5m30s")]
)
def test_seconds_are_short(seconds: float | None, text: str) -> None:
    """Only short times have tenths of a second."""
    assert tables.human_seconds(seconds) == text


def test_a_table_is_shaped_like_kubectls() -> None:
    """Columns are three spaces apart; no line has trailing spaces."""
    assert tables.table(["NAME", "STATUS"], [["a", "running"], ["longer", ""]]) == (
        "NAME     STATUS\na        running\nlonger"
    )


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_fitted_table_is_no_wider_than_the_terminal(width: int) -> None:
    """Messages and images are cut before the names of nodes; reasons are never cut."""
    node = "ip-10-0-2-14.eu-central-1.compute.internal"
    row = [node, "registry.example.com/some/long/team/name/app:2026.01", "NotFound", "a message " * 20]
    text = tables.fitted(
        ["NODE", "IMAGE", "REASON", "MESSAGE"],
        [row],
        width,
        ({"IMAGE": 24, "MESSAGE": 24}, {"NODE": 12, "IMAGE": 10, "MESSAGE": 10}),
    )
    assert max(map(len, text.splitlines())) <= width
    assert "NotFound" in text
    assert node in text or width < 120


def test_a_table_for_a_pipe_is_whole() -> None:
    """Nothing is cut without a terminal."""
    assert "x" * 500 in tables.fitted(["A", "MESSAGE"], [["a", "x" * 500]], None, ({"MESSAGE": 5},))
