"""The task cache against an API server: reads, contents, health."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.core.request.model import merge_overrides
from ips_flows.core.rest.task_store import Snapshot
from ips_flows.core.rest.trim import trim_workflow
from ips_flows.core.task.as_json import task_json
from ips_flows.kube import list_watch
from ips_flows.kube.client import Kube, workflows
from ips_flows.kube.list_watch import Event, Replaced, Updated
from ips_flows.operations import tasks
from ips_flows.operations.submit import submit_request
from ips_flows.server.task_cache import CacheIntervals, TaskCache
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import Argo, failed, pulled
from tests.support.rbac import granted, needed

QUICK = CacheIntervals(tick=0.02, relist=0.3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses."""
    monkeypatch.setattr(list_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(list_watch, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(list_watch, "PROBE_SECONDS", 1.0)


class Witness:
    """Handler that records events."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Event]] = []

    def handle(self, collection: str, event: Event) -> None:
        """Record an event."""
        self.told.append((collection, event))


@contextmanager
def caching(kube: Kube, *handlers: Witness, intervals: CacheIntervals = QUICK) -> Iterator[TaskCache]:
    task_cache = TaskCache(kube, "warm", handlers, intervals=intervals)
    task_cache.start()
    try:
        yield task_cache
    finally:
        task_cache.stop()
        assert not task_cache.alive()


def until(task_cache: TaskCache, holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a change by the task cache."""
    end = time.monotonic() + seconds
    changed = threading.Event()
    with task_cache.listening(changed.set):
        while not holds():
            assert time.monotonic() < end, (task_cache.not_ready(), task_cache.degraded())
            changed.wait(0.02)
            changed.clear()


def statuses(view: Snapshot) -> dict[str, str]:
    return {row.name: row.status for row in view.rows}


def submit(kube: Kube, name: str, **fields: Any) -> None:
    submit_request(
        kube, "warm", merge_overrides(None, "x", {"images": ["busybox:1"], "name": name, **fields})
    )


def ended(server: ApiServer, name: str, *, good: bool = True) -> None:
    argo = Argo(server, name)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 2})
    nodes = {"n1": pulled(), "n2": pulled() if good else failed()}
    argo.results(nodes)
    argo.verdict(nodes)


def test_a_new_server_has_all_tasks(server: ApiServer, kube: Kube) -> None:
    """A row has the same fields as the command line, for ended, running and pending tasks."""
    submit(kube, "bad", maxRetries=2, webhookUrl="https://hooks.example.com")
    submit(kube, "runs")
    submit(kube, "waits")
    ended(server, "bad", good=False)
    Argo(server, "runs").phase("Running")
    with caching(kube) as task_cache:
        until(task_cache, lambda: not task_cache.not_ready())
        rows = {row.name: row.body() for row in task_cache.snapshot.rows}
    assert len(rows) == 3
    for name, body in rows.items():
        assert json.loads(body) == task_json(tasks.get_task(kube, "warm", name), clock.now(), brief=True)


def test_an_ended_task_is_read_in_full_once(server: ApiServer, kube: Kube) -> None:
    """A few are read one by one, many in pages; later lists are metadata only."""
    for number in range(25):
        submit(kube, f"t{number:02d}")
        ended(server, f"t{number:02d}", good=number > 0)
    server.calls.clear()
    with caching(kube) as task_cache:
        until(task_cache, lambda: len(task_cache.snapshot.rows) == 25)
        relisted = len(server.calls)
        end = time.monotonic() + 30
        while sum("ips-flow.io%2Fverdict" in call for call in server.calls[relisted:]) < 6:
            assert time.monotonic() < end
            time.sleep(0.02)
    whole = [call for call in server.calls if "limit=50" in call]
    assert len(whole) == 1
    assert not [call for call in server.calls if "/workflows/t" in call]
    results = [call for call in server.calls if "results" in call and "workflow-uid" in call]
    assert len(results) == 1  # only one task has failed nodes


def test_tasks_come_and_go(server: ApiServer, kube: Kube) -> None:
    """Submitted, ended and deleted tasks show in the snapshot; a task that ends never disappears in between."""
    seen: list[dict[str, str]] = []
    with caching(kube, intervals=CacheIntervals(tick=0.02)) as task_cache:
        until(task_cache, lambda: not task_cache.not_ready())
        with task_cache.listening(lambda: seen.append(statuses(task_cache.snapshot))):
            submit(kube, "a")
            until(task_cache, lambda: statuses(task_cache.snapshot) == {"a": "pending"})
            ended(server, "a")
            until(task_cache, lambda: statuses(task_cache.snapshot) == {"a": "completed"})
            server.remove("workflows", "a")
            until(task_cache, lambda: statuses(task_cache.snapshot) == {})
    order = [one.get("a", "gone") for one in seen]
    assert order[-1] == "gone"
    assert "gone" not in order[:-1]


def test_many_deletions_are_seen_by_one_list(server: ApiServer, kube: Kube) -> None:
    """Not by one read per task; only tasks that still exist are read."""
    for number in range(30):
        submit(kube, f"t{number:02d}")
    task_cache = TaskCache(kube, "warm")
    roster = task_cache._store
    roster.replace("live", [trim_workflow(one) for one in kube.list(workflows("warm"))])
    for number in range(28):
        server.remove("workflows", f"t{number:02d}")
    roster.replace("live", [])
    server.calls.clear()
    task_cache._check_leaving()
    asked = [call.partition("?")[0].rpartition("/")[2] for call in server.calls]
    assert sorted(asked) == ["t28", "t29", "workflows"]
    view = roster.snapshot()
    assert view is not None
    assert statuses(view) == {"t28": "pending", "t29": "pending"}


def test_observers_get_every_event(server: ApiServer, kube: Kube) -> None:
    """Lists and changes of all four collections, with trimmed objects."""
    submit(kube, "a")
    server.change("workflows", "a", {"metadata": {"managedFields": [{"manager": "x"}]}})
    reader = Witness()
    with caching(kube, reader, intervals=CacheIntervals(tick=0.02)) as task_cache:
        until(task_cache, lambda: not task_cache.not_ready())
        ended(server, "a")
        until(task_cache, lambda: statuses(task_cache.snapshot) == {"a": "completed"})

        def all_told() -> bool:
            kinds = {(name, type(event).__name__) for name, event in reader.told}
            return {(name, "Updated") for name in ("live", "done", "results")} <= kinds

        until(task_cache, all_told)
    assert {name for name, event in reader.told if isinstance(event, Replaced)} == {
        "live",
        "done",
        "jobs",
        "results",
    }
    changed = [(name, event.item) for name, event in reader.told if isinstance(event, Updated)]
    assert not [item for _, item in changed if "managedFields" in item["metadata"]]
    assert [item["metadata"]["name"] for name, item in changed if name == "results"] == ["a-results-0"]
    assert all(set(item) <= {"metadata", "kind", "apiVersion"} for name, item in changed if name != "live")
    assert [item["status"]["phase"] for name, item in changed if name == "live" and item["status"]]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("GET .*/workflows.watch=true.*%21ips-flow.io%2Fverdict", "live"),
        ("GET .*/jobs.watch=true", "jobs"),
        ("GET .*/configmaps.watch=true", "results"),
    ],
)
def test_a_watch_that_breaks(server: ApiServer, kube: Kube, pattern: str, name: str) -> None:
    """The collection is listed instead: degraded, but ready. When the watch works again a log line says so."""
    server.fail(pattern, 403, "Forbidden", "no watch")
    with caching(kube) as task_cache:
        until(task_cache, lambda: name in task_cache.broken and not task_cache.not_ready())
        assert set(task_cache.broken) == {name}
        assert task_cache.degraded() == f"{name} can't be watched: no watch"
        submit(kube, "a")
        until(task_cache, lambda: statuses(task_cache.snapshot) == {"a": "pending"})
        server.faults.clear()
        until(task_cache, lambda: not task_cache.broken)
        assert task_cache.degraded() is None


def test_an_api_server_that_is_away(server: ApiServer, kube: Kube) -> None:
    """The snapshot stays. After a time without responses it is not ready; the first response makes it ready."""
    submit(kube, "a")
    with caching(kube, intervals=CacheIntervals(tick=0.02, relist=0.2, stale=1.5)) as task_cache:
        until(task_cache, lambda: not task_cache.not_ready())
        server.fail(".", 0)
        with server.store.changed:
            server.store.oldest = server.store.version + 1  # open watches break too
            server.store.changed.notify_all()
        until(task_cache, lambda: "no response from the API server" in (task_cache.not_ready() or ""))
        assert statuses(task_cache.snapshot) == {"a": "pending"}
        assert task_cache.alive()
        server.faults.clear()
        server.store.oldest = 0
        until(task_cache, lambda: not task_cache.not_ready() and not task_cache.degraded())


def test_an_unreadable_request_is_retried(server: ApiServer, kube: Kube) -> None:
    """While the request of an ended task can't be read, the task is missing, the cache not ready, the read retried."""
    submit(kube, "a", maxRetries=4)
    ended(server, "a")
    server.fail("GET .*/workflows/a$", 500, "InternalError", "etcd is away")
    with caching(kube) as task_cache:
        server.await_call("GET .*/workflows/a$")
        assert task_cache.not_ready()
        assert statuses(task_cache.snapshot) == {}
        server.faults.clear()
        until(task_cache, lambda: not task_cache.not_ready())
        assert b'"maxRetries":4' in task_cache.snapshot.by_name["a"].body()


@pytest.mark.parametrize(
    "text",
    [
        '{"images": ["a\\ud800"]}',  # a lone surrogate, which UTF-8 can't encode
        "[" * 100_000,
        '{"images": {"a": 1}}',
        '"',
        "",
    ],
)
def test_a_manually_written_request(server: ApiServer, kube: Kube, text: str) -> None:
    """Whatever its text, the task is listed, before and after its end, and so are the others."""
    submit(kube, "good")
    submit(kube, "odd")
    parameters = [{"name": "request", "value": text}]
    server.change("workflows", "odd", {"spec": {"arguments": {"parameters": parameters}}})
    with caching(kube) as task_cache:
        until(task_cache, lambda: not task_cache.not_ready())
        assert {row.name: json.loads(row.body())["status"] for row in task_cache.snapshot.rows} == {
            "good": "pending",
            "odd": "pending",
        }
        ended(server, "odd", good=False)
        until(task_cache, lambda: statuses(task_cache.snapshot) == {"good": "pending", "odd": "failed"})
        assert json.loads(task_cache.snapshot.by_name["odd"].body())["status"] == "failed"
        submit(kube, "later")
        until(task_cache, lambda: "later" in statuses(task_cache.snapshot))


@pytest.mark.parametrize(
    "data",
    [
        {"other": "e30="},
        {"results.json.gz": "!"},
        {"results.json.gz": base64.b64encode(b"no gzip").decode()},
        {"results.json.gz": base64.b64encode(gzip.compress(b"[" * 100_000)).decode()},
        {"results.json.gz": base64.b64encode(gzip.compress(b"[1]")).decode()},
    ],
)
def test_invalid_stored_results(server: ApiServer, kube: Kube, data: dict[str, Any]) -> None:
    """Manually changed results hide the failures of their task and do not affect other tasks."""
    submit(kube, "a")
    ended(server, "a", good=False)
    server.change("configmaps", "a-results-0", {"binaryData": {"results.json.gz": None, **data}})
    with caching(kube) as task_cache:
        until(task_cache, lambda: not task_cache.not_ready())
        document = json.loads(task_cache.snapshot.by_name["a"].body())
        assert document["status"] == "failed"
        assert document["message"].startswith("its stored results can't be read: ")
        submit(kube, "later")
        until(task_cache, lambda: "later" in statuses(task_cache.snapshot))


def test_its_permissions_are_enough(server: ApiServer, kube: Kube) -> None:
    """The ServiceAccount of the server has the permissions that the task cache needs."""
    submit(kube, "a")
    ended(server, "a", good=False)
    server.calls.clear()
    with caching(kube) as task_cache:
        until(task_cache, lambda: not task_cache.not_ready())
    assert needed(server.calls) <= granted("ips-flow-server")
