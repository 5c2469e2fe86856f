"""Counts with their nouns, for messages."""


def several(count: int, noun: str, plural: str = "") -> str:
    """Format a count and its noun: `1 node`, `2 nodes`. `plural` is needed if it is not the noun with an `s`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
