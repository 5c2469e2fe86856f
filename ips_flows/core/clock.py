"""Times as the Kubernetes API writes them, RFC 3339 in UTC, and the wish of a server that wants to be left alone."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime

_LONGEST_WISH = 86_400.0  # seconds


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """`2026-01-31T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Read what the API or `stamp` wrote, with or without fractions of a second."""
    return datetime.fromisoformat(text)


def between(start: str, end: str) -> float:
    """The seconds from one stamp to another."""
    return (parse(end) - parse(start)).total_seconds()


def retry_after(text: str, now: datetime) -> float:
    """The seconds of a Retry-After, a number or a date, at most a day; 0 where it says nothing usable."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), _LONGEST_WISH)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), _LONGEST_WISH)
