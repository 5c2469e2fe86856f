"""Counts with their nouns."""

import pytest

from ips_flows.core.counts import several


@pytest.mark.parametrize(
    ("count", "noun", "plural", "text"),
    [
        (0, "node", "", "0 nodes"),
        (1, "node", "", "1 node"),
        (2, "node", "", "2 nodes"),
        (1, "try", "tries", "1 try"),
        (2, "try", "tries", "2 tries"),
    ],
)
def test_the_noun_agrees_with_the_count(count: int, noun: str, plural: str, text: str) -> None:
    """Only the count 1 has the singular."""
    assert several(count, noun, plural) == text
