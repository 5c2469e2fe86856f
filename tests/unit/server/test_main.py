"""`ips-flow serve` as a process, and its health routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from ips_flows.cli.main import run
from ips_flows.server.app import create_app
from tests.fakes.apiserver import ApiServer, running
from tests.support.forks import Fork


class Served:
    """A server process and its log lines so far."""

    def __init__(self, process: Fork) -> None:
        self.process = process
        self.lines: list[dict[str, object]] = []
        self._told = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.port = self.await_line("listening")["port"]

    def _read(self) -> None:
        for line in self.process.stderr:
            with self._told:
                self.lines.append(json.loads(line))
                self._told.notify_all()

    def await_line(self, message: str) -> dict[str, object]:
        """Wait for the first log line with this message."""

        def found() -> list[dict[str, object]]:
            return [line for line in self.lines if line["message"] == message]

        with self._told:
            assert self._told.wait_for(found, timeout=60), self.lines
            return found()[0]

    def await_ready(self, server: ApiServer) -> None:
        """Poll /readyz until the server is ready."""
        end = time.monotonic() + 60
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < end, self.lines
            with server.store.changed:
                server.store.changed.wait(0.05)

    def get(self, path: str) -> tuple[int, dict[str, str]]:
        """Return status and body of a response."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with running() as one:
        yield one


@contextmanager
def serving(server: ApiServer, folder: Path, *flags: str) -> Iterator[Served]:
    environment = {
        **os.environ,
        "KUBECONFIG": str(server.kubeconfig(folder, namespace="default")),
        "K8S_NAMESPACE": "warm",
        "SERVER_PORT": "0",
    }
    with contextlib.closing(Fork("serve", *flags, environment=environment)) as process:
        yield Served(process)


def test_it_serves_and_drains(server: ApiServer, tmp_path: Path) -> None:
    """It is ready after listing the Workflows. On SIGTERM it releases the Lease and exits 0. The log is JSON lines."""
    with serving(server, tmp_path) as served:
        served.await_line("holds the Lease")
        served.await_ready(server)
        for path in ("/health", "/healthz", "/readyz"):
            assert served.get(path) == (200, {"status": "ok"})
        assert server.get("leases", "ips-keeper")["spec"]["holderIdentity"]
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        assert served.await_line("ended")
    assert server.get("leases", "ips-keeper")["spec"]["holderIdentity"] == ""
    assert all({"time", "level", "message"} <= line.keys() for line in served.lines)
    assert not [call for call in server.calls if "/namespaces/default/" in call]


def test_it_lives_without_an_api_server(server: ApiServer, tmp_path: Path) -> None:
    """Without an API server it is alive but not ready, and gives the reason."""
    server.fail(".", 503)
    with serving(server, tmp_path) as served:
        assert served.get("/health")[0] == 200
        assert served.get("/readyz") == (
            503,
            {"status": "not ready", "reason": "the Workflows are not listed yet"},
        )


def test_a_port_that_is_taken(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing starts; the message names the address."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    port = re.sub(r".*:", "", server.url)
    assert run(["serve", "--port", port]) == 1
    assert f"error: can't listen on 127.0.0.1, port {port}: Address already in use" in capsys.readouterr().err
    assert server.calls == []


def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the packages to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else object())
    assert run(["serve"]) == 1
    told = capsys.readouterr().err
    assert "packages that are not installed: uvicorn" in told
    assert "pip install 'ips-flow[server]'" in told


def status_of(app: FastAPI, path: str) -> int:
    """Call the ASGI application without a server; return the status."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


def test_a_stuck_server_is_not_alive() -> None:
    """The liveness probe fails, so that Kubernetes restarts it."""

    class Stuck:
        def alive(self) -> bool:
            return False

        def not_ready(self) -> None:
            return None

        def degraded(self) -> None:
            return None

    app = create_app(Stuck())
    assert [status_of(app, path) for path in ("/health", "/healthz", "/readyz")] == [503, 503, 200]
