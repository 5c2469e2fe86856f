"""Live updates of a task: current state, changes, end."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from ips_flows.core.request.model import merge_overrides
from ips_flows.core.rest.task_store import Snapshot
from ips_flows.kube.client import Kube
from ips_flows.operations.submit import submit_request
from ips_flows.server import sse
from ips_flows.server.auth import NoAuthorizer
from ips_flows.server.sse import TaskStreams
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import Argo, failed, pulled
from tests.support.rest_harness import Rest, parsed, serving

ROOT = "/api/v1/tasks"


@pytest.fixture
def rest(server: ApiServer, kube: Kube) -> Iterator[Rest]:
    with serving(server, kube) as one:
        yield one


def submit(kube: Kube, name: str) -> None:
    submit_request(kube, "warm", merge_overrides(None, "flags", {"images": ["busybox:1"], "name": name}))


def until(events: Iterator[tuple[str, Any]], status: str) -> Any:
    """Read events up to the first state with this status."""
    return next(data for kind, data in events if kind == "task" and data["status"] == status)


def test_the_whole_life_of_a_task(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """Every state is as in lists; the last one has the verdict; then the stream ends."""
    submit(kube, "a")
    with rest.events("a") as events:
        kind, first = next(events)
        assert (kind, first["taskId"], first["status"]) == ("task", "a", "pending")
        assert "nodeStatuses" not in first
        argo = Argo(server, "a")
        argo.phase("Running")
        assert until(events, "running")["startedAt"]
        argo.planned(waves={"wave-1": 2})
        argo.progress(done=1, pulling=1)
        assert next(data for _, data in events if data["waves"])["progress"]["totalNodes"] == 2
        nodes = {"n1": pulled(), "n2": failed()}
        argo.results(nodes)
        argo.verdict(nodes)
        last = until(events, "failed")
        assert [one["nodeName"] for one in last["failedNodeDetails"]] == ["n2"]
        assert list(events) == [("end", {"status": "failed"})]


def test_a_task_that_has_ended(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """Its state, then `end`."""
    submit(kube, "a")
    argo = Argo(server, "a")
    argo.planned(waves={"wave-1": 1})
    argo.verdict({"n1": pulled()})
    rest.await_list(lambda one: one["total"] == 1, "?status=completed")
    with rest.events("a") as events:
        assert [kind for kind, _ in events] == ["task", "end"]


def test_a_task_that_is_deleted(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """The stream sends `deleted` and ends."""
    submit(kube, "a")
    with rest.events("a") as events:
        next(events)
        rest.await_list(lambda one: one["total"] == 1)
        server.remove("workflows", "a")
        assert list(events)[-1] == ("deleted", {})


def test_no_such_task(rest: Rest) -> None:
    """404, as for any other read."""
    found = rest.get(f"{ROOT}/nobody/events")
    assert (found.status, found.json["error"]) == (404, "task nobody does not exist in namespace warm")


def test_a_quiet_stream_sends_heartbeats(server: ApiServer, kube: Kube) -> None:
    """Comments keep it open through proxies and are not events."""
    with serving(server, kube, NoAuthorizer(()), heartbeat=0.05) as rest:
        submit(kube, "a")
        connection = http.client.HTTPConnection("127.0.0.1", rest.port, timeout=30)
        connection.request("GET", f"{ROOT}/a/events")
        answer = connection.getresponse()
        lines = [answer.readline() for _ in range(9)]
        assert lines.count(b": heartbeat\n") >= 2
        assert answer.headers["Cache-Control"] == "no-store"
        connection.close()


def test_a_shutdown_ends_streams(rest: Rest, kube: Kube) -> None:
    """Properly: with the last chunk and a `retry` line."""
    submit(kube, "a")
    connection = http.client.HTTPConnection("127.0.0.1", rest.port, timeout=30)
    connection.request("GET", f"{ROOT}/a/events", headers={"Authorization": "Bearer bobs"})
    answer = connection.getresponse()
    assert answer.readline() == b"event: task\n"
    rest.streams.close()
    assert answer.read().endswith(b"retry: 1000\n: the server is shutting down; reconnect\n\n")
    connection.close()


class Scene:
    """A task cache whose snapshot the test sets."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.listeners: list[Any] = []

    def show(self, *rows: Any) -> None:
        """Set the snapshot and call the listeners."""
        self.snapshot = Snapshot(rows, {row.name: row for row in rows})
        for listener in self.listeners:
            listener()

    def listening(self, listener: Any) -> Any:
        """Call a listener on each snapshot."""
        self.listeners.append(listener)
        return Leave(self, listener)


class Leave:
    """Context of a listener."""

    def __init__(self, scene: Scene, listener: Any) -> None:
        self.scene, self.listener = scene, listener

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        self.scene.listeners.remove(self.listener)


class FixedRow:
    """A row with a fixed body."""

    name = "a"

    def __init__(self, body: bytes, *, uid: str = "u", ended: bool = False, final: bool = False) -> None:
        self.uid, self.ended, self.final, self.status = uid, ended, final, "completed"
        self._body = body

    def body(self) -> bytes:
        """Return the JSON."""
        return self._body


def test_a_slow_reader_gets_the_latest_state_only() -> None:
    """States that a client did not read are not queued."""

    async def read() -> list[bytes]:
        scene = Scene()
        scene.show(FixedRow(b'{"at":0}'))
        stream = TaskStreams(scene).follow("a", "u", b'{"at":0}')  # type: ignore[arg-type]
        seen = [await anext(stream)]
        for number in range(1, 10_000):
            scene.show(FixedRow(b'{"at":%d}' % number))
        await asyncio.sleep(0)
        scene.show(FixedRow(b'{"at":10000}', ended=True, final=True))
        seen += [one async for one in stream]
        assert scene.listeners == []
        return seen

    assert asyncio.run(read()) == [
        b'event: task\ndata: {"at":0}\n\n',
        b'event: task\ndata: {"at":10000}\n\n',
        b'event: end\ndata: {"status":"completed"}\n\n',
    ]


def test_a_task_that_is_new_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task cache may not have it yet. A task with the same name and another uid is another task."""
    monkeypatch.setattr(sse, "APPEAR_SECONDS", 0.05)

    async def read(*rows: Any) -> list[bytes]:
        scene = Scene()
        stream = TaskStreams(scene).follow("a", "u", b"{}")  # type: ignore[arg-type]
        seen = [await anext(stream)]
        scene.show(*rows)
        return [*seen, *[one async for one in stream]]

    first, gone = b"event: task\ndata: {}\n\n", b"event: deleted\ndata: {}\n\n"
    end = b'event: end\ndata: {"status":"completed"}\n\n'
    assert asyncio.run(read(FixedRow(b"{}", ended=True, final=True))) == [first, end]
    assert asyncio.run(read(FixedRow(b"{}", uid="another"))) == [first, gone]
    assert asyncio.run(read()) == [first, gone]


def test_a_missing_verdict_does_not_keep_the_stream_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a keeper the verdict may never come."""
    monkeypatch.setattr(sse, "VERDICT_SECONDS", 0.0)

    async def read() -> list[bytes]:
        scene = Scene()
        scene.show(FixedRow(b"{}", ended=True))
        streams = TaskStreams(scene, heartbeat=0.01)  # type: ignore[arg-type]
        return [one async for one in streams.follow("a", "u", b"{}")]

    seen = asyncio.run(read())
    assert seen[-1].startswith(b"event: end")


def test_events_are_encoded_as_parsers_expect() -> None:
    """The parser of these tests reads what the encoder writes."""
    assert list(parsed(sse.encode_event("task", b"{}").splitlines(keepends=True))) == [("task", {})]
