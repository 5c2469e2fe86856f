"""SIGTERM under load: no request fails, streams end, no task is lost."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ips_flows.core.request.model import merge_overrides
from ips_flows.kube.client import Kube
from ips_flows.operations.submit import submit_request
from tests.fakes.apiserver import ApiServer, running
from tests.support.rest_harness import parsed
from tests.unit.server.test_main import Served, serving

ROOT = "/api/v1/tasks"
TOKEN = {"Authorization": "Bearer t"}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with running() as one:
        one.users["t"] = {"username": "bob"}
        yield one


class Client(threading.Thread):
    """Client that sends requests over one connection, and reconnects when the server closes it."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.stop = port, stop
        self.statuses: list[int] = []
        self.errors: list[str] = []
        self.closed = 0

    def run(self) -> None:
        """Send requests."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stop.is_set():
            try:
                connection.request("GET", ROOT, headers=TOKEN)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                return
            self.statuses.append(answer.status)
            if answer.headers.get("Connection") == "close":
                self.closed += 1
                connection.close()


def status(served: Served, path: str) -> int:
    return served.get(path)[0]


def test_under_load(server: ApiServer, tmp_path: Path) -> None:
    """Clients that follow readiness get every response. A stream ends properly. Then the process exits 0."""
    kube = Kube.connect(str(server.kubeconfig(tmp_path)))
    submit_request(kube, "warm", merge_overrides(None, "x", {"images": ["busybox:1"], "name": "a"}))
    with serving(server, tmp_path, "--linger", "2") as served:
        served.await_ready(server)
        port = int(str(served.port))
        stop = threading.Event()
        clients = [Client(port, stop) for _ in range(8)]
        for client in clients:
            client.start()
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        stream.request("GET", f"{ROOT}/a/events", headers=TOKEN)
        events = stream.getresponse()
        assert next(parsed(events))[0] == "task"
        served.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 30
        while status(served, "/readyz") != 503:
            assert time.monotonic() < end
        assert status(served, "/health") == 200
        seen = [len(client.statuses) for client in clients]
        while any(len(client.statuses) < before + 3 for client, before in zip(clients, seen, strict=True)):
            assert time.monotonic() < end, "it does not linger"
        stop.set()
        for client in clients:
            client.join(30)
        rest = events.read()
        assert rest.endswith(b"retry: 1000\n: the server is shutting down; reconnect\n\n")
        assert served.process.wait(60) == 0
        assert served.await_line("ended")
    assert [client.errors for client in clients] == [[]] * 8
    assert {one for client in clients for one in client.statuses} == {200}
    assert all(client.closed for client in clients)


def test_a_request_in_flight_is_answered(server: ApiServer, tmp_path: Path) -> None:
    """Even if its body is half received. Without --linger no new connection is accepted."""
    with serving(server, tmp_path) as served:
        served.await_ready(server)
        connection = http.client.HTTPConnection("127.0.0.1", int(str(served.port)), timeout=30)
        body = json.dumps({"images": ["busybox:1"], "name": "late"}).encode()
        connection.putrequest("POST", ROOT)
        for key, value in {**TOKEN, "Content-Length": str(len(body))}.items():
            connection.putheader(key, value)
        connection.endheaders()
        connection.send(body[:10])
        server.await_call("POST .*/subjectaccessreviews")  # the server is processing the request
        served.process.send_signal(signal.SIGTERM)
        served.await_line("Shutting down")
        connection.send(body[10:])
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["taskId"]) == (201, "late")
        assert served.process.wait(60) == 0
    assert server.get("workflows", "late")


def test_a_restart_loses_nothing(server: ApiServer, tmp_path: Path) -> None:
    """After a SIGKILL the next process returns the same tasks."""
    kube = Kube.connect(str(server.kubeconfig(tmp_path)))
    for name in ("a", "b"):
        submit_request(kube, "warm", merge_overrides(None, "x", {"images": ["busybox:1"], "name": name}))
    told = []
    for _ in range(2):
        with serving(server, tmp_path, "--auth", "none") as served:
            served.await_ready(server)
            told.append(served.get(ROOT))
            served.process.kill()
            served.process.wait(30)
    assert told[0] == told[1]
    assert told[0][1]["total"] == 2  # type: ignore[comparison-overlap]
