"""Metrics and alerts of the deployed server in a real Prometheus, configured as in production."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from operator import le
from pathlib import Path

import pytest
import yaml

from ips_flows.core.constants import CONFIG_MAP, LIMIT_KEY
from ips_flows.kube.client import core
from ips_flows.operations.install.manifests import SERVER_NAME
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import Cluster, via
from tests.cluster.faults import keeper_pods
from tests.cluster.test_warming import request, tagged
from tests.fakes.faulty_registry import FaultyRegistry
from tests.fakes.webhook_receiver import receiving
from tests.support.paths import ROOT
from tests.support.prometheus import Prometheus, prometheus

pytestmark = pytest.mark.alone  # tasks of other tests would be counted as well

MONITORING = ROOT / "deploy" / "components" / "monitoring"
HOST = "10.201.0.1"  # the address of the host, as seen from pods
_COUNT_SECONDS = 60.0  # a change, a scrape, and a new list if the watch breaks


def scrape(cluster: Cluster, watcher: Prometheus) -> None:
    """Scrape the server's current pods, and wait until the server reports that it is in sync."""
    cluster.await_that(
        lambda: len(cluster.server_addresses()) == 1, 90, lambda: f"ready: {cluster.server_addresses()}"
    )
    (address,) = cluster.server_addresses()
    watcher.scrape([address], namespace=cluster.namespace)
    at = f'instance="{address}"'
    watcher.await_value(f"up{{{at}}}", lambda up: up == 1)
    watcher.await_value(f"min(ips_mirror_in_step{{{at}}})", lambda step: step == 1)


@pytest.fixture
def watcher(cluster: Cluster, tmp_path: Path) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes the server and evaluates the product's rules."""
    document = yaml.safe_load((MONITORING / "prometheusrule-ips-flow.yaml").read_text(encoding="utf-8"))
    with prometheus(tmp_path, SERVER_NAME, document["spec"]) as one:
        scrape(cluster, one)
        yield one


class Deltas:
    """Increases of sums of counters since the object was created."""

    def __init__(self, watcher: Prometheus, queries: Mapping[str, float]) -> None:
        self._watcher = watcher
        self._wanted = queries
        self._before = {query: watcher.value(f"sum({query})") for query in queries}
        assert None not in self._before.values(), self._before  # each exists before it increases

    def await_all(self) -> None:
        """Wait until each sum has the expected increase; none increases further."""
        for query, wanted in self._wanted.items():
            before = self._before[query] or 0.0
            self._watcher.await_value(f"sum({query})", partial(le, before + wanted), _COUNT_SECONDS)
        moved = {
            query: (self._watcher.value(f"sum({query})") or 0.0) - (self._before[query] or 0.0)
            for query in self._wanted
        }
        assert moved == dict(self._wanted)


def test_a_task_is_counted(
    cluster: Cluster, watcher: Prometheus, name: str, registry: FaultyRegistry
) -> None:
    """A task is counted while it runs and after its end: nodes, images, bytes, durations, Job, webhook."""
    nodes = len(cluster.nodes)
    held = via(registry, cluster.push(f"tests/{name}:1"))
    deltas = Deltas(
        watcher,
        {
            'ips_tasks_total{status="completed"}': 1,
            'ips_tasks_total{status!="completed"}': 0,
            "ips_task_duration_seconds_count": 1,
            'ips_queue_wait_seconds_count{priority="7"}': 1,
            'ips_nodes_processed_total{result="completed"}': nodes,
            'ips_nodes_processed_total{result!="completed"}': 0,
            'ips_images_pulled_total{result="pulled"}': nodes,
            "ips_image_pull_duration_seconds_count": nodes,
            "ips_batch_execution_duration_seconds_count": 1,
            'ips_job_creation_total{status="success"}': 1,
            'ips_job_creation_total{status="failure"}': 0,
            "ips_node_failures_total": 0,
            'ips_webhook_deliveries_total{event="task.completed",outcome="delivered"}': 1,
        },
    )
    bytes_before = watcher.value("ips_image_pulled_bytes_total") or 0.0
    with receiving(HOST) as receiver:
        registry.misbehave("held")
        cluster.submit(
            request(name=name, images=[held], priority=7, webhookUrl=receiver.url, nodeTimeout="5m")
        )
        cluster.await_pulling(name)
        watcher.await_value("ips_active_tasks", lambda count: count == 1)
        registry.misbehave("none")
        await_marks(cluster, name)
    assert audit(cluster, name)["status"] == "completed"
    deltas.await_all()
    assert (watcher.value("ips_image_pulled_bytes_total") or 0.0) > bytes_before
    watcher.await_value("ips_active_tasks", lambda count: count == 0)
    watcher.await_value('increase(ips_tasks_total{status="completed"}[10m])', lambda count: count > 0)


@pytest.mark.long
def test_a_failed_task_alerts(cluster: Cluster, watcher: Prometheus, name: str) -> None:
    """Failures are counted by class, and the alert for this class fires."""
    nodes = len(cluster.nodes)
    deltas = Deltas(
        watcher,
        {
            'ips_tasks_total{status="failed"}': 1,
            'ips_nodes_processed_total{result="failed"}': nodes,
            'ips_node_failures_total{reason="NotFound"}': nodes,
            'ips_node_failures_total{reason!="NotFound"}': 0,
        },
    )
    cluster.submit(request(name=name, images=[f"{cluster.registry}/tests/{name}-missing:1"]))
    await_marks(cluster, name)
    deltas.await_all()
    watcher.await_value(
        'ALERTS{alertname="IPSFlowRequestsWrong", alertstate="firing", reason="NotFound"}',
        lambda fires: fires == 1,
    )


@pytest.fixture
def one_slot(cluster: Cluster) -> Iterator[None]:
    """Limit the tasks that run at the same time to one; restore the limit at the end."""
    path = core(cluster.namespace, "configmaps", CONFIG_MAP)
    before = cluster.kube.get(path)["data"][LIMIT_KEY]
    cluster.kube.patch(path, {"data": {LIMIT_KEY: "1"}})
    yield
    cluster.kube.patch(path, {"data": {LIMIT_KEY: before}})


@pytest.mark.long
@pytest.mark.usefixtures("one_slot")
def test_a_waiting_task_is_pending(cluster: Cluster, watcher: Prometheus, name: str, tarpit: str) -> None:
    """A task behind the only slot is pending; if it is cancelled there, no queue wait is counted."""
    holder, waiter = f"{name}-holder", f"{name}-waiter"
    image = f"{tarpit}/slow:1"
    cluster.submit(request(name=holder, images=[image]))
    cluster.await_pulling(holder)
    watcher.await_value("ips_active_tasks", lambda count: count == 1)
    deltas = Deltas(watcher, {'ips_tasks_total{status="cancelled"}': 1, "ips_queue_wait_seconds_count": 0})
    cluster.submit(request(name=waiter, images=[image]))
    watcher.await_value("ips_pending_tasks", lambda count: count == 1)
    assert cluster.flow("cancel", waiter).code == 0
    await_marks(cluster, waiter)
    deltas.await_all()
    watcher.await_value("ips_pending_tasks", lambda count: count == 0)
    assert cluster.flow("cancel", holder).code == 0
    await_marks(cluster, holder)
    watcher.await_value("ips_active_tasks", lambda count: count == 0)


@pytest.mark.long
def test_a_restart_counts_no_history(cluster: Cluster, watcher: Prometheus, name: str) -> None:
    """A new server starts at 0 although ended tasks exist; each task that ends later is counted once."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.submit(request(name=f"{name}-0", images=[image]))
    await_marks(cluster, f"{name}-0")
    watcher.await_value("sum(ips_tasks_total)", lambda count: count > 0)
    (pod,) = keeper_pods(cluster)
    cluster.kube.delete(core(cluster.namespace, "pods", pod), grace_seconds=0)
    cluster.await_that(lambda: keeper_pods(cluster) not in ([pod], []), 90)
    scrape(cluster, watcher)
    # The series of the previous server become stale a moment later.
    watcher.await_value("count(ips_build_info)", lambda count: count == 1)
    assert watcher.value("sum(ips_tasks_total)") == 0
    assert watcher.value("sum(ips_webhook_deliveries_total)") == 0
    watcher.await_value("max(ips_keeper_holds_lease)", lambda holds: holds == 1)
    for node in cluster.nodes:
        cluster.await_listed(node, image)
    warm = {"ips_tasks_total": 1, 'ips_nodes_processed_total{result="warm"}': len(cluster.nodes)}
    deltas = Deltas(watcher, warm)
    cluster.submit(request(name=f"{name}-1", images=[image]))
    await_marks(cluster, f"{name}-1")
    deltas.await_all()


def test_every_rule_can_be_evaluated(cluster: Cluster, watcher: Prometheus) -> None:
    """All rules are healthy with the metrics of a running server, and no alert about the server is pending."""
    about_the_server = {"IPSFlowServerDown", "IPSFlowKeeperMissing", "IPSFlowMirrorNotInStep"}

    def well() -> bool:
        rules = watcher.rules()
        quiet = all(rule["state"] == "inactive" for rule in rules if rule["name"] in about_the_server)
        return quiet and {rule["health"] for rule in rules} == {"ok"}

    cluster.await_that(well, 60, lambda: str(watcher.rules()))


def test_the_component_builds(cluster: Cluster, tmp_path: Path) -> None:
    """`kubectl kustomize` builds it with base and server; Grafana's ConfigMap has the dashboard."""
    away = Path(os.path.relpath(ROOT / "deploy", tmp_path))
    kustomization = {
        "resources": [str(away / "base")],
        "components": [str(away / "components" / name) for name in ("server", "monitoring")],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)],
        env=cluster.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    kinds = [one["kind"] for one in found]
    assert (kinds.count("ServiceMonitor"), kinds.count("PrometheusRule")) == (1, 1)
    (shown,) = [one for one in found if one["metadata"]["name"] == "ips-flow-dashboard"]
    assert shown["data"]["ips-flow.json"] == (MONITORING / "dashboard.json").read_text(encoding="utf-8")
