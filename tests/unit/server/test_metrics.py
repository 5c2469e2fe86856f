"""Metrics: Kubernetes objects in, exposition text out."""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_metrics

from ips_flows.core.constants import LABEL_KIND, LABEL_TASK, LABEL_VERDICT
from ips_flows.core.errors import UnavailableError
from ips_flows.core.metrics import families
from ips_flows.core.metrics.families import FAMILIES
from ips_flows.core.pods.pull_job import results_map
from ips_flows.core.rest.task_store import COLLECTIONS, DONE, JOBS, LIVE, RESULTS
from ips_flows.core.results.results import Chunk
from ips_flows.kube.client import Kube, core, workflows
from ips_flows.kube.list_watch import Event, Informer, ListWatch, Replaced, Synced, Updated, WatchError
from ips_flows.server.metrics import Metrics
from tests.fakes.apiserver import ApiServer
from tests.support import keeper_harness
from tests.support.step_harness import Stage
from tests.support.watch_events import STARTED, counts, done, driver, job, live, node, notice, pulled

ROUTES = (("GET", "/api/v1/tasks", 200), ("POST", "/api/v1/tasks", 201), ("POST", "/api/v1/tasks", 400))
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass
class Hands:
    """A keeper with the two values that metrics read."""

    finish_jobs: int = 0
    holds_lease: bool = False


class Clock:
    """A clock with a settable time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


def made(kube: Kube, **options: Any) -> Metrics:
    """Return the metrics of a server, without process metrics."""
    metrics = Metrics(kube, "warm", process=False, **options)
    metrics.expect(ROUTES)
    return metrics


def text(metrics: Metrics) -> str:
    """Return the exposition in the text format of older Prometheus versions."""
    content_type, body = metrics.exposition()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


def moved(metrics: Metrics) -> list[str]:
    """Return the exposition lines that are not 0, without those that no task, Job or request changes."""
    still = ("#", "ips_mirror_", "ips_build_info")
    return [
        line
        for line in text(metrics).splitlines()
        if not line.startswith(still) and not line.endswith(" 0.0")
    ]


def tell(metrics: Metrics, *told: tuple[str, Event]) -> None:
    for collection, event in told:
        metrics.handle(collection, event)


def first_lists(**lists: Any) -> Iterator[tuple[str, Event]]:
    """Send the first list of each collection; empty if not given."""
    return ((collection, Replaced(tuple(lists.get(collection, ())))) for collection in COLLECTIONS)


def await_that(condition: Any) -> None:
    """Wait until the condition holds."""
    beat = threading.Event()
    for _ in range(1500):
        if condition():
            return
        beat.wait(0.02)
    assert condition()


def test_every_series_exists_from_the_start(kube: Kube) -> None:
    """Each label value and each bucket is 0, so that `increase` sees the first event."""
    exposed = {found.name: found for found in plain_metrics(text(made(kube)))}
    for family in FAMILIES:
        found = exposed[family.name.removesuffix("_total")]
        assert (found.type, found.documentation) == (family.kind, family.help)
        values = [
            {name: one for name, one in sample.labels.items() if name != "le"}
            for sample in found.samples
            if not sample.name.endswith(("_sum", "_count"))
        ]
        if family.labels and all(family.labels.values()):
            expected = [
                dict(zip(family.labels, one, strict=True))
                for one in itertools.product(*family.labels.values())
            ]
            assert len(values) == len(expected) * (len(family.buckets) + 1 if family.buckets else 1)
            assert all(one in values for one in expected)
        if family.kind == "histogram":
            buckets = {sample.labels["le"] for sample in found.samples if "le" in sample.labels}
            assert buckets == {*(str(bound) for bound in family.buckets), "+Inf"}
        if family not in (families.SILENCE, families.BUILD):
            assert {sample.value for sample in found.samples} == {0}
    assert {name for name in exposed if name.startswith("ips_")} == {
        family.name.removesuffix("_total") for family in FAMILIES
    }


def test_the_text_of_a_counter(kube: Kube) -> None:
    """Name, help, type and samples only: no `_created` series."""
    metrics = made(kube)
    tell(metrics, *first_lists(), (JOBS, Updated(job("j", "a"))))
    lines = [line for line in text(metrics).splitlines() if "ips_job_creation" in line]
    assert lines == [
        f"# HELP ips_job_creation_total {families.JOBS_MADE.help}",
        "# TYPE ips_job_creation_total counter",
        'ips_job_creation_total{status="success"} 1.0',
        'ips_job_creation_total{status="failure"} 0.0',
    ]
    assert "_created" not in text(metrics)


def test_a_task_from_start_to_end(kube: Kube) -> None:
    """The lines that change when a task waits, runs, loses its driver once, ends and sends its notification."""
    metrics = made(kube)
    tell(
        metrics,
        *first_lists(done=[done("old", told=notice())], live=[live("older")], jobs=[job("i", "older")]),
        (LIVE, Updated(live("a", "Pending"))),
        (LIVE, Updated(live("a", window=2, waves=(2,)))),
        (LIVE, Updated(live("a", window=2, waves=(2,), nodes=driver("lost")))),
        (JOBS, Updated(job("j", "a"))),
        (LIVE, WatchError(UnavailableError("no answer"))),
        (LIVE, Replaced((live("older"),))),
        (DONE, Updated(done("a", "failed", summary=counts()))),
        (DONE, Updated(done("a", "failed", summary=counts(), told=notice("delivered", 2, "task.failed")))),
        (DONE, Replaced((done("old", told=notice()), done("a", "failed", summary=counts())))),
    )
    assert moved(metrics) == [
        'ips_tasks_total{status="failed"} 1.0',
        'ips_task_duration_seconds_bucket{le="300.0",status="failed"} 1.0',
        'ips_task_duration_seconds_bucket{le="600.0",status="failed"} 1.0',
        'ips_task_duration_seconds_bucket{le="900.0",status="failed"} 1.0',
        'ips_task_duration_seconds_bucket{le="1800.0",status="failed"} 1.0',
        'ips_task_duration_seconds_bucket{le="3600.0",status="failed"} 1.0',
        'ips_task_duration_seconds_bucket{le="7200.0",status="failed"} 1.0',
        'ips_task_duration_seconds_bucket{le="14400.0",status="failed"} 1.0',
        'ips_task_duration_seconds_bucket{le="+Inf",status="failed"} 1.0',
        'ips_task_duration_seconds_count{status="failed"} 1.0',
        'ips_task_duration_seconds_sum{status="failed"} 300.0',
        'ips_queue_wait_seconds_bucket{le="60.0",priority="5"} 1.0',
        'ips_queue_wait_seconds_bucket{le="300.0",priority="5"} 1.0',
        'ips_queue_wait_seconds_bucket{le="900.0",priority="5"} 1.0',
        'ips_queue_wait_seconds_bucket{le="1800.0",priority="5"} 1.0',
        'ips_queue_wait_seconds_bucket{le="3600.0",priority="5"} 1.0',
        'ips_queue_wait_seconds_bucket{le="7200.0",priority="5"} 1.0',
        'ips_queue_wait_seconds_bucket{le="21600.0",priority="5"} 1.0',
        'ips_queue_wait_seconds_bucket{le="+Inf",priority="5"} 1.0',
        'ips_queue_wait_seconds_count{priority="5"} 1.0',
        'ips_queue_wait_seconds_sum{priority="5"} 40.0',
        'ips_nodes_processed_total{result="completed"} 5.0',
        'ips_nodes_processed_total{result="warm"} 3.0',
        'ips_nodes_processed_total{result="failed"} 1.0',
        'ips_nodes_processed_total{result="not_reached"} 1.0',
        'ips_images_pulled_total{result="pulled"} 5.0',
        'ips_images_pulled_total{result="present"} 4.0',
        'ips_images_pulled_total{result="failed"} 2.0',
        'ips_images_pulled_total{result="skipped"} 1.0',
        "ips_image_pulled_bytes_total 5000.0",
        'ips_node_failures_total{reason="NotFound"} 1.0',
        'ips_node_failures_total{reason="Timeout"} 1.0',
        'ips_job_creation_total{status="success"} 1.0',
        'ips_job_creation_total{status="failure"} 1.0',
        'ips_webhook_deliveries_total{event="task.failed",outcome="delivered"} 1.0',
        'ips_webhook_deliveries_total{event="task.failed",outcome="undelivered"} 1.0',
        "ips_active_tasks 1.0",
    ]


def test_a_restart_counts_no_history(kube: Kube) -> None:
    """After a start, past events are not counted; only gauges have values."""
    metrics = made(kube)
    told = done("a", summary=counts(), told=notice())
    tell(metrics, *first_lists(done=[told], live=[live("b"), live("c", "Pending")], jobs=[job("j", "b")]))
    tell(metrics, *first_lists(done=[told], live=[live("b"), live("c", "Pending")], jobs=[job("j", "b")]))
    assert moved(metrics) == ["ips_active_tasks 1.0", "ips_pending_tasks 1.0"]


def test_the_state_of_the_task_cache(kube: Kube) -> None:
    """In sync after the first list, out of sync while the API server fails; the age of its last response."""
    clock = Clock()
    metrics = made(kube, monotonic=clock)
    tell(metrics, *first_lists())
    clock.now += 12
    tell(metrics, (DONE, WatchError(UnavailableError("no answer"))), (LIVE, Updated(live("a"))))
    clock.now += 3
    tell(metrics, ("elsewhere", Replaced(())))
    lines = [line for line in text(metrics).splitlines() if line.startswith("ips_mirror_")]
    assert lines == [
        'ips_mirror_lists_total{collection="live"} 1.0',
        'ips_mirror_lists_total{collection="done"} 1.0',
        'ips_mirror_lists_total{collection="jobs"} 1.0',
        'ips_mirror_lists_total{collection="results"} 1.0',
        'ips_mirror_in_step{collection="live"} 1.0',
        'ips_mirror_in_step{collection="done"} 0.0',
        'ips_mirror_in_step{collection="jobs"} 1.0',
        'ips_mirror_in_step{collection="results"} 1.0',
        'ips_mirror_silence_seconds{collection="live"} 3.0',
        'ips_mirror_silence_seconds{collection="done"} 15.0',
        'ips_mirror_silence_seconds{collection="jobs"} 15.0',
        'ips_mirror_silence_seconds{collection="results"} 15.0',
    ]
    tell(metrics, (DONE, Replaced(())))  # listed while it can't be watched
    assert 'ips_mirror_in_step{collection="done"} 0.0' in text(metrics)
    for mended in (Updated(done("a")), Synced()):
        tell(metrics, (DONE, WatchError(UnavailableError("no answer"))), (DONE, mended))
        assert 'ips_mirror_in_step{collection="done"} 1.0' in text(metrics)


def test_the_metrics_of_the_keeper(kube: Kube) -> None:
    """Lease and number of finish Jobs; both are 0 without a keeper."""
    hands = Hands()
    metrics = made(kube, keeper=hands)
    hands.finish_jobs, hands.holds_lease = 3, True
    assert moved(metrics) == ["ips_keeper_holds_lease 1.0", "ips_keeper_finish_jobs_total 3.0"]
    assert moved(made(kube)) == []


def test_a_keeper_counts_its_finish_jobs(whole: Stage) -> None:
    """It counts the finish Jobs that it started. A keeper that waits for the Lease has 0 and does not act."""
    keeper_harness.argo_ends(whole, finished_at="2026-01-01T00:00:00Z")
    first, second = keeper_harness.keeper(whole), keeper_harness.keeper(whole, "keeper-2")
    keeper_harness.run_round(whole, first)
    keeper_harness.run_round(whole, second)
    assert [(one.holds_lease, one.finish_jobs) for one in (first, second)] == [(True, 1), (False, 0)]


def test_responses_by_route(kube: Kube) -> None:
    """Known routes exist from the start. Unknown paths and methods are counted as `other`."""
    metrics = made(kube)
    metrics.request("GET", "/api/v1/tasks", 200, 0.02)
    metrics.request("GET", "/api/v1/tasks/secret-name", 404, 0.001)
    metrics.request("BREW", "/api/v1/tasks", 405, 0.001)
    requests = [line for line in text(metrics).splitlines() if line.startswith("ips_api_request_total{")]
    assert requests == [
        'ips_api_request_total{code="200",method="GET",route="/api/v1/tasks"} 1.0',
        'ips_api_request_total{code="201",method="POST",route="/api/v1/tasks"} 0.0',
        'ips_api_request_total{code="400",method="POST",route="/api/v1/tasks"} 0.0',
        'ips_api_request_total{code="404",method="GET",route="other"} 1.0',
        'ips_api_request_total{code="405",method="other",route="other"} 1.0',
    ]
    assert 'le="0.025",method="GET",route="/api/v1/tasks"} 1.0' in text(metrics)


def test_open_metrics_by_accept_header(kube: Kube) -> None:
    """The OpenMetrics parser accepts it. Without the header the response is the text format."""
    metrics = made(kube)
    content_type, body = metrics.exposition(OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text")
    exposed = open_metrics(body.decode())  # type: ignore[no-untyped-call]
    assert {one.name for one in exposed} == {family.name.removesuffix("_total") for family in FAMILIES}
    assert metrics.exposition("text/html")[0].startswith("text/plain")


@pytest.mark.parametrize("accept", ["", OPEN_METRICS])
def test_promtool_accepts_the_metrics(kube: Kube, accept: str) -> None:
    """Names, units, help texts and types follow the rules of Prometheus, process metrics included."""
    metrics = Metrics(kube, "warm")
    tell(metrics, *first_lists(), (DONE, Updated(done("a", summary=counts()))))
    body = metrics.exposition(accept)[1]
    assert b"process_start_time_seconds" in body
    assert b"python_info" in body
    if accept:  # promtool reads the text format only
        assert body.endswith(b"# EOF\n")
        return
    checked = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_two_servers_share_nothing(kube: Kube) -> None:
    """Each has its own registry, also in one process."""
    first, second = made(kube), made(kube)
    tell(first, *first_lists(), (DONE, Updated(done("a"))))
    assert moved(second) == []


def put_results(server: ApiServer, name: str, task: str, chunk: Chunk) -> Any:
    return server.put("configmaps", results_map(name, "task", task, chunk))


def test_results_are_read_once(server: ApiServer, kube: Kube) -> None:
    """For the durations of pulls and batches. Results that exist at the start are not read."""
    metrics = made(kube, pauses=(0.01,))
    chunk = Chunk(0, 0, {"n1": node(3, pulled(2.0)), "n2": node(9, pulled(4.0))}, STARTED)
    old = put_results(server, "r-0", "a", chunk)
    tell(metrics, *first_lists(results=[old]))
    tell(metrics, (LIVE, Updated(live("b", window=2, waves=(2,)))))
    fresh = put_results(server, "r-1", "b", chunk)
    metrics.start()
    tell(metrics, (RESULTS, Updated(fresh)), (RESULTS, Updated(fresh)), (RESULTS, Replaced((old, fresh))))
    await_that(lambda: 'ips_results_reads_total{outcome="read"} 1.0' in text(metrics))
    metrics.stop()
    seen = text(metrics)
    assert "ips_image_pull_duration_seconds_count 2.0" in seen
    assert "ips_image_pull_duration_seconds_sum 6.0" in seen
    assert "ips_batch_execution_duration_seconds_count 1.0" in seen
    assert "ips_batch_execution_duration_seconds_sum 9.0" in seen
    assert len([call for call in server.calls if "/configmaps" in call]) == 1


def test_unreadable_results_are_counted(server: ApiServer, kube: Kube) -> None:
    """Deleted, replaced, invalid, of a newer version, forbidden: the reader continues with the next one."""
    metrics = made(kube, pauses=(0.01, 0.01))
    tell(metrics, *first_lists())
    chunk = Chunk(0, 0, {"n1": node(3, pulled(2.0))}, STARTED)
    gone = put_results(server, "gone", "a", chunk)
    gone["metadata"]["uid"] = "another"
    odd = put_results(server, "odd", "a", chunk)
    server.change("configmaps", "odd", {"binaryData": {"results.json.gz": "bm90IGd6aXA="}})
    empty = put_results(server, "empty", "a", chunk)
    server.change("configmaps", "empty", {"binaryData": None})
    fine = put_results(server, "fine", "a", chunk)
    metrics.start()
    server.fail("GET .*configmaps", 503, times=2)
    tell(metrics, *((RESULTS, Updated(one)) for one in (gone, odd, empty, fine)))
    await_that(lambda: 'ips_results_reads_total{outcome="read"} 1.0' in text(metrics))
    assert 'ips_results_reads_total{outcome="gone"} 1.0' in text(metrics)
    assert 'ips_results_reads_total{outcome="failed"} 2.0' in text(metrics)
    server.fail("GET .*configmaps", 403, "Forbidden")
    tell(metrics, (RESULTS, Updated(put_results(server, "forbidden", "a", chunk))))
    await_that(lambda: 'ips_results_reads_total{outcome="failed"} 3.0' in text(metrics))
    server.faults.clear()
    server.fail("GET .*configmaps", 503)
    tell(metrics, (RESULTS, Updated(put_results(server, "silent", "a", chunk))))
    await_that(lambda: 'ips_results_reads_total{outcome="failed"} 4.0' in text(metrics))
    metrics.stop()


def follow(kube: Kube, metrics: Metrics, until: Any) -> None:
    """Follow the collections of an API server as the task cache does, until a condition holds."""
    is_task = f"{LABEL_TASK}=true"
    sources = {
        LIVE: ListWatch(workflows("warm"), labels=f"{is_task},!{LABEL_VERDICT}"),
        DONE: ListWatch(workflows("warm"), labels=f"{is_task},{LABEL_VERDICT}", metadata_only=True),
        RESULTS: ListWatch(core("warm", "configmaps"), labels=f"{LABEL_KIND}=results", metadata_only=True),
    }
    with Informer(kube) as merge:
        merge.add(sources)
        for _ in range(1500):
            told = merge.next(0.05)
            if told:
                metrics.handle(*told)
            if until():
                return
    raise AssertionError(text(metrics))


def test_with_a_real_watch(server: ApiServer, kube: Kube) -> None:
    """A task ends during the watch; its label moves it from one collection to another."""

    def put(name: str) -> None:
        server.put(
            "workflows",
            {"metadata": {"name": name, "labels": {LABEL_TASK: "true"}}, "status": {"phase": "Running"}},
        )

    def end(name: str) -> None:
        patch = done("x", summary=counts())["metadata"]
        server.change(
            "workflows", name, {"metadata": {"labels": patch["labels"], "annotations": patch["annotations"]}}
        )

    metrics = made(kube)
    put("before")
    end("before")
    put("now")

    def seen() -> bool:
        return all(f'ips_mirror_in_step{{collection="{one}"}} 1.0' in text(metrics) for one in (LIVE, DONE))

    def act() -> bool:
        if seen() and "now" not in acted:
            acted.append("now")
            assert "ips_active_tasks 1.0" in text(metrics)
            end("now")
        return 'ips_tasks_total{status="completed"} 1.0' in text(metrics) and "ips_active_tasks 0.0" in text(
            metrics
        )

    acted: list[str] = []
    follow(kube, metrics, act)
