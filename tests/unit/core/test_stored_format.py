"""Stored documents of an older format are read; those of a newer format are refused with the needed version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ips_flows.core.errors import NewerFormatError
from ips_flows.core.plan.plan import GroupPlan
from ips_flows.core.results import stored_results
from ips_flows.core.results.records import PlanSummary
from ips_flows.core.results.results import Chunk
from ips_flows.core.results.stored_results import pack, unpack
from ips_flows.core.results.verdict import decide_verdict
from ips_flows.core.task import task
from tests.support.kube_objects import group_plan, summary

NEWER = {"v": 2, "version": 2, "needs": "0.4.0"}
NEEDED = "in format 2: IPS Flow 0.4.0 or later is needed; this is 0.1.0, which reads up to format 1"


def verdict() -> Any:
    return decide_verdict(None, {}, stopped=False, error="no", uid="u", started_at="s", at="a", seconds=1.0)


def test_every_stored_document_has_its_format() -> None:
    """Plans, verdicts and results store the format and the oldest version that reads it."""
    for record in (summary(), verdict()):
        stored = json.loads(record.to_json())
        assert (stored["v"], stored["needs"]) == (1, "0.1.0")
    plan = unpack("plan.json.gz", group_plan().encode())
    assert (plan["v"], plan["needs"]) == (1, "0.1.0")
    chunk = unpack("results.json.gz", stored_results.encode(Chunk(0, 0)))
    assert (chunk["version"], chunk["needs"]) == (1, "0.1.0")


def test_a_document_without_a_format_is_read() -> None:
    """A document without a format has format 1."""
    old = {key: value for key, value in json.loads(summary().to_json()).items() if key not in ("v", "needs")}
    assert PlanSummary.from_json(json.dumps(old)) == summary()
    stored = unpack("plan.json.gz", group_plan().encode())
    del stored["v"], stored["needs"]
    assert GroupPlan.decode(pack("plan.json.gz", stored)) == group_plan()
    chunk = {"version": 1, "group": 0, "attempt": 0, "nodes": {}}
    assert stored_results.decode(pack("results.json.gz", chunk)) == Chunk(0, 0)


def test_a_newer_format_is_refused_with_the_needed_version() -> None:
    """The document is refused before its other fields are read, so nothing is misread."""
    with pytest.raises(NewerFormatError, match=f"PlanSummary is {NEEDED}"):
        PlanSummary.from_json(json.dumps(NEWER))
    with pytest.raises(NewerFormatError, match=f"GroupPlan is {NEEDED}"):
        GroupPlan.decode(pack("plan.json.gz", NEWER))
    with pytest.raises(NewerFormatError, match=f"results are {NEEDED}"):
        stored_results.decode(pack("results.json.gz", NEWER))
    with pytest.raises(NewerFormatError, match="a later IPS Flow is needed"):
        PlanSummary.from_json('{"v": 3}')


@pytest.mark.parametrize("annotation", ["plan", "verdict"])
def test_a_task_of_a_newer_version_is_shown_with_the_needed_version(annotation: str) -> None:
    """It does not break a list: the status comes from the label, and the message has the needed version."""
    seen = task.read_task(
        {
            "metadata": {
                "name": "a",
                "labels": {"ips-flow.io/task": "true", "ips-flow.io/verdict": "completed"},
                "annotations": {f"ips-flow.io/{annotation}": json.dumps(NEWER)},
            },
            "spec": {},
            "status": {"phase": "Succeeded"},
        }
    )
    assert (seen.status, seen.ended) == ("completed", True)
    assert NEEDED in seen.message
