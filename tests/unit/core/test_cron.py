"""Cron expressions of Argo."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ips_flows.core import clock, cron
from ips_flows.core.errors import UsageError

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("  */15   0-6,22  1,15 JAN-MAR mon-fri ", "*/15 0-6,22 1,15 JAN-MAR mon-fri"),
        ("5/10 * * * 0", "5/10 * * * 0"),
        ("@daily", "@daily"),
    ],
)
def test_valid_expressions(text: str, expression: str) -> None:
    """A valid expression is returned with single spaces and is otherwise unchanged."""
    assert cron.check_expression(text) == expression


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 5 fields, got 1"),
        ("* * * *", "expected 5 fields, got 4"),
        ("0 0 2 * * *", "expected 5 fields, got 6"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("5-3 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"),
        ("* * L * *", "day of month is 'L'"),
        ("* * * * 1#2", "day of week is '1#2'"),
        ("* * * * 7", "numbers from 0 (Sunday) to 6"),
        ("* * * * 1-7", "numbers from 0 (Sunday) to 6"),
        ("* * * * FOO", "bad day-of-week"),
        ("0 2 30 2 *", "bad day-of-month"),
        ("0 2 31 2,4 *", "bad day-of-month"),
        ("@every 1h", "expected one of @annually"),
        ("TZ=UTC 0 2 * * *", "expected 5 fields, got 6"),
        ("{{x}} * * * *", "minute is '{{x}}'"),
    ],
)
def test_invalid_expressions(text: str, message: str) -> None:
    """The message has the invalid field, or the number of fields."""
    with pytest.raises(UsageError) as caught:
        cron.check_expression(text)
    assert message in caught.value.message
    assert repr(text) in caught.value.message


def test_time_zones() -> None:
    """Only names of the IANA database are valid; a path is not."""
    assert cron.check_timezone("Asia/Shanghai") == "Asia/Shanghai"
    for text in ("Asia/Nowhere", "../../etc/passwd", "+08:00"):
        with pytest.raises(UsageError, match="unknown time zone"):
            cron.check_timezone(text)


@pytest.mark.parametrize(
    ("expression", "timezone", "due"),
    [
        ("0 2 * * *", "UTC", "2026-03-02T02:00:00Z"),
        ("0 2 * * *", "Asia/Shanghai", "2026-03-01T18:00:00Z"),
        ("@hourly", "", "2026-03-01T13:00:00Z"),
        ("30 2 29 3 *", "Europe/Berlin", "2026-03-29T01:00:00Z"),  # 2:30 does not exist there that day
        ("0 0 1 * MON", "UTC", "2026-03-02T00:00:00Z"),  # the first of the month, or any Monday
    ],
)
def test_next_due_time(expression: str, timezone: str, due: str) -> None:
    """Fields are in the schedule's time zone; the result is in UTC."""
    found = cron.due_after(expression, timezone, AT)
    assert found
    assert clock.stamp(found) == due


def test_an_unsupported_expression_is_never_due() -> None:
    """A CronWorkflow of another client may have a syntax that only Argo supports."""
    assert cron.due_after("@every 1h", "UTC", AT) is None
    assert cron.due_after("* * * * *", "Mars/Olympus", AT) is None


def test_due_times_between_two_moments() -> None:
    """The first moment is excluded, the last one is included."""
    until = datetime(2026, 3, 1, 15, 0, tzinfo=UTC)
    found = [clock.stamp(one) for one in cron.due_between("0 * * * *", "UTC", AT, until)]
    assert found == [f"2026-03-01T{hour}:00:00Z" for hour in (13, 14, 15)]
