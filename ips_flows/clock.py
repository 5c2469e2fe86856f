"""Times as the Kubernetes API writes them: RFC 3339, UTC."""

from __future__ import annotations

from datetime import UTC, datetime


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
