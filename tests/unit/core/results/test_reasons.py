"""Reasons have a meaning for the documents, and texts in every language of the page."""

from __future__ import annotations

import re

import pytest

from ips_flows.core.forecast.issues import IssueKind
from ips_flows.core.results.reasons import PLANNED_SKIPS, DocumentedEnum, FailureReason, SkipReason
from tests.support.paths import ROOT


@pytest.mark.parametrize("reasons", [FailureReason, SkipReason, IssueKind])
def test_every_reason_has_a_meaning(reasons: type[DocumentedEnum]) -> None:
    """Every reason has a meaning; values and meanings are unique."""
    assert all(one.meaning for one in reasons)
    assert len({one.meaning for one in reasons}) == len(list(reasons)) == len(reasons.__members__)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_has_words_for_every_reason(language: str) -> None:
    """Each language has a name for each reason and an advice for each failure."""
    (file,) = (ROOT / "ips_flows" / "server" / "web").rglob(f"{language}.js")
    text = file.read_text(encoding="utf-8")
    keys = [f"reason.{one}" for one in (*FailureReason, *SkipReason)]
    keys += [f"advice.{one}" for one in FailureReason]
    assert [key for key in keys if f'"{key}":' not in text] == []


def test_the_page_knows_the_reasons_of_the_plan() -> None:
    """The page distinguishes nodes that the plan skipped from nodes that were never started."""
    text = (ROOT / "ips_flows" / "server" / "web" / "results.js").read_text(encoding="utf-8")
    found = re.search(r"LEFT_OUT = new Set\(\[(.*?)\]\)", text, re.DOTALL)
    assert found
    assert set(re.findall(r'"(\w+)"', found[1])) == PLANNED_SKIPS
