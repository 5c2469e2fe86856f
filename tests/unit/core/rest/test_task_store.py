"""The rows of tasks, from what four collections tell in whatever order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ips_flows.core.constants import (
    ANNOTATION_COLUMNS,
    ANNOTATION_PLAN,
    ANNOTATION_PROGRESS,
    ANNOTATION_VERDICT,
    LABEL_TASK,
    LABEL_VERDICT,
    LABEL_WORKFLOW_UID,
)
from ips_flows.core.rest.task_store import DONE, JOBS, LIVE, RESULTS, Snapshot, TaskStore
from ips_flows.core.rest.trim import trim_metadata, trim_workflow
from ips_flows.core.results.records import FailureLine, GroupProgress, Verdict
from ips_flows.core.results.results import NodeResult
from ips_flows.core.results.verdict import decide_verdict
from tests.fakes.argo import failed, pulled
from tests.support import kube_objects

Json = dict[str, Any]
REQUEST = {
    "images": ["busybox:1"],
    "maxRetries": 3,
    "nodes": ["n1", "n2"],
    "webhookUrl": "https://hooks.example.com",
}


def workflow(name: str, *, phase: str = "", created: str = "2026-01-01T00:00:00Z", priority: int = 5) -> Json:
    """A task's Workflow as Argo has it."""
    labels = {LABEL_TASK: "true", **({"workflows.argoproj.io/phase": phase} if phase else {})}
    columns = {"images": 1, "priority": priority, "batchSize": 10}
    return {
        "metadata": {
            "name": name,
            "namespace": "warm",
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "creationTimestamp": created,
            "labels": labels,
            "annotations": {ANNOTATION_COLUMNS: json.dumps(columns)},
            "managedFields": [{"manager": "x" * 1000}],
        },
        "spec": {
            "priority": priority,
            "arguments": {"parameters": [{"name": "request", "value": json.dumps(REQUEST)}]},
            "templates": ["x" * 10_000],
        },
        "status": {"phase": phase, "nodes": {"x": {"message": "x" * 10_000}}} if phase else {},
    }


def live(name: str, **fields: Any) -> Json:
    return trim_workflow(workflow(name, **fields))


def done(name: str, *, good: bool = True, version: str = "2", **fields: Any) -> Json:
    """A task with its verdict, as metadata alone."""
    whole = workflow(name, phase="Succeeded" if good else "Failed", **fields)
    plan = kube_objects.summary(eligible=2).model_copy(update={"images": ("busybox:1",)})
    nodes: dict[str, NodeResult] = {"n1": pulled(), "n2": pulled() if good else failed()}
    verdict: Verdict = decide_verdict(
        plan,
        nodes,
        stopped=False,
        error="",
        uid=f"uid-{name}",
        started_at="2026-01-01T00:00:00Z",
        at="2026-01-01T00:01:00Z",
        seconds=60,
    )
    metadata = whole["metadata"]
    metadata["resourceVersion"] = version
    metadata["labels"][LABEL_VERDICT] = verdict.status
    metadata["annotations"] |= {ANNOTATION_PLAN: plan.to_json(), ANNOTATION_VERDICT: verdict.to_json()}
    return trim_metadata({"metadata": metadata})


def job(name: str, *, done: int = 0, pulling: int = 0) -> Json:
    said = GroupProgress(group=0, attempt=0, wave="wave-1", total=2, done=done, pulling=pulling)
    return {
        "metadata": {
            "name": f"{name}-g0-a0",
            "labels": {LABEL_WORKFLOW_UID: f"uid-{name}"},
            "annotations": {ANNOTATION_PROGRESS: said.to_json()},
        }
    }


def shown(roster: TaskStore) -> Snapshot:
    view = roster.snapshot()
    assert view is not None
    return view


def statuses(view: Snapshot) -> dict[str, str]:
    return {row.name: row.status for row in view.rows}


def body(view: Snapshot, name: str) -> Json:
    document: Json = json.loads(view.by_name[name].body())
    return document


def test_what_is_kept_does_not_grow_with_the_task() -> None:
    """Of a Workflow neither nodes nor templates, of a request no list of nodes, of metadata no managed fields."""
    kept = live("a", phase="Running")
    text = json.dumps(kept)
    assert "xxx" not in text
    assert "n2" not in text
    assert kept["status"] == {"phase": "Running", "nodes": {}}
    asked = json.loads(kept["spec"]["arguments"]["parameters"][0]["value"])
    assert asked == {key: value for key, value in REQUEST.items() if key != "nodes"}


def test_newest_first_and_then_by_name() -> None:
    """As the command line has it."""
    roster = TaskStore()
    roster.replace(
        LIVE,
        [
            live("b"),
            live("a"),
            live("new", created="2026-01-02T00:00:00Z"),
            live("old", created="2025-01-01T00:00:00Z"),
        ],
    )
    assert [row.name for row in shown(roster).rows] == ["new", "a", "b", "old"]


def test_nothing_new_is_no_view() -> None:
    """A list that says what was known makes no work for readers."""
    roster = TaskStore()
    roster.replace(DONE, [])
    assert roster.snapshot() is not None
    assert roster.snapshot() is None
    roster.replace(LIVE, [live("a")])
    roster.replace(DONE, [done("b")])
    roster.add_details(workflow("b"))
    assert roster.snapshot() is not None
    roster.replace(DONE, [done("b")])
    roster.replace(RESULTS, [{"metadata": {"name": "x"}}])
    roster.change(RESULTS, {"metadata": {"name": "x"}})
    assert roster.snapshot() is None


@pytest.mark.parametrize("first", ["live goes", "done comes"])
def test_a_task_that_ends_is_there_all_the_time(first: str) -> None:
    """Whichever collection is faster: until the other tells, it is shown as it was."""
    roster = TaskStore()
    roster.replace(LIVE, [live("a", phase="Running")])
    assert statuses(shown(roster)) == {"a": "running"}
    if first == "live goes":
        roster.change(LIVE, live("a", phase="Running"), gone=True)
        assert roster.leaving == {"uid-a": "a"}
        assert roster.snapshot() is None
        roster.change(DONE, done("a"))
    else:
        roster.change(DONE, done("a"))
        roster.change(LIVE, live("a", phase="Running"))  # late
        roster.change(LIVE, live("a", phase="Running"), gone=True)
    assert statuses(shown(roster)) == {"a": "completed"}
    assert roster.leaving == {}
    assert roster.incoming == {}


def test_the_request_is_remembered_beyond_the_end() -> None:
    """The metadata of an ended task has not what was asked; who saw it live knows it, and so its later changes."""
    roster = TaskStore()
    roster.replace(LIVE, [live("a", phase="Running")])
    roster.change(DONE, done("a"))
    assert body(shown(roster), "a")["maxRetries"] == 3
    roster.change(DONE, done("a", version="3"))
    found = body(shown(roster), "a")
    assert (found["maxRetries"], found["webhookUrl"]) == (3, "https://hooks.example.com")


def test_a_task_that_was_never_seen_live_is_read_first() -> None:
    """It is not shown with defaults that may be wrong."""
    roster = TaskStore()
    roster.replace(DONE, [done("a")])
    assert roster.without_failures() == []
    assert roster.without_details() == {"uid-a": "a"}
    assert shown(roster).rows == ()
    roster.add_details(workflow("b"))  # of no interest
    roster.add_details(workflow("a"))
    assert roster.without_details() == {}
    assert body(shown(roster), "a")["maxRetries"] == 3


def test_failures_are_read_once_for_each_verdict() -> None:
    """Only a task that lost something needs its results; until then it is shown as it was."""
    roster = TaskStore()
    roster.replace(LIVE, [live("good", phase="Running"), live("bad", phase="Running")])
    roster.snapshot()
    roster.replace(DONE, [done("good"), done("bad", good=False)])
    roster.change(DONE, done("stranger"))  # of whom not even the request is known
    (seen,) = roster.without_failures()
    assert seen.name == "bad"
    assert statuses(shown(roster)) == {"good": "completed", "bad": "running"}
    line = FailureLine(
        node="n2", image="busybox:1", reason="NotFound", message="no", at="2026-01-01T00:00:00Z"
    )
    roster.add_failures(seen, [line])
    assert [one["nodeName"] for one in body(shown(roster), "bad")["failedNodeDetails"]] == ["n2"]
    roster.change(DONE, done("bad", good=False, version="3"))
    assert roster.without_failures() == []
    assert len(body(shown(roster), "bad")["failedNodeDetails"]) == 1


def test_results_that_can_not_be_read_are_said_to_be() -> None:
    """The row's message tells, instead of none."""
    roster = TaskStore()
    roster.replace(LIVE, [live("a")])
    roster.replace(DONE, [done("a", good=False)])
    roster.add_failures(roster.without_failures()[0], (), "written by a newer version")
    assert body(shown(roster), "a")["message"] == "written by a newer version"


def test_nothing_is_dropped_unlooked() -> None:
    """What a list lacks is still shown, until someone has looked: it may be in the other collection by now."""
    roster = TaskStore()
    roster.replace(LIVE, [live("a"), live("b")])
    roster.replace(DONE, [done("c"), done("d")])
    for name in ("c", "d"):
        roster.add_details(workflow(name))
    assert len(shown(roster).rows) == 4
    roster.replace(LIVE, [live("b")])
    roster.replace(DONE, [done("d")])
    assert roster.leaving == {"uid-a": "a", "uid-c": "c"}
    roster.forget("uid-a")
    roster.keep({**workflow("c"), "metadata": done("c")["metadata"]})
    assert statuses(shown(roster)) == {"b": "pending", "c": "completed", "d": "completed"}
    assert roster.leaving == {}
    roster.change(DONE, done("d"), gone=True)
    roster.forget("uid-d")
    assert set(statuses(shown(roster))) == {"b", "c"}


def test_a_task_that_lives_after_all() -> None:
    """Someone took its verdict away, to let it run once more."""
    roster = TaskStore()
    roster.replace(DONE, [done("a")])
    roster.add_details(workflow("a"))
    roster.change(DONE, done("a"), gone=True)
    roster.keep(workflow("a", phase="Running"))
    assert statuses(shown(roster)) == {"a": "running"}


def test_what_was_never_there_does_not_leave() -> None:
    """A collection that loses what nobody knew makes nobody look."""
    roster = TaskStore()
    roster.change(DONE, done("a"), gone=True)
    roster.change(LIVE, live("b"), gone=True)
    roster.replace(DONE, [done("c")])
    roster.replace(DONE, [])
    assert roster.leaving == {"uid-c": "c"}  # known, though not shown yet


def test_a_name_that_is_used_again() -> None:
    """The new task is the one of that name, and the old one goes its way."""
    roster = TaskStore()
    roster.replace(LIVE, [live("a")])
    roster.snapshot()
    again = live("a", created="2026-01-02T00:00:00Z")
    again["metadata"]["uid"] = "uid-again"
    roster.replace(LIVE, [again])
    assert shown(roster).by_name["a"].uid == "uid-again"
    roster.forget("uid-a")
    assert [row.uid for row in shown(roster).rows] == ["uid-again"]


def test_places_in_the_queue() -> None:
    """Priority first, then age; a row changes when its place does, and else stays the same object."""
    roster = TaskStore()
    roster.replace(LIVE, [live("low", priority=1), live("mid"), live("high", priority=9)])
    before = shown(roster)
    assert [body(before, name)["queuePosition"] for name in ("high", "mid", "low")] == [1, 2, 3]
    roster.change(LIVE, live("mid", phase="Running"))
    after = shown(roster)
    assert [body(after, name)["queuePosition"] for name in ("high", "mid", "low")] == [1, None, 2]
    assert after.by_name["high"] is before.by_name["high"]
    assert after.by_name["low"] is not before.by_name["low"]


def test_jobs_tell_of_progress_until_the_end() -> None:
    """What they said last counts when they are deleted; a list of them takes nothing back; the end is the verdict's."""
    roster = TaskStore()
    plan = kube_objects.summary(eligible=2)
    running = live("a", phase="Running")
    running["metadata"]["annotations"][ANNOTATION_PLAN] = plan.to_json()
    roster.replace(JOBS, [job("a", pulling=2)])
    roster.replace(LIVE, [running])
    assert body(shown(roster), "a")["waves"][0]["pullingNodes"] == 2
    roster.change(JOBS, job("a", pulling=2))
    assert roster.snapshot() is None
    roster.change(JOBS, job("a", done=1, pulling=1))
    assert body(shown(roster), "a")["waves"][0]["completedNodes"] == 1
    roster.change(JOBS, job("a", done=1, pulling=1), gone=True)
    roster.replace(JOBS, [])
    roster.change(LIVE, running)
    assert body(shown(roster), "a")["waves"][0]["completedNodes"] == 1
    roster.change(DONE, done("a"))
    assert roster._jobs == {}
    roster.change(JOBS, job("stranger"))
    roster.change(JOBS, job("stranger"), gone=True)
    assert roster._jobs == {}


def test_a_job_without_word_yet() -> None:
    """It is new: there is no progress in it."""
    roster = TaskStore()
    roster.replace(LIVE, [live("a", phase="Running")])
    roster.change(JOBS, {"metadata": {"name": "a-g0-a0", "labels": {LABEL_WORKFLOW_UID: "uid-a"}}})
    assert body(shown(roster), "a")["waves"] == []


def test_statuses_narrow_a_view() -> None:
    """One status, or all."""
    roster = TaskStore()
    roster.replace(LIVE, [live("a"), live("b", phase="Running")])
    view = shown(roster)
    assert [row.name for row in view.of_status("running")] == ["b"]
    assert view.of_status("") is view.rows
    assert (view.by_name["a"].ended, view.by_name["a"].final) == (False, False)
