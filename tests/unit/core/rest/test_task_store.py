"""The rows of tasks, from events of four collections in any order."""

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
    """Return the complete Workflow of a task."""
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
    """Return the metadata of a task with its verdict."""
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
    progress = GroupProgress(group=0, attempt=0, wave="wave-1", total=2, done=done, pulling=pulling)
    return {
        "metadata": {
            "name": f"{name}-g0-a0",
            "labels": {LABEL_WORKFLOW_UID: f"uid-{name}"},
            "annotations": {ANNOTATION_PROGRESS: progress.to_json()},
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


def test_the_stored_fields_do_not_grow_with_the_task() -> None:
    """The nodes and templates of a Workflow, the node list of a request and managed fields are not stored."""
    kept = live("a", phase="Running")
    text = json.dumps(kept)
    assert "xxx" not in text
    assert "n2" not in text
    assert kept["status"] == {"phase": "Running", "nodes": {}}
    request = json.loads(kept["spec"]["arguments"]["parameters"][0]["value"])
    assert request == {key: value for key, value in REQUEST.items() if key != "nodes"}


def test_newest_first_and_then_by_name() -> None:
    """The order is that of the command line."""
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


def test_without_a_change_there_is_no_snapshot() -> None:
    """A list without news does not create a snapshot."""
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


@pytest.mark.parametrize("first", ["removed from live", "added to done"])
def test_a_task_that_ends_is_always_shown(first: str) -> None:
    """Either collection may change first. Until both have changed, the task is shown as before."""
    store = TaskStore()
    store.replace(LIVE, [live("a", phase="Running")])
    assert statuses(shown(store)) == {"a": "running"}
    if first == "removed from live":
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


def test_the_request_is_kept_after_the_end() -> None:
    """The metadata of an ended task has no request. It is kept from when the task was live."""
    store = TaskStore()
    store.replace(LIVE, [live("a", phase="Running")])
    store.change(DONE, done("a"))
    assert body(shown(store), "a")["maxRetries"] == 3
    store.change(DONE, done("a", version="3"))
    found = body(shown(store), "a")
    assert (found["maxRetries"], found["webhookUrl"]) == (3, "https://hooks.example.com")


def test_a_task_that_was_never_seen_live_is_read_first() -> None:
    """The task is not shown with defaults, which may be wrong."""
    store = TaskStore()
    store.replace(DONE, [done("a")])
    assert store.without_failures() == []
    assert store.without_details() == {"uid-a": "a"}
    assert shown(store).rows == ()
    store.add_details(workflow("b"))  # not incoming, so ignored
    store.add_details(workflow("a"))
    assert store.without_details() == {}
    assert body(shown(store), "a")["maxRetries"] == 3


def test_failures_are_read_once_for_each_verdict() -> None:
    """Only a task with failures needs its results. Until they are read, it is shown as before."""
    store = TaskStore()
    store.replace(LIVE, [live("good", phase="Running"), live("bad", phase="Running")])
    store.snapshot()
    store.replace(DONE, [done("good"), done("bad", good=False)])
    store.change(DONE, done("stranger"))  # its request is unknown
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


def test_unreadable_results_are_reported() -> None:
    """The message of the row has the reason."""
    store = TaskStore()
    store.replace(LIVE, [live("a")])
    store.replace(DONE, [done("a", good=False)])
    store.add_failures(store.without_failures()[0], (), "written by a newer version")
    assert body(shown(store), "a")["message"] == "written by a newer version"


def test_no_task_is_dropped_before_it_is_read() -> None:
    """A task missing in a list is shown until it is read, since it may be in the other collection by now."""
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


def test_a_task_that_becomes_live_again() -> None:
    """A user removed its verdict so that it runs again."""
    store = TaskStore()
    store.replace(DONE, [done("a")])
    store.add_details(workflow("a"))
    store.change(DONE, done("a"), gone=True)
    store.keep(workflow("a", phase="Running"))
    assert statuses(shown(store)) == {"a": "running"}


def test_an_unknown_task_does_not_leave() -> None:
    """The removal of an unknown task from a collection does not cause a read."""
    store = TaskStore()
    store.change(DONE, done("a"), gone=True)
    store.change(LIVE, live("b"), gone=True)
    store.replace(DONE, [done("c")])
    store.replace(DONE, [])
    assert store.leaving == {"uid-c": "c"}  # known, though not shown yet


def test_a_name_that_is_used_again() -> None:
    """The name refers to the new task, and the old task is dropped."""
    store = TaskStore()
    store.replace(LIVE, [live("a")])
    store.snapshot()
    again = live("a", created="2026-01-02T00:00:00Z")
    again["metadata"]["uid"] = "uid-again"
    store.replace(LIVE, [again])
    assert shown(store).by_name["a"].uid == "uid-again"
    store.forget("uid-a")
    assert [row.uid for row in shown(store).rows] == ["uid-again"]


def test_positions_in_the_queue() -> None:
    """The order is priority, then age. A row is replaced only if its position changes."""
    store = TaskStore()
    store.replace(LIVE, [live("low", priority=1), live("mid"), live("high", priority=9)])
    before = shown(store)
    assert [body(before, name)["queuePosition"] for name in ("high", "mid", "low")] == [1, 2, 3]
    store.change(LIVE, live("mid", phase="Running"))
    after = shown(store)
    assert [body(after, name)["queuePosition"] for name in ("high", "mid", "low")] == [1, None, 2]
    assert after.by_name["high"] is before.by_name["high"]
    assert after.by_name["low"] is not before.by_name["low"]


def test_jobs_report_progress_until_the_verdict() -> None:
    """The last progress of a deleted Job counts until the verdict, also after an empty list of Jobs."""
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


def test_a_job_without_progress_yet() -> None:
    """A new Job has no progress."""
    store = TaskStore()
    store.replace(LIVE, [live("a", phase="Running")])
    store.change(JOBS, {"metadata": {"name": "a-g0-a0", "labels": {LABEL_WORKFLOW_UID: "uid-a"}}})
    assert body(shown(store), "a")["waves"] == []


def test_a_snapshot_is_filtered_by_status() -> None:
    """The filter is one status, or empty for all."""
    store = TaskStore()
    store.replace(LIVE, [live("a"), live("b", phase="Running")])
    snapshot = shown(store)
    assert [row.name for row in snapshot.of_status("running")] == ["b"]
    assert snapshot.of_status("") is snapshot.rows
    assert (snapshot.by_name["a"].ended, snapshot.by_name["a"].final) == (False, False)
