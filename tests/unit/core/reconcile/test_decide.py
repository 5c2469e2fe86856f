"""The decisions of the keeper, which depend only on values."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_CLEANED,
    ANNOTATION_NOTICE,
    ANNOTATION_VERDICT,
    ANNOTATION_WEBHOOK,
)
from ips_flows.core.notice import notice
from ips_flows.core.notice.notice import Notice, Outcome, Webhook
from ips_flows.core.reconcile import decide, finish_job
from ips_flows.core.reconcile.decide import ANNOTATION_TRY, Action, Decision, TaskIndex
from tests.support.kube_objects import node

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DONE = {ANNOTATION_VERDICT: "{}", ANNOTATION_CLEANED: "x"}
WEBHOOK = {ANNOTATION_WEBHOOK: Webhook(url="http://hooks.example/").to_json()}
MINUTE, DAY = 60.0, 86_400.0


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


def owing(age: float = 600, record: Notice | None = None, *, notify: bool = True) -> dict[str, str]:
    """Return annotations with a verdict of this age that requires a notification, and the record of its delivery."""
    verdict = json.dumps({"status": "failed", "at": ago(age), "notify": notify})
    recorded = {ANNOTATION_NOTICE: record.to_json()} if record else {}
    return {ANNOTATION_VERDICT: verdict, ANNOTATION_CLEANED: "x", **recorded}


def sent(
    last: float, rounds: int = 1, outcome: Outcome = "undelivered", not_before: float | None = None
) -> Notice:
    """Return a notification whose last round ended `last` seconds ago."""
    return Notice(
        id="i",
        event="task.failed",
        outcome=outcome,
        rounds=rounds,
        first=ago(last),
        last=ago(last),
        not_before="" if not_before is None else ago(not_before),
    )


def job(
    condition: str = "", *, ended: float = 0, number: int = 1, made: float | None = None
) -> dict[str, Any]:
    conditions = (
        [{"type": condition, "status": "True", "lastTransitionTime": ago(ended)}] if condition else []
    )
    metadata = {"name": "j", "uid": "j", "annotations": {ANNOTATION_TRY: str(number)}}
    if made is not None:
        metadata["creationTimestamp"] = ago(made)
    return {"metadata": metadata, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("found", "its_job", "expected"),
    [
        (workflow(), None, Decision(Action.START, 1)),
        (workflow(ended=59), None, Decision(Action.WAIT)),
        (workflow(phase="Running"), None, Decision(Action.DONE)),
        (workflow(phase="Succeeded", annotations=DONE), None, Decision(Action.DONE)),
        (workflow(annotations={ANNOTATION_VERDICT: "{}"}), None, Decision(Action.START, 1)),
        (workflow(), job(), Decision(Action.WAIT)),
        (workflow(), job("Failed", ended=9), Decision(Action.WAIT)),
        (workflow(), job("Failed", ended=10), Decision(Action.REPLACE, 2)),
        (workflow(), job("Complete", ended=10), Decision(Action.REPLACE, 2)),
        (workflow(), job("Failed", ended=19, number=2), Decision(Action.WAIT)),
        (workflow(), job("Failed", ended=20, number=2), Decision(Action.REPLACE, 3)),
        (workflow(), job("Failed", ended=300, number=90), Decision(Action.REPLACE, 91)),
    ],
)
def test_an_ended_task(found: Any, its_job: Any, expected: Decision) -> None:
    """A finish Job starts a minute after the end. A failed Job is replaced after a growing pause."""
    assert decide.decide_ended(found, its_job, NOW) == expected


def test_a_terminated_task_is_not_left_to_argo() -> None:
    """Argo runs no exit handler for a terminated Workflow, so the keeper does not wait for it."""
    found = workflow(ended=1)
    found["spec"]["shutdown"] = "Stop"
    assert decide.decide_ended(found, None, NOW) == Decision(Action.WAIT)
    found["spec"]["shutdown"] = "Terminate"
    assert decide.decide_ended(found, None, NOW) == Decision(Action.START, 1)


@pytest.mark.parametrize(
    ("annotations", "its_job", "expected"),
    [
        # required and never tried
        (owing(), None, Decision(Action.START, 1)),
        (owing(notify=False), None, Decision(Action.DONE)),
        (owing(), job(), Decision(Action.WAIT)),
        (owing(), job("Failed", ended=9), Decision(Action.WAIT)),
        (owing(), job("Failed", ended=10), Decision(Action.REPLACE, 2)),
        (owing(DAY), None, Decision(Action.DONE)),
        # final
        (owing(record=sent(300, outcome="delivered")), None, Decision(Action.DONE)),
        (owing(record=sent(300, outcome="gone")), None, Decision(Action.DONE)),
        (owing(record=sent(300, outcome="refused")), None, Decision(Action.DONE)),
        # undelivered by Argo's own finish
        (owing(record=sent(59)), None, Decision(Action.WAIT)),
        (owing(record=sent(60)), None, Decision(Action.START, 2)),
        # undelivered by Jobs: the pause starts at the last try
        (owing(record=sent(119, 2)), job("Complete", ended=118, made=130), Decision(Action.WAIT)),
        (owing(record=sent(120, 2)), job("Complete", ended=119, made=130), Decision(Action.REPLACE, 2)),
        (owing(record=sent(29 * MINUTE, 40)), None, Decision(Action.WAIT)),
        (owing(record=sent(30 * MINUTE, 40)), None, Decision(Action.START, 41)),
        (owing(record=sent(600, 2)), job(), Decision(Action.WAIT)),
        (owing(record=sent(600, 2)), job("Failed", ended=5, made=60), Decision(Action.WAIT)),
        (owing(record=sent(600, 2)), job("Failed", ended=10, made=60), Decision(Action.REPLACE, 2)),
        # the receiver requires a longer pause
        (owing(record=sent(120, not_before=-30)), None, Decision(Action.WAIT)),
        (owing(record=sent(120, not_before=1)), None, Decision(Action.START, 2)),
        # an old image without notifications: its Jobs succeed and record nothing
        (owing(), job("Complete", ended=59, made=70), Decision(Action.WAIT)),
        (owing(), job("Complete", ended=60, made=70), Decision(Action.REPLACE, 2)),
        (owing(), job("Complete", ended=119, number=2, made=130), Decision(Action.WAIT)),
        (owing(), job("Complete", ended=29 * MINUTE, number=9, made=1800), Decision(Action.WAIT)),
        (owing(record=sent(9000)), job("Complete", ended=1199, number=5, made=1210), Decision(Action.WAIT)),
        (
            owing(record=sent(9000)),
            job("Complete", ended=1200, number=5, made=1210),
            Decision(Action.REPLACE, 6),
        ),
        # a record of another program or of a newer version
        (owing() | {ANNOTATION_NOTICE: "?"}, None, Decision(Action.DONE)),
        (owing() | {ANNOTATION_NOTICE: '{"v": 99}'}, None, Decision(Action.DONE)),
        # the limit of a day does not apply before the task is cleaned
        ({ANNOTATION_VERDICT: owing(2 * DAY)[ANNOTATION_VERDICT]}, None, Decision(Action.START, 1)),
    ],
)
def test_a_required_notification(annotations: Any, its_job: Any, expected: Decision) -> None:
    """A notification is tried again for a day, after growing pauses. Other missing marks have shorter pauses."""
    assert decide.decide_ended(workflow(ended=9000, annotations=annotations), its_job, NOW) == expected


def test_the_pauses_between_two_rounds() -> None:
    """The pauses are 1, 2, 5, 10, 20 and then always 30 minutes: about fifty rounds per day."""
    assert [notice.retry_pause(rounds) / MINUTE for rounds in range(8)] == [1, 1, 2, 5, 10, 20, 30, 30]
    at, rounds = 0.0, 1
    while at < DAY:
        at += notice.retry_pause(rounds)
        rounds += 1
    assert rounds == 53


def test_a_task_that_waits_for_its_next_try_is_not_due() -> None:
    """A receiver that is unavailable for a day does not cause a call every few seconds."""
    ledger = TaskIndex(now=lambda: NOW)
    ledger.replace(
        [
            workflow("never", annotations=owing()),
            workflow("resting", annotations=owing(record=sent(59))),
            workflow("due", annotations=owing(record=sent(60))),
            workflow("delivered", annotations=owing(record=sent(60, outcome="delivered"))),
            workflow("unclean", annotations={ANNOTATION_VERDICT: owing()[ANNOTATION_VERDICT]}),
        ]
    )
    assert sorted(metadata["name"] for metadata in ledger.due()) == ["due", "never", "unclean"]
    for name, record in (("resting", sent(59)), ("delivered", sent(60, outcome="delivered"))):
        ledger.change(workflow(name, annotations=owing(record=record)), gone=True)
    assert [metadata["name"] for metadata in ledger.deleted.values()] == ["resting"]


@pytest.mark.parametrize(
    ("annotations", "deleted", "its_job", "expected"),
    [
        ({}, 30, None, Decision(Action.DONE)),
        (WEBHOOK, 19, None, Decision(Action.WAIT)),
        (WEBHOOK, 20, None, Decision(Action.START, 1)),
        (WEBHOOK, 30, job(), Decision(Action.WAIT)),
        (WEBHOOK, DAY, None, Decision(Action.DONE)),
        (
            WEBHOOK | {ANNOTATION_NOTICE: sent(9, outcome="delivered").to_json()},
            30,
            None,
            Decision(Action.DONE),
        ),
        (WEBHOOK | {ANNOTATION_NOTICE: sent(59).to_json()}, 90, None, Decision(Action.WAIT)),
        (
            WEBHOOK | {ANNOTATION_NOTICE: sent(60).to_json()},
            90,
            job("Complete", ended=58, made=70),
            Decision(Action.REPLACE, 2),
        ),
        (WEBHOOK | owing(), 30, None, Decision(Action.START, 1)),
        (WEBHOOK | owing(DAY), 30, None, Decision(Action.DONE)),
        (WEBHOOK | owing(notify=False), 30, None, Decision(Action.DONE)),
        (owing(), 30, None, Decision(Action.DONE)),  # the webhook is no longer known
    ],
)
def test_the_notice_of_a_deleted_task(
    annotations: Any, deleted: float, its_job: Any, expected: Decision
) -> None:
    """A notification is required by the verdict, or because there is none. It is tried for a day."""
    metadata = workflow(annotations=annotations)["metadata"]
    decided = decide.decide_deleted(metadata, ago(deleted), left=lambda: False, job=its_job, now=NOW)
    assert decided == expected


def test_the_latest_round_of_a_deleted_task() -> None:
    """The result is the final round, else the last one, separately for each task."""
    made = [
        finish_job.notice_map("u", sent(60, 2), {}),
        finish_job.notice_map("u", sent(90, 1), {}),
        finish_job.notice_map("w", sent(9, 1, "delivered"), {}),
        finish_job.notice_map("w", sent(5, 2), {}),
    ]
    assert [one["metadata"]["name"] for one in made][:2] == ["ips-notice-u-2", "ips-notice-u-1"]
    found = {uid: Notice.from_json(text) for uid, text in finish_job.latest_notice(made).items()}
    assert (found["u"].rounds, found["w"].outcome) == (2, "delivered")
    strange = [*made, made[0] | {"data": {"notice.json": '{"v": 99}'}}]
    assert finish_job.latest_notice(strange)["u"] == '{"v": 99}'


def test_a_job_that_is_being_deleted_is_waited_for() -> None:
    """The name of a Job is in use until the Job is deleted."""
    leaving = job("Failed", ended=100)
    leaving["metadata"]["deletionTimestamp"] = ago(1)
    assert decide.decide_ended(workflow(), leaving, NOW) == Decision(Action.WAIT)


def test_the_back_off_is_bounded() -> None:
    """The back-off doubles from 10 s to 5 minutes. A Job is kept longer than any pause, so that it is counted."""
    pauses = [decide.backoff(number) for number in range(1, 9)]
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert decide.backoff(10_000) == 300
    made = finish_job.finish_job("t", "u", image="i", number=1, owner={})
    assert made["spec"]["ttlSecondsAfterFinished"] > max(decide.LONGEST_BACKOFF_SECONDS, *notice.PAUSES)


@pytest.mark.parametrize(
    ("deleted", "left", "its_job", "expected"),
    [
        (0, False, None, Action.DONE),
        (19, True, None, Action.WAIT),
        (20, True, None, Action.START),
        (60, True, job(), Action.WAIT),
        (60, True, job("Complete", ended=60), Action.REPLACE),
        (60, False, job("Complete", ended=1), Action.DONE),
    ],
)
def test_a_deleted_task(deleted: float, left: bool, its_job: Any, expected: Action) -> None:
    """The keeper waits for garbage collection, and starts a Job only if objects remain."""
    metadata = workflow()["metadata"]
    decided = decide.decide_deleted(metadata, ago(deleted), left=lambda: left, job=its_job, now=NOW)
    assert decided.do is expected


def test_what_is_due() -> None:
    """Ended tasks that lack a mark are due, the oldest first, except tasks that are being deleted."""
    leaving = workflow("d")
    leaving["metadata"]["deletionTimestamp"] = ago(1)
    ledger = TaskIndex(now=lambda: NOW)
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
    """Deletions are detected after a broken watch, and if the name is reused. Tasks with every mark are ignored."""
    again = workflow("b")
    again["metadata"]["uid"] = "another"
    ledger = TaskIndex(now=lambda: NOW)
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
    """A node counts as lost if it does not exist, or if it has not been Ready for a minute."""
    assert decide.is_lost(found, NOW) is lost


def test_a_pod_is_overdue_after_its_grace() -> None:
    """`deletionTimestamp` is in the future while the pod may still end by itself."""
    assert decide.is_overdue({"deletionTimestamp": ago(1)}, NOW)
    assert not decide.is_overdue({"deletionTimestamp": ago(-5)}, NOW)
    assert not decide.is_overdue({}, NOW)


def test_a_copy_fits_into_a_config_map() -> None:
    """Annotations that are too long are left out. Name and UID are always kept."""
    metadata = workflow(annotations={"x": "y" * 100_000})["metadata"]
    copy = finish_job.copy_of(metadata, ago(0))
    assert len(json.dumps(copy)) < 70_000
    kept, at = finish_job.read_copy(copy)
    assert (kept["name"], kept["uid"], at) == ("warm-x", "warm-x-uid", ago(0))
    assert "ownerReferences" not in copy["metadata"]
    large = workflow(annotations={"x": "y" * 100_000, **WEBHOOK, **DONE})["metadata"]
    kept = finish_job.read_copy(finish_job.copy_of(large, ago(0)))[0]
    assert kept["annotations"] == WEBHOOK | DONE  # the annotations that the notification needs
    small = workflow(annotations={"x": "y"})["metadata"]
    assert finish_job.read_copy(finish_job.copy_of(small, ago(0)))[0] == small


def test_the_image_is_that_of_the_tasks_own_template() -> None:
    """The image is the one that the task started with, else the one of the installed template."""
    step = {"container": {"command": ["python", "-m", "steps.finish"], "image": "flow:1"}}
    other = {"container": {"command": ["python", "-m", "steps.drive"], "image": "flow:2"}}
    assert finish_job.finish_image({"templates": [{"steps": []}, other, step]}) == "flow:1"
    assert finish_job.finish_image({"templates": [other]}, None, {"templates": [step]}) == "flow:1"
    assert finish_job.finish_image(None, {}) is None
