"""Cron expressions as Argo reads them."""

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
def test_what_argo_takes(text: str, expression: str) -> None:
    """Blanks are made even, all else is left as it was written."""
    assert cron.check_expression(text) == expression


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got 1 fields, expected 5"),
        ("* * * *", "got 4 fields, expected 5"),
        ("0 0 2 * * *", "got 6 fields, expected 5"),
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
        ("TZ=UTC 0 2 * * *", "got 6 fields"),
        ("{{x}} * * * *", "minute is '{{x}}'"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    """Each message names the field, or how many there are."""
    with pytest.raises(UsageError) as caught:
        cron.check_expression(text)
    assert words in caught.value.message
    assert repr(text) in caught.value.message


def test_time_zones() -> None:
    """Names of the IANA list, and nothing that leads to a file."""
    assert cron.check_timezone("Asia/Shanghai") == "Asia/Shanghai"
    for text in ("Asia/Nowhere", "../../etc/passwd", "+08:00"):
        with pytest.raises(UsageError, match="is not known"):
            cron.check_timezone(text)


@pytest.mark.parametrize(
    ("expression", "timezone", "due"),
    [
        ("0 2 * * *", "UTC", "2026-03-02T02:00:00Z"),
        ("0 2 * * *", "Asia/Shanghai", "2026-03-01T18:00:00Z"),
        ("@hourly", "", "2026-03-01T13:00:00Z"),
        ("30 2 29 3 *", "Europe/Berlin", "2026-03-29T01:00:00Z"),  # 2:30 does not exist there that day
        ("0 0 1 * MON", "UTC", "2026-03-02T00:00:00Z"),  # the first or any Monday
    ],
)
def test_when_it_is_due(expression: str, timezone: str, due: str) -> None:
    """In the schedule's own time zone, told in UTC."""
    found = cron.due_after(expression, timezone, AT)
    assert found
    assert clock.stamp(found) == due


def test_what_can_not_be_read_is_never_due() -> None:
    """Someone else's CronWorkflow may hold what only Argo knows."""
    assert cron.due_after("@every 1h", "UTC", AT) is None
    assert cron.due_after("* * * * *", "Mars/Olympus", AT) is None


def test_every_time_between_two_moments() -> None:
    """The first moment is left out, the last one is in."""
    until = datetime(2026, 3, 1, 15, 0, tzinfo=UTC)
    found = [clock.stamp(one) for one in cron.due_between("0 * * * *", "UTC", AT, until)]
    assert found == [f"2026-03-01T{hour}:00:00Z" for hour in (13, 14, 15)]
