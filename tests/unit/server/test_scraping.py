"""A real Prometheus scrapes the exposition of a server, and of the next one after a restart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from ips_flows.core.rest.task_store import COLLECTIONS, DONE
from ips_flows.kube.client import Kube
from ips_flows.kube.list_watch import Replaced, Updated
from ips_flows.server.metrics import Metrics
from tests.support.prometheus import prometheus
from tests.support.watch_events import counts, done
from tests.unit.deploy.test_monitoring import rules

pytestmark = pytest.mark.waits

JOB = "ips-flow-server"


class Page(BaseHTTPRequestHandler):
    """Handler that serves the exposition of the running server."""

    metrics: ClassVar[Metrics]
    accepted: ClassVar[set[str]]

    def do_GET(self) -> None:
        """Respond to a scrape."""
        content_type, body = self.metrics.exposition(self.headers["Accept"])
        self.accepted.add(content_type.partition(";")[0])
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def served(page: type[Page]) -> Iterator[str]:
    """Serve a page; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), page)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def started(kube: Kube, *ended: str) -> Metrics:
    """Return the metrics of a server after its first lists."""
    metrics = Metrics(kube, "warm")
    for collection in COLLECTIONS:
        metrics.handle(collection, Replaced(tuple(done(uid) for uid in ended) if collection == DONE else ()))
    return metrics


def test_a_real_prometheus_sees_each_end_once(kube: Kube, tmp_path: Path) -> None:
    """Prometheus accepts OpenMetrics. Over a restart, which resets the counter, `increase` is right."""

    class Ours(Page):
        metrics: ClassVar[Metrics] = started(kube, "a")
        accepted: ClassVar[set[str]] = set()

    def ends(uid: str) -> None:
        Ours.metrics.handle(DONE, Updated(done(uid, "failed", summary=counts())))

    with (
        served(Ours) as address,
        prometheus(tmp_path, JOB, {"groups": [{"name": "all", "rules": rules()}]}) as one,
    ):
        one.scrape([address], namespace="warm")
        total = 'ips_tasks_total{status="failed"}'
        assert one.await_value(total, lambda _: True) == 0
        ends("b")
        one.await_value(total, lambda count: count == 1)
        Ours.metrics = started(kube, "a", "b")
        one.await_value(total, lambda count: count == 0)
        ends("c")
        one.await_value(total, lambda count: count == 1)
        assert one.value(f"resets({total}[1m])") == 1
        one.await_value(f"increase({total}[1m])", lambda count: 1.9 < count < 3)
        one.await_value(
            'ALERTS{alertname="IPSFlowRequestsWrong", alertstate="firing"}', lambda fires: fires == 1
        )
        assert {rule["name"] for rule in one.rules() if rule["health"] == "err"} == set()
    assert Ours.accepted == {"application/openmetrics-text"}
