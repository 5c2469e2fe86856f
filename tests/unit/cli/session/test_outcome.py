"""The outcomes of several tasks as one exit code and one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ips_flows.cli.options.common import Target
from ips_flows.cli.session.outcome import Outcome, code_of, verdict_line
from ips_flows.cli.session.targets import ConnectedTarget
from ips_flows.core.errors import IpsFlowError, UnavailableError, UsageError
from ips_flows.core.task.task import Task
from ips_flows.operations.submit import Submission
from tests.unit.cli.output.test_live import PENDING

NOWHERE: Any = None
COMPLETED = replace(PENDING, status="completed", ended=True)
FAILED = replace(PENDING, status="failed", ended=True)
CANCELLED = replace(PENDING, status="cancelled", ended=True)
AWAY = UnavailableError("away")
WRONG = UsageError("wrong")


def outcome(
    end: Task | IpsFlowError | None, context: str = "", *, there: bool = True, cancelled: bool = False
) -> Outcome:
    target = Target(None, context, None)
    submission = Submission(PENDING, created=True) if there else None
    return Outcome(ConnectedTarget(NOWHERE, target, "warm", context), submission, end, cancelled)


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([], 0),
        ([COMPLETED, COMPLETED], 0),
        ([COMPLETED, None], 0),
        ([CANCELLED, COMPLETED], 3),
        ([CANCELLED, WRONG], 2),
        ([COMPLETED, AWAY, WRONG], 1),
        ([WRONG, AWAY], 2),
        ([WRONG, FAILED], 1),
        ([CANCELLED, FAILED], 1),
    ],
)
def test_code(ends: list[Task | IpsFlowError | None], code: int) -> None:
    """The exit code is 1 if a task failed, else that of the first error, else 3 if one was cancelled."""
    assert code_of(map(outcome, ends)) == code
    assert code_of([*map(outcome, ends), outcome(None, cancelled=True)]) == (code or 3)


def test_verdict_line() -> None:
    """Every cluster is named once, with its worst outcome, in the given order."""
    assert (
        verdict_line([outcome(COMPLETED, "b"), outcome(COMPLETED, "a")]) == "2 of 2 clusters completed: b, a"
    )
    assert (
        verdict_line(
            [
                outcome(COMPLETED, "a"),
                outcome(FAILED, "b"),
                outcome(AWAY, "c", there=False),
                outcome(AWAY, "d"),
                outcome(CANCELLED, "e"),
                outcome(None, "f", cancelled=True),
                outcome(None, "g"),
                outcome(COMPLETED, "h"),
            ]
        )
        == "2 of 8 clusters completed: a, h; failed: b; not submitted: c; not followed until it ended: d; "
        "cancelled: e, f; not ended: g"
    )
    several = [
        outcome(FAILED, "a"),
        outcome(COMPLETED, "a"),
        outcome(AWAY, "a", there=False),
        outcome(COMPLETED, "b"),
    ]
    assert verdict_line(several) == "1 of 2 clusters completed: b; failed: a"


def test_marks_are_legible() -> None:
    """The name of a context is escaped."""
    assert outcome(None, "a\x1b[2J\nb").target.mark == r"[a\x1b[2J\nb] "
    assert outcome(None).target.mark == ""
    assert "\x1b" not in verdict_line([outcome(COMPLETED, "a\x1b[2J")])
