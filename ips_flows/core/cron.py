"""Cron expressions as Argo reads them, in a time zone: what is refused, and when they are due."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from ips_flows.core.errors import UsageError

_SHORT = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
# What both Argo and our own calendar understand; Argo knows neither L, W, # nor a Sunday that is 7.
_FIELD = re.compile(r"(?:\*|[0-9]{1,2}|[A-Za-z]{3})(?:-(?:[0-9]{1,2}|[A-Za-z]{3}))?(?:/[0-9]{1,3})?")


def check_expression(text: str) -> str:
    """A cron expression, its blanks made even. Raises UsageError that names the field and what it may be."""
    expression = " ".join(text.split())
    hint = 'Five fields: minute, hour, day of month, month, day of week, such as "0 2 * * 1-5"; or @daily, @hourly, …'
    if expression.startswith("@"):
        if expression not in _SHORT:
            raise UsageError(
                f"cron expression {text!r}: expected one of {', '.join(sorted(_SHORT))}", hint=hint
            )
        return expression
    fields = expression.split(" ")
    if len(fields) != len(_FIELDS):
        raise UsageError(f"cron expression {text!r}: got {len(fields)} fields, expected 5", hint=hint)
    for name, field in zip(_FIELDS, fields, strict=True):
        terms = field.split(",")
        sunday = name == "day of week" and any(re.search(r"(^|-)0?7(/|$)", term) for term in terms)
        if sunday or not all(_FIELD.fullmatch(term) for term in terms):
            wanted = (
                "numbers from 0 (Sunday) to 6" if sunday else 'numbers, names, "*", ranges, steps and lists'
            )
            raise UsageError(f"cron expression {text!r}: {name} is {field!r}, expected {wanted}", hint=hint)
    try:
        CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise UsageError(f"cron expression {text!r}: {str(error).lower()}", hint=hint) from error
    return expression


def check_timezone(text: str) -> str:
    """The name of a time zone. Raises UsageError for one that nobody knows."""
    if _zone(text) is None:
        raise UsageError(
            f"time zone {text!r} is not known",
            hint="Take a name of the IANA list, such as Asia/Shanghai or UTC.",
        )
    return text


def due_after(expression: str, timezone: str, moment: datetime) -> datetime | None:
    """When the expression is due next after a moment, in UTC; None where it or its zone can't be read."""
    return next(_due(expression, timezone, moment), None)


def due_between(expression: str, timezone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Each time that the expression was due after one moment, up to and with another, in UTC."""
    return takewhile(lambda due: due <= until, _due(expression, timezone, after))


def _due(expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
    zone = _zone(timezone)
    if zone is None:
        return
    try:
        times = CronSim(_SHORT.get(expression, expression), after.astimezone(zone))
    except CronSimError:  # someone else's hand, or a form that only Argo knows
        return
    yield from (due.astimezone(UTC) for due in times)


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
