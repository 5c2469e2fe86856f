"""Metrics of an `ips-flow serve` process: cluster events, requests, keeper."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ips_flows.core.constants import LABEL_TASK
from ips_flows.core.pods.pull_job import results_map
from ips_flows.core.rest.trim import trim_workflow
from ips_flows.core.results.results import Chunk
from tests.fakes.apiserver import ApiServer
from tests.support.watch_events import STARTED, counts, done, driver, job, live, node, notice, pulled
from tests.unit.core.metrics.test_counter import totals
from tests.unit.server.test_main import Served, server, serving
from tests.unit.server.test_metrics import OPEN_METRICS, await_that

__all__ = ["server"]  # the fixture


def scraped(served: Served, accept: str = "") -> tuple[str, str]:
    """Return content type and text of a scrape."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{served.port}/metrics", headers={"Accept": accept} if accept else {}
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
        return answer.headers["Content-Type"], answer.read().decode()


def shows(served: Served, *lines: str) -> Callable[[], bool]:
    return lambda: set(lines) <= set(scraped(served)[1].splitlines())


def put(server: ApiServer, item: Any) -> str:
    """Store a task in the API server; return its uid."""
    item["metadata"] |= {"labels": {LABEL_TASK: "true"}}
    del item["metadata"]["uid"]
    return str(server.put("workflows", item)["metadata"]["uid"])


def ends(server: ApiServer, name: str, patch: Any) -> None:
    metadata = {key: patch["metadata"][key] for key in ("labels", "annotations")}
    server.change("workflows", name, {"metadata": metadata})


def test_what_a_server_counts(server: ApiServer, tmp_path: Path) -> None:
    """A task that ended before the start is not counted; one that runs and ends is counted in all metrics."""
    put(server, live("old", "Succeeded"))
    ends(server, "task-old", done("old", told=notice()))
    with serving(server, tmp_path) as served:
        served.await_line("holds the Lease")
        served.await_ready(server)
        content_type, text = scraped(served)
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")
        assert scraped(served, OPEN_METRICS)[0].startswith("application/openmetrics-text")
        assert 'ips_tasks_total{status="completed"} 0.0' in text
        assert 'ips_api_request_total{code="201",method="POST",route="/api/v1/tasks"} 0.0' in text
        await_that(
            shows(
                served,
                "ips_keeper_holds_lease 1.0",
                *(
                    f'ips_mirror_in_step{{collection="{one}"}} 1.0'
                    for one in ("live", "done", "jobs", "results")
                ),
            )
        )
        uid = put(server, live("a", window=2, waves=(2,), nodes=driver("lost")))
        await_that(shows(served, "ips_active_tasks 1.0", 'ips_job_creation_total{status="failure"} 1.0'))
        made = job("j", uid)
        made["metadata"]["namespace"] = "warm"
        server.put("jobs", made)
        both = {"n1": node(3, pulled(2.0), pulled(None)), "n2": node(9, pulled(4.0), pulled(None))}
        chunk = Chunk(0, 0, both, STARTED)
        server.put("configmaps", results_map("r", "task-a", uid, chunk))
        await_that(shows(served, 'ips_results_reads_total{outcome="read"} 1.0'))
        ends(server, "task-a", done("a", summary=counts(), told=notice()))
        await_that(
            shows(
                served,
                "ips_active_tasks 0.0",
                'ips_tasks_total{status="completed"} 1.0',
                'ips_nodes_processed_total{result="completed"} 5.0',
                'ips_job_creation_total{status="success"} 1.0',
                "ips_image_pull_duration_seconds_count 2.0",
                "ips_batch_execution_duration_seconds_sum 9.0",
                'ips_webhook_deliveries_total{event="task.completed",outcome="delivered"} 1.0',
            )
        )
        assert served.get("/nowhere")[0] == 404
        assert served.get("/api/v1/tasks")[0] == 401
        await_that(
            shows(
                served,
                'ips_api_request_total{code="404",method="GET",route="other"} 1.0',
                'ips_api_request_total{code="401",method="GET",route="/api/v1/tasks"} 1.0',
            )
        )
        assert served.get("/health")[0] == 200  # all threads run


@pytest.mark.parametrize(("code", "failures"), [("4", 1), ("1", 0)])
def test_the_cache_keeps_what_metrics_count(code: str, failures: int) -> None:
    """A trimmed Workflow still has its failed driver pods."""
    from ips_flows.core.metrics.counter import EventCounter  # noqa: PLC0415
    from ips_flows.core.rest.task_store import LIVE  # noqa: PLC0415

    one = EventCounter()
    one.listed(LIVE, [])
    told = one.changed(LIVE, trim_workflow(live("a", window=2, waves=(2,), nodes=driver("d", code=code))))
    assert totals(told).get("ips_job_creation_total{failure}", 0) == failures
    assert totals(told)["ips_queue_wait_seconds{5}"] == 40
