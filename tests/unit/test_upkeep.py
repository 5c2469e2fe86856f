"""What the keeper decides, from values alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ips_flows import clock
from ips_flows.conventions import ANNOTATION_CLEANED, ANNOTATION_VERDICT
from ips_flows.server import finishing, upkeep
from ips_flows.server.upkeep import ANNOTATION_TRY, Decision, Do, Ledger
from tests.unit.samples import node

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DONE = {ANNOTATION_VERDICT: "{}", ANNOTATION_CLEANED: "x"}


def ago(seconds: float) -> str:
    return clock.stamp(NOW - timedelta(seconds=seconds))


def workflow(
    name: str = "warm-x", *, phase: str = "Failed", ended: float = 61, annotations: Any = None
) -> dict[str, Any]:
    status = {"phase": phase, "finishedAt": ago(ended) if phase in ("Failed", "Succeeded", "Error") else None}
    labels = {"workflows.argoproj.io/phase": phase}
    metadata = {
        "name": name,
        "uid": f"{name}-uid",
        "labels": labels,
        "annotations": annotations or {},
        "creationTimestamp": ago(ended + 60),
    }
    return {"metadata": metadata, "status": status, "spec": {}}


def job(condition: str = "", *, ended: float = 0, number: int = 1) -> dict[str, Any]:
    conditions = (
        [{"type": condition, "status": "True", "lastTransitionTime": ago(ended)}] if condition else []
    )
    metadata = {"name": "j", "uid": "j", "annotations": {ANNOTATION_TRY: str(number)}}
    return {"metadata": metadata, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("found", "its_job", "expected"),
    [
        (workflow(), None, Decision(Do.START, 1)),
        (workflow(ended=59), None, Decision(Do.WAIT)),
        (workflow(phase="Running"), None, Decision(Do.DONE)),
        (workflow(phase="Succeeded", annotations=DONE), None, Decision(Do.DONE)),
        (workflow(annotations={ANNOTATION_VERDICT: "{}"}), None, Decision(Do.START, 1)),
        (workflow(), job(), Decision(Do.WAIT)),
        (workflow(), job("Failed", ended=9), Decision(Do.WAIT)),
        (workflow(), job("Failed", ended=10), Decision(Do.REPLACE, 2)),
        (workflow(), job("Complete", ended=10), Decision(Do.REPLACE, 2)),
        (workflow(), job("Failed", ended=19, number=2), Decision(Do.WAIT)),
        (workflow(), job("Failed", ended=20, number=2), Decision(Do.REPLACE, 3)),
        (workflow(), job("Failed", ended=300, number=90), Decision(Do.REPLACE, 91)),
    ],
)
def test_an_ended_task(found: Any, its_job: Any, expected: Decision) -> None:
    """A minute after its end it gets a finish Job; one that failed is replaced after a growing pause."""
    assert upkeep.for_ended(found, its_job, NOW) == expected


def test_a_terminated_task_is_not_left_to_argo() -> None:
    """Argo runs no exit handler of a Workflow that was terminated, so there is nothing to wait for."""
    found = workflow(ended=1)
    found["spec"]["shutdown"] = "Stop"
    assert upkeep.for_ended(found, None, NOW) == Decision(Do.WAIT)
    found["spec"]["shutdown"] = "Terminate"
    assert upkeep.for_ended(found, None, NOW) == Decision(Do.START, 1)


def test_a_job_that_is_being_deleted_is_waited_for() -> None:
    """Its name is not free yet."""
    leaving = job("Failed", ended=100)
    leaving["metadata"]["deletionTimestamp"] = ago(1)
    assert upkeep.for_ended(workflow(), leaving, NOW) == Decision(Do.WAIT)


def test_the_back_off_is_bounded() -> None:
    """It doubles from 10 s up to 5 minutes, and a failed Job lives longer than that, so that it is counted."""
    pauses = [upkeep.backoff(number) for number in range(1, 9)]
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert upkeep.backoff(10_000) == 300
    made = finishing.finish_job("t", "u", image="i", number=1, owner_reference={})
    assert made["spec"]["ttlSecondsAfterFinished"] > upkeep.LONGEST_BACKOFF_SECONDS


@pytest.mark.parametrize(
    ("deleted", "left", "its_job", "expected"),
    [
        (0, False, None, Do.DONE),
        (19, True, None, Do.WAIT),
        (20, True, None, Do.START),
        (60, True, job(), Do.WAIT),
        (60, True, job("Complete", ended=60), Do.REPLACE),
        (60, False, job("Complete", ended=1), Do.DONE),
    ],
)
def test_a_deleted_task(deleted: float, left: bool, its_job: Any, expected: Do) -> None:
    """Garbage collection goes first; only what it leaves behind is worth a Job."""
    assert upkeep.for_deleted(ago(deleted), left=left, job=its_job, now=NOW).do is expected


def test_what_is_due() -> None:
    """Tasks that have ended and lack a mark, the oldest first; those that are being deleted are left to it."""
    leaving = workflow("d")
    leaving["metadata"]["deletionTimestamp"] = ago(1)
    ledger = Ledger()
    ledger.replace(
        [
            workflow("young", ended=70),
            workflow("old", ended=90),
            workflow("running", phase="Running"),
            workflow("done", annotations=DONE),
            leaving,
        ]
    )
    assert [metadata["name"] for metadata in ledger.due()] == ["old", "young"]


def test_deletions_are_noticed_in_a_watch_and_in_a_new_list() -> None:
    """Also those that happened while nobody watched, and where the name was taken again; finished tasks are no loss."""
    again = workflow("b")
    again["metadata"]["uid"] = "another"
    ledger = Ledger()
    ledger.replace([workflow("a"), workflow("b"), workflow("c", annotations=DONE), workflow("e")])
    ledger.change(workflow("a"), gone=True)
    ledger.replace([again, workflow("e")])
    assert sorted(metadata["name"] for metadata in ledger.deleted.values()) == ["a", "b"]
    ledger.change(workflow("e", annotations=DONE), gone=True)
    assert sorted(ledger.tasks) == ["another"]
    assert len(ledger.deleted) == 2


@pytest.mark.parametrize(
    ("found", "lost"),
    [
        (None, True),
        (node(ready=True), False),
        (
            {
                "status": {
                    "conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": ago(61)}]
                }
            },
            True,
        ),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": ago(59)}]}},
            False,
        ),
        ({"status": {"conditions": []}}, False),
    ],
)
def test_a_lost_node(found: Any, lost: bool) -> None:
    """It is gone, or has not been Ready for a minute."""
    assert upkeep.is_lost(found, NOW) is lost


def test_a_pod_is_overdue_after_its_grace() -> None:
    """`deletionTimestamp` lies in the future while the pod may still end by itself."""
    assert upkeep.is_overdue({"deletionTimestamp": ago(1)}, NOW)
    assert not upkeep.is_overdue({"deletionTimestamp": ago(-5)}, NOW)
    assert not upkeep.is_overdue({}, NOW)


def test_a_copy_fits_into_a_config_map() -> None:
    """Annotations that are too long are left out; the name and the uid are always there."""
    metadata = workflow(annotations={"x": "y" * 100_000})["metadata"]
    copy = finishing.copy_of(metadata, ago(0))
    assert len(json.dumps(copy)) < 70_000
    kept, at = finishing.read_copy(copy)
    assert (kept["name"], kept["uid"], at) == ("warm-x", "warm-x-uid", ago(0))
    assert "ownerReferences" not in copy["metadata"]
    small = workflow(annotations={"x": "y"})["metadata"]
    assert finishing.read_copy(finishing.copy_of(small, ago(0)))[0] == small


def test_the_image_is_that_of_the_tasks_own_template() -> None:
    """A task ends with the image it began with; without one, the installed template has the word."""
    step = {"container": {"command": ["python", "-m", "steps.finish"], "image": "flow:1"}}
    other = {"container": {"command": ["python", "-m", "steps.drive"], "image": "flow:2"}}
    assert finishing.finish_image({"templates": [{"steps": []}, other, step]}) == "flow:1"
    assert finishing.finish_image({"templates": [other]}, None, {"templates": [step]}) == "flow:1"
    assert finishing.finish_image(None, {}) == ""
