"""Times in the format of the Kubernetes API (RFC 3339, UTC), and the Retry-After header."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime

_LONGEST_WISH = 86_400.0  # seconds; a longer Retry-After is cut to this


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Format a time as `2026-01-31T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Parse a time from the API or from `stamp`, with or without fractions of a second."""
    return datetime.fromisoformat(text)


def between(start: str, end: str) -> float:
    """Return the seconds from one stamp to another."""
    return (parse(end) - parse(start)).total_seconds()


def retry_after(text: str, now: datetime) -> float:
    """Return the seconds of a Retry-After header (a number or a date), at most a day; 0 if it is not usable."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), _LONGEST_WISH)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), _LONGEST_WISH)
