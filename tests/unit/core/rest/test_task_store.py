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


def shown(store: TaskStore) -> Snapshot:
    snapshot = store.snapshot()
    assert snapshot is not None
    return snapshot


def statuses(snapshot: Snapshot) -> dict[str, str]:
    return {row.name: row.status for row in snapshot.rows}


def body(snapshot: Snapshot, name: str) -> Json:
    document: Json = json.loads(snapshot.by_name[name].body())
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
    store = TaskStore()
    store.replace(
        LIVE,
        [
            live("b"),
            live("a"),
            live("new", created="2026-01-02T00:00:00Z"),
            live("old", created="2025-01-01T00:00:00Z"),
        ],
    )
    assert [row.name for row in shown(store).rows] == ["new", "a", "b", "old"]


def test_nothing_new_is_no_view() -> None:
    """A list that says what was known makes no work for readers."""
    store = TaskStore()
    store.replace(DONE, [])
    assert store.snapshot() is not None
    assert store.snapshot() is None
    store.replace(LIVE, [live("a")])
    store.replace(DONE, [done("b")])
    store.add_details(workflow("b"))
    assert store.snapshot() is not None
    store.replace(DONE, [done("b")])
    store.replace(RESULTS, [{"metadata": {"name": "x"}}])
    store.change(RESULTS, {"metadata": {"name": "x"}})
    assert store.snapshot() is None


@pytest.mark.parametrize("first", ["live goes", "done comes"])
def test_a_task_that_ends_is_there_all_the_time(first: str) -> None:
    """Whichever collection is faster: until the other tells, it is shown as it was."""
    store = TaskStore()
    store.replace(LIVE, [live("a", phase="Running")])
    assert statuses(shown(store)) == {"a": "running"}
    if first == "live goes":
        store.change(LIVE, live("a", phase="Running"), gone=True)
        assert store.leaving == {"uid-a": "a"}
        assert store.snapshot() is None
        store.change(DONE, done("a"))
    else:
        store.change(DONE, done("a"))
        store.change(LIVE, live("a", phase="Running"))  # late
        store.change(LIVE, live("a", phase="Running"), gone=True)
    assert statuses(shown(store)) == {"a": "completed"}
    assert store.leaving == {}
    assert store.incoming == {}


def test_the_request_is_remembered_beyond_the_end() -> None:
    """The metadata of an ended task has not what was asked; who saw it live knows it, and so its later changes."""
    store = TaskStore()
    store.replace(LIVE, [live("a", phase="Running")])
    store.change(DONE, done("a"))
    assert body(shown(store), "a")["maxRetries"] == 3
    store.change(DONE, done("a", version="3"))
    found = body(shown(store), "a")
    assert (found["maxRetries"], found["webhookUrl"]) == (3, "https://hooks.example.com")


def test_a_task_that_was_never_seen_live_is_read_first() -> None:
    """It is not shown with defaults that may be wrong."""
    store = TaskStore()
    store.replace(DONE, [done("a")])
    assert store.without_failures() == []
    assert store.without_details() == {"uid-a": "a"}
    assert shown(store).rows == ()
    store.add_details(workflow("b"))  # of no interest
    store.add_details(workflow("a"))
    assert store.without_details() == {}
    assert body(shown(store), "a")["maxRetries"] == 3


def test_failures_are_read_once_for_each_verdict() -> None:
    """Only a task that lost something needs its results; until then it is shown as it was."""
    store = TaskStore()
    store.replace(LIVE, [live("good", phase="Running"), live("bad", phase="Running")])
    store.snapshot()
    store.replace(DONE, [done("good"), done("bad", good=False)])
    store.change(DONE, done("stranger"))  # of whom not even the request is known
    (seen,) = store.without_failures()
    assert seen.name == "bad"
    assert statuses(shown(store)) == {"good": "completed", "bad": "running"}
    line = FailureLine(
        node="n2", image="busybox:1", reason="NotFound", message="no", at="2026-01-01T00:00:00Z"
    )
    store.add_failures(seen, [line])
    assert [one["nodeName"] for one in body(shown(store), "bad")["failedNodeDetails"]] == ["n2"]
    store.change(DONE, done("bad", good=False, version="3"))
    assert store.without_failures() == []
    assert len(body(shown(store), "bad")["failedNodeDetails"]) == 1


def test_results_that_can_not_be_read_are_said_to_be() -> None:
    """The row's message tells, instead of none."""
    store = TaskStore()
    store.replace(LIVE, [live("a")])
    store.replace(DONE, [done("a", good=False)])
    store.add_failures(store.without_failures()[0], (), "written by a newer version")
    assert body(shown(store), "a")["message"] == "written by a newer version"


def test_nothing_is_dropped_unlooked() -> None:
    """What a list lacks is still shown, until someone has looked: it may be in the other collection by now."""
    store = TaskStore()
    store.replace(LIVE, [live("a"), live("b")])
    store.replace(DONE, [done("c"), done("d")])
    for name in ("c", "d"):
        store.add_details(workflow(name))
    assert len(shown(store).rows) == 4
    store.replace(LIVE, [live("b")])
    store.replace(DONE, [done("d")])
    assert store.leaving == {"uid-a": "a", "uid-c": "c"}
    store.forget("uid-a")
    store.keep({**workflow("c"), "metadata": done("c")["metadata"]})
    assert statuses(shown(store)) == {"b": "pending", "c": "completed", "d": "completed"}
    assert store.leaving == {}
    store.change(DONE, done("d"), gone=True)
    store.forget("uid-d")
    assert set(statuses(shown(store))) == {"b", "c"}


def test_a_task_that_lives_after_all() -> None:
    """Someone took its verdict away, to let it run once more."""
    store = TaskStore()
    store.replace(DONE, [done("a")])
    store.add_details(workflow("a"))
    store.change(DONE, done("a"), gone=True)
    store.keep(workflow("a", phase="Running"))
    assert statuses(shown(store)) == {"a": "running"}


def test_what_was_never_there_does_not_leave() -> None:
    """A collection that loses what nobody knew makes nobody look."""
    store = TaskStore()
    store.change(DONE, done("a"), gone=True)
    store.change(LIVE, live("b"), gone=True)
    store.replace(DONE, [done("c")])
    store.replace(DONE, [])
    assert store.leaving == {"uid-c": "c"}  # known, though not shown yet


def test_a_name_that_is_used_again() -> None:
    """The new task is the one of that name, and the old one goes its way."""
    store = TaskStore()
    store.replace(LIVE, [live("a")])
    store.snapshot()
    again = live("a", created="2026-01-02T00:00:00Z")
    again["metadata"]["uid"] = "uid-again"
    store.replace(LIVE, [again])
    assert shown(store).by_name["a"].uid == "uid-again"
    store.forget("uid-a")
    assert [row.uid for row in shown(store).rows] == ["uid-again"]


def test_places_in_the_queue() -> None:
    """Priority first, then age; a row changes when its place does, and else stays the same object."""
    store = TaskStore()
    store.replace(LIVE, [live("low", priority=1), live("mid"), live("high", priority=9)])
    before = shown(store)
    assert [body(before, name)["queuePosition"] for name in ("high", "mid", "low")] == [1, 2, 3]
    store.change(LIVE, live("mid", phase="Running"))
    after = shown(store)
    assert [body(after, name)["queuePosition"] for name in ("high", "mid", "low")] == [1, None, 2]
    assert after.by_name["high"] is before.by_name["high"]
    assert after.by_name["low"] is not before.by_name["low"]


def test_jobs_tell_of_progress_until_the_end() -> None:
    """What they said last counts when they are deleted; a list of them takes nothing back; the end is the verdict's."""
    store = TaskStore()
    plan = kube_objects.summary(eligible=2)
    running = live("a", phase="Running")
    running["metadata"]["annotations"][ANNOTATION_PLAN] = plan.to_json()
    store.replace(JOBS, [job("a", pulling=2)])
    store.replace(LIVE, [running])
    assert body(shown(store), "a")["waves"][0]["pullingNodes"] == 2
    store.change(JOBS, job("a", pulling=2))
    assert store.snapshot() is None
    store.change(JOBS, job("a", done=1, pulling=1))
    assert body(shown(store), "a")["waves"][0]["completedNodes"] == 1
    store.change(JOBS, job("a", done=1, pulling=1), gone=True)
    store.replace(JOBS, [])
    store.change(LIVE, running)
    assert body(shown(store), "a")["waves"][0]["completedNodes"] == 1
    store.change(DONE, done("a"))
    assert store._jobs == {}
    store.change(JOBS, job("stranger"))
    store.change(JOBS, job("stranger"), gone=True)
    assert store._jobs == {}


def test_a_job_without_word_yet() -> None:
    """It is new: there is no progress in it."""
    store = TaskStore()
    store.replace(LIVE, [live("a", phase="Running")])
    store.change(JOBS, {"metadata": {"name": "a-g0-a0", "labels": {LABEL_WORKFLOW_UID: "uid-a"}}})
    assert body(shown(store), "a")["waves"] == []


def test_statuses_narrow_a_view() -> None:
    """One status, or all."""
    store = TaskStore()
    store.replace(LIVE, [live("a"), live("b", phase="Running")])
    snapshot = shown(store)
    assert [row.name for row in snapshot.of_status("running")] == ["b"]
    assert snapshot.of_status("") is snapshot.rows
    assert (snapshot.by_name["a"].ended, snapshot.by_name["a"].final) == (False, False)
