"""Cron expressions of Argo in a time zone: validation, and the times when they are due."""

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
# The syntax that both Argo and cronsim support. Argo does not support L, W, #, or 7 for Sunday.
_FIELD = re.compile(r"(?:\*|[0-9]{1,2}|[A-Za-z]{3})(?:-(?:[0-9]{1,2}|[A-Za-z]{3}))?(?:/[0-9]{1,3})?")


def check_expression(text: str) -> str:
    """Return a valid cron expression with single spaces. Raises UsageError that names the invalid field."""
    expression = " ".join(text.split())
    hint = 'Use five fields (minute, hour, day of month, month, day of week) such as "0 2 * * 1-5", or @daily, @hourly, …'
    if expression.startswith("@"):
        if expression not in _SHORT:
            raise UsageError(
                f"cron expression {text!r}: expected one of {', '.join(sorted(_SHORT))}", hint=hint
            )
        return expression
    fields = expression.split(" ")
    if len(fields) != len(_FIELDS):
        raise UsageError(f"cron expression {text!r}: expected 5 fields, got {len(fields)}", hint=hint)
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
    """Return the name of a known time zone. Raises UsageError for an unknown one."""
    if _zone(text) is None:
        raise UsageError(
            f"unknown time zone {text!r}",
            hint="Use a name of the IANA time zone database, such as Asia/Shanghai or UTC.",
        )
    return text


def due_after(expression: str, timezone: str, moment: datetime) -> datetime | None:
    """Return the first due time after `moment`, in UTC; None if the expression or time zone is invalid."""
    return next(_due(expression, timezone, moment), None)


def due_between(expression: str, timezone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the due times later than `after` and not later than `until`, in UTC."""
    return takewhile(lambda due: due <= until, _due(expression, timezone, after))


def _due(expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
    zone = _zone(timezone)
    if zone is None:
        return
    try:
        times = CronSim(_SHORT.get(expression, expression), after.astimezone(zone))
    except CronSimError:  # edited by a user, or a syntax that only Argo supports
        return
    yield from (due.astimezone(UTC) for due in times)


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
