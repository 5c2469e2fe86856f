"""Schedules and their runs as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from ips_flows.cli.output.tables import NOTHING, cut, human_duration, shown_status, table, took
from ips_flows.core.task.schedule import Run, Schedule


def schedule_table(
    schedules: Sequence[Schedule], now: datetime, *, wide: bool = False, namespaces: bool = False
) -> str:
    """Return a table with one schedule per row; `wide` adds all settings of its timing."""
    header = ["NAME", "CRON", "TIMEZONE", "SUSPENDED", "NEXT RUN", "LAST RUN", "LAST STATUS", "ACTIVE"]
    if wide:
        header += ["OVERLAP", "DEADLINE", "LAST TASK", "PROBLEM"]
    rows = []
    for one in schedules:
        last = one.last
        row = [
            one.name,
            one.timing.expression or NOTHING,
            one.timing.timezone or NOTHING,
            "yes" if one.timing.suspended else "no",
            f"in {human_duration((one.next_run - now).total_seconds())}" if one.next_run else NOTHING,
            f"{human_duration((now - _when(last)).total_seconds())} ago" if last else NOTHING,
            shown_status(last.task) if last and last.task else NOTHING,
            str(len(one.active)),
        ]
        if wide:
            row += [
                one.timing.overlap,
                human_duration(one.timing.starting_deadline),
                last.task.name if last and last.task else NOTHING,
                cut(one.problem) or NOTHING,
            ]
        rows.append(([one.namespace] if namespaces else []) + row)
    return table((["NAMESPACE"] if namespaces else []) + header, rows)


def history_table(schedule: Schedule, now: datetime) -> str:
    """Return a table with one run per row: when it was due, its task and status, or why the run was missed."""
    rows = [
        [
            local(one.due, schedule.timing.timezone) if one.due else "manual",
            one.task.name if one.task else NOTHING,
            shown_status(one.task) if one.task else "missed",
            took(one.task, now) if one.task else NOTHING,
            cut(one.task.message if one.task else one.why) or NOTHING,
        ]
        for one in schedule.runs
    ]
    return table(["DUE", "TASK", "STATUS", "DURATION", "MESSAGE"], rows)


def local(moment: datetime | None, timezone: str) -> str:
    """Format a time in a schedule's time zone: `2026-01-31 02:00 Asia/Shanghai`."""
    if moment is None:
        return NOTHING
    name = timezone or "UTC"
    return f"{moment.astimezone(ZoneInfo(name)):%Y-%m-%d %H:%M} {name}"


def _when(run: Run) -> datetime:
    made = run.task
    return run.due or datetime.fromisoformat(made.created_at if made else "")
