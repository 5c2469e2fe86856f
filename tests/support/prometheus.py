"""A real Prometheus with its own data folder, for tests that scrape targets and run queries."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

_START_SECONDS = 30.0


class Prometheus:
    """A running Prometheus. Its targets can be changed; a change takes effect within a second."""

    def __init__(self, folder: Path, port: int) -> None:
        self._targets = folder / "targets.json"
        self._url = f"http://127.0.0.1:{port}"

    def scrape(self, addresses: Sequence[str], **labels: str) -> None:
        """Replace the targets, each `host:port`."""
        fresh = self._targets.with_suffix(".new")
        fresh.write_text(json.dumps([{"targets": list(addresses), "labels": labels}]), encoding="utf-8")
        fresh.rename(self._targets)

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Run an instant query; return labels and value of each series."""
        found = self._get("query", query=query)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def value(self, query: str) -> float | None:
        """Return the value of a query with one series, None if it has none."""
        found = self.ask(query)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def rules(self) -> list[Any]:
        """Return the rules that it evaluates, with their health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def await_value(self, query: str, fits: Callable[[float], bool], seconds: float = 60.0) -> float:
        """Wait until the value of a query fits; return it."""
        end, beat = time.monotonic() + seconds, threading.Event()
        while (value := self.value(query)) is None or not fits(value):
            assert time.monotonic() < end, f"{query} is {value}"
            beat.wait(0.25)
        return value

    def ready(self) -> bool:
        """Return whether Prometheus is ready for queries."""
        try:
            with urlopen(f"{self._url}/-/ready", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (URLError, ConnectionError):
            return False

    def _get(self, what: str, **asked: str) -> Any:
        with urlopen(f"{self._url}/api/v1/{what}?{urlencode(asked)}", timeout=10) as answer:  # noqa: S310
            return json.load(answer)["data"]


@contextmanager
def prometheus(folder: Path, job: str, rules: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Run a Prometheus that evaluates these rules every second. Its data is in the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules)), encoding="utf-8")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": job, "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}]}
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        running, beat = Prometheus(folder, port), threading.Event()
        end = time.monotonic() + _START_SECONDS
        while not running.ready():
            said = (folder / "log").read_text(encoding="utf-8")
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            beat.wait(0.1)
        yield running
    finally:
        process.terminate()
        process.wait(20)
