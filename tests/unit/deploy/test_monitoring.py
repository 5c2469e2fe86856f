"""The monitoring component: alerts fire when they should, and queries use exposed metrics."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ips_flows.core.metrics.families import FAMILIES
from ips_flows.core.results.reasons import FailureCategory, FailureReason
from ips_flows.operations.install.manifests import COMPONENTS, SERVER_NAME
from tests.support.paths import DEPLOY, ROOT
from tests.support.promql import complaints

FOLDER = ROOT / "deploy" / "components" / "monitoring"
JOB = 'job="ips-flow-server", namespace="warm"'


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[Any]:
    return [
        rule
        for group in document(FOLDER / "prometheusrule-ips-flow.yaml")["spec"]["groups"]
        for rule in group["rules"]
    ]


def dashboard() -> Any:
    return json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))


def dashboard_queries() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (one["definition"] for one in dashboard()["templating"]["list"] if one["type"] == "query")


@dataclass(frozen=True)
class Case:
    """Series, and whether an alert fires at a time: with these labels and this value in its texts, or not at all."""

    alert: str
    series: Mapping[str, str]
    at: str
    labels: Mapping[str, str] | None = None
    value: str = ""
    words: Mapping[str, str] = field(default_factory=dict)


def fires(alert: str, series: Mapping[str, str], at: str, value: str = "", **labels: str) -> Case:
    return Case(alert, series, at, {"namespace": "warm", **labels}, value)


def rests(alert: str, series: Mapping[str, str], at: str) -> Case:
    return Case(alert, series, at)


def one(name: str, values: str, **labels: str) -> dict[str, str]:
    """Return a series of the server in namespace warm, with one value per minute."""
    more = "".join(f', {label}="{text}"' for label, text in labels.items())
    return {f"{name}{{{JOB}{more}}}": values}


FAILED = ("ips_tasks_total", "failed")
UP, WAITING, RUNNING = "up", "ips_pending_tasks", "ips_active_tasks"
CASES = (
    Case("IPSFlowServerDown", {}, "5m", {"job": "ips-flow-server"}),
    fires("IPSFlowServerDown", one(UP, "1 0x10"), "7m", job="ips-flow-server"),
    rests("IPSFlowServerDown", one(UP, "1 0x10"), "4m"),
    rests("IPSFlowServerDown", one(UP, "1x10"), "10m"),
    fires("IPSFlowKeeperMissing", one("ips_keeper_holds_lease", "0x10"), "6m"),
    rests("IPSFlowKeeperMissing", one("ips_keeper_holds_lease", "0x3 1x10"), "10m"),
    rests(
        "IPSFlowKeeperMissing",  # one of two servers is on standby
        one("ips_keeper_holds_lease", "0x10", pod="a") | one("ips_keeper_holds_lease", "1x10", pod="b"),
        "10m",
    ),
    fires(
        "IPSFlowMirrorNotInStep",
        one("ips_mirror_in_step", "0x10", collection="live"),
        "6m",
        collection="live",
    ),
    fires(
        "IPSFlowMirrorNotInStep",
        one("ips_mirror_silence_seconds", "0+60x20", collection="done")
        | one("ips_mirror_in_step", "1x20", collection="done"),
        "10m",
        collection="done",
    ),
    rests(
        "IPSFlowMirrorNotInStep",
        one("ips_mirror_silence_seconds", "29x20", collection="done")
        | one("ips_mirror_in_step", "1x5 0x2 1x12", collection="done"),
        "15m",
    ),
    fires(
        "IPSFlowAPIErrors",
        one("ips_api_request_total", "0+10x40", method="GET", route="/api/v1/tasks", code="503")
        | one("ips_api_request_total", "0+90x40", method="GET", route="/api/v1/tasks", code="200"),
        "30m",
        value="10%",
    ),
    rests(
        "IPSFlowAPIErrors",
        one("ips_api_request_total", "0+1x40", method="GET", route="/api/v1/tasks", code="503")
        | one("ips_api_request_total", "0+99x40", method="GET", route="/api/v1/tasks", code="200"),
        "30m",
    ),
    rests(  # a server that has just started returns 503 to its probes
        "IPSFlowAPIErrors",
        one("ips_api_request_total", "0+90x40", method="GET", route="/readyz", code="503")
        | one("ips_api_request_total", "0+9x40", method="GET", route="/api/v1/tasks", code="200"),
        "30m",
    ),
    fires("IPSFlowResultsUnread", one("ips_results_reads_total", "0x5 1x30", outcome="failed"), "10m"),
    rests(
        "IPSFlowResultsUnread",
        one("ips_results_reads_total", "0+1x30", outcome="read")
        | one("ips_results_reads_total", "0+1x30", outcome="gone")
        | one("ips_results_reads_total", "2x30", outcome="failed"),
        "20m",
    ),
    fires(
        "IPSFlowTasksFailing",
        one("ips_tasks_total", "0+1x60", status="failed")
        | one("ips_tasks_total", "0x60", status="completed"),
        "30m",
    ),
    rests(  # two failed tasks are not enough
        "IPSFlowTasksFailing",
        one("ips_tasks_total", "0 1 2x60", status="failed")
        | one("ips_tasks_total", "0x60", status="completed"),
        "60m",
    ),
    rests(  # a few of many tasks failed
        "IPSFlowTasksFailing",
        one("ips_tasks_total", "0+1x60", status="failed")
        | one("ips_tasks_total", "0+3x60", status="completed"),
        "30m",
    ),
    rests(  # tasks that failed earlier do not count
        "IPSFlowTasksFailing",
        one("ips_tasks_total", "40x60", status="failed") | one("ips_tasks_total", "0x60", status="completed"),
        "30m",
    ),
    fires("IPSFlowQueueStuck", one(WAITING, "2x20") | one(RUNNING, "0x20"), "15m", value="2"),
    rests("IPSFlowQueueStuck", one(WAITING, "2x20") | one(RUNNING, "0x8 1 0x20"), "15m"),
    rests("IPSFlowQueueStuck", one(WAITING, "0x20") | one(RUNNING, "0x20"), "15m"),
    fires(
        "IPSFlowNoTaskEnds",
        one(WAITING, "4x300") | one(RUNNING, "3x300") | one("ips_tasks_total", "7x300", status="completed"),
        "185m",
        value="4",
    ),
    rests(
        "IPSFlowNoTaskEnds",
        one(WAITING, "4x300")
        | one(RUNNING, "3x300")
        | one("ips_tasks_total", "7x100 8x200", status="completed"),
        "185m",
    ),
    rests(
        "IPSFlowNoTaskEnds",
        one(WAITING, "0x300") | one(RUNNING, "3x300") | one("ips_tasks_total", "7x300", status="completed"),
        "185m",
    ),
    fires(
        "IPSFlowQueueSlow",
        one("ips_queue_wait_seconds_bucket", "0x90", le="3600", priority="5")
        | one("ips_queue_wait_seconds_bucket", "0+1x90", le="7200", priority="5")
        | one("ips_queue_wait_seconds_bucket", "0+1x90", le="+Inf", priority="5"),
        "80m",
        value="1h 54m 0s",
    ),
    rests(
        "IPSFlowQueueSlow",
        one("ips_queue_wait_seconds_bucket", "0+1x90", le="3600", priority="5")
        | one("ips_queue_wait_seconds_bucket", "0+1x90", le="+Inf", priority="5"),
        "80m",
    ),
    fires("IPSFlowJobsNotMade", one("ips_job_creation_total", "0+1x30", status="failure"), "10m"),
    rests(
        "IPSFlowJobsNotMade",
        one("ips_job_creation_total", "0x5 1x30", status="failure")
        | one("ips_job_creation_total", "0+9x30", status="success"),
        "20m",
    ),
    fires("IPSFlowFinishLost", one("ips_keeper_finish_jobs_total", "0+1x30"), "20m"),
    rests("IPSFlowFinishLost", one("ips_keeper_finish_jobs_total", "0 1 2x60"), "40m"),
    fires(
        "IPSFlowRegistryFailures",
        one("ips_node_failures_total", "0+2x30", reason="RateLimited")
        | one("ips_node_failures_total", "0+2x30", reason="NotFound"),
        "20m",
        reason="RateLimited",
    ),
    rests(
        "IPSFlowRegistryFailures", one("ips_node_failures_total", "0x5 4x30", reason="Unauthorized"), "20m"
    ),
    fires(
        "IPSFlowNodesFailing",
        one("ips_node_failures_total", "0+2x30", reason="NoSpace")
        | one("ips_node_failures_total", "0+2x30", reason="Cancelled"),
        "20m",
        reason="NoSpace",
    ),
    rests("IPSFlowNodesFailing", one("ips_node_failures_total", "0+9x30", reason="Cancelled"), "20m"),
    fires(
        "IPSFlowRequestsWrong",
        one("ips_node_failures_total", "0x5 1x30", reason="NotFound"),
        "20m",
        reason="NotFound",
    ),
    rests("IPSFlowRequestsWrong", one("ips_node_failures_total", "5x30", reason="NotFound"), "20m"),
    fires(
        "IPSFlowWorkerImageMissing", one("ips_node_failures_total", "0x5 1x30", reason="WorkerImage"), "20m"
    ),
    rests("IPSFlowWorkerImageMissing", one("ips_node_failures_total", "0+5x30", reason="Timeout"), "20m"),
    fires(
        "IPSFlowWebhookUndelivered",
        one("ips_webhook_deliveries_total", "0+1x30", event="task.failed", outcome="undelivered"),
        "10m",
    ),
    rests(  # the receiver was down for a moment
        "IPSFlowWebhookUndelivered",
        one("ips_webhook_deliveries_total", "0x5 1x60", event="task.failed", outcome="undelivered")
        | one("ips_webhook_deliveries_total", "0+9x60", event="task.failed", outcome="delivered"),
        "60m",
    ),
    fires(
        "IPSFlowWebhookRefused",
        one("ips_webhook_deliveries_total", "0x5 1x30", event="task.failed", outcome="gone"),
        "20m",
        outcome="gone",
    ),
    rests(
        "IPSFlowWebhookRefused",
        one("ips_webhook_deliveries_total", "0+1x30", event="task.failed", outcome="undelivered"),
        "20m",
    ),
)


def test_every_alert_fires_and_rests(tmp_path: Path) -> None:
    """Simulated by promtool, each case fires or not; the test compares labels and annotations."""
    known = {rule["alert"]: rule for rule in rules()}
    spec = document(FOLDER / "prometheusrule-ips-flow.yaml")["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    tests = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [simulated(number, case, known[case.alert]) for number, case in enumerate(CASES)],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for fired in (True, False):
        assert {case.alert for case in CASES if (case.labels is not None) == fired} == set(known)


def simulated(number: int, case: Case, rule: Any) -> Any:
    """Return a case in promtool's format."""
    expected = []
    if case.labels is not None:
        words = {
            key: re.sub(
                r"{{ \$(?:labels\.(\w+)|value[^}]*) }}",
                lambda found: (case.labels or {}).get(found[1], "") if found[1] else case.value,
                text,
            )
            for key, text in rule["annotations"].items()
        }
        expected = [{"exp_labels": {**case.labels, **rule["labels"]}, "exp_annotations": words}]
    return {
        "name": f"{number} {case.alert}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


@pytest.mark.parametrize(
    ("category", "alert"),
    [
        (FailureCategory.IMAGE, "IPSFlowRequestsWrong"),
        (FailureCategory.REGISTRY, "IPSFlowRegistryFailures"),
        (FailureCategory.NODE, "IPSFlowNodesFailing"),
        (FailureCategory.WORKER, "IPSFlowWorkerImageMissing"),
    ],
)
def test_an_alert_names_every_failure_of_its_category(category: FailureCategory, alert: str) -> None:
    """Every failure class fires the alert of its category."""
    (rule,) = (rule for rule in rules() if rule["alert"] == alert)
    (named,) = re.findall(r'reason=~?"([^"]*)"', rule["expr"])
    assert sorted(named.split("|")) == sorted(one for one in FailureReason if one.category is category)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_has_all_texts_and_a_valid_query(rule: Any) -> None:
    """Each alert has severity, summary, description and runbook; its query uses exposed metrics."""
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert all(rule["annotations"].values())
    assert complaints(rule["expr"]) == []


def test_a_runbook_quotes_commands_and_log_messages_that_exist() -> None:
    """Code in a runbook is a command, or part of a message that the server logs."""
    files = [*(ROOT / "ips_flows" / "server").glob("*.py"), *(ROOT / "ips_flows" / "controller").glob("*.py")]
    logged = [
        message
        for file in files
        for message in re.findall(
            r'\b(?:info|warning|error)\(\s*f?"([^"]+)"', file.read_text(encoding="utf-8")
        )
    ]
    quoted = {text for rule in rules() for text in re.findall(r"`([^`]+)`", rule["annotations"]["runbook"])}
    messages = {text for text in quoted if not text.startswith(("kubectl ", "ips-flow "))}
    assert messages
    assert [text for text in messages if not any(text in message for message in logged)] == []


@pytest.mark.parametrize("name", sorted(one.name for one in FAMILIES))
def test_every_metric_is_on_the_dashboard(name: str) -> None:
    """At least one panel queries it."""
    assert any(re.search(rf"\b{name}(_bucket|_sum|_count)?\b", query) for query in dashboard_queries())


@pytest.mark.parametrize("query", sorted(set(dashboard_queries())))
def test_a_panel_queries_exposed_metrics(query: str) -> None:
    """Every metric, label and value of its query is exposed; the query selects only the chosen namespaces."""
    assert complaints(query) == []
    if not query.startswith("label_values"):
        assert query.count('{namespace=~"$namespace"') == len(re.findall(r"\b(?:ips|process)_\w+", query))


def test_promtool_reads_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """Prometheus parses each query."""
    known = [one for one in dashboard_queries() if not one.startswith("label_values")]
    assert len(known) > 30
    recorded = [
        {
            "record": f"panel:{number}",
            "expr": query.replace("$__rate_interval", "2m").replace("$namespace", "a|b"),
        }
        for number, query in enumerate(known)
    ]
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8"
    )
    done = subprocess.run(
        ["promtool", "check", "rules", "rules.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('sum by (status) (rate(ips_tasks_total{status="completed"}[5m]))', []),
        ('ips_tasks_total{status="splendid"}', ["status of ips_tasks_total is never splendid"]),
        ('ips_tasks_total{status=~"failed|splendid"}', ["status of ips_tasks_total is never splendid"]),
        ('ips_tasks_total{node="n1"}', ["ips_tasks_total has no label node"]),
        ("sum by (reason) (ips_tasks_total)", ["reason is no label of ips_tasks_total"]),
        ("rate(ips_task_total[5m])", ["no metric ips_task_total is exposed"]),
        ("ips_queue_wait_seconds", ["no metric ips_queue_wait_seconds is exposed"]),
        ("1 > 2", ["no metric at all"]),
    ],
)
def test_a_wrong_query_is_found(query: str, expected: list[str]) -> None:
    """The check reports each kind of error."""
    assert complaints(query) == expected


def test_the_dashboard_is_laid_out() -> None:
    """Panels have titles and targets, do not overlap, and have unique ids; each part has a row."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == ["Overview", "Queue", "Throughput", "Pulls", "Failures", "Webhooks", "API", "Server"]
    cells = [
        (column, line)
        for panel in panels
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) == 23
    for panel in panels:
        assert panel["title"]
        assert panel["type"] == "row" or panel["targets"]


def test_the_monitor_finds_the_server() -> None:
    """It selects label and port of the Service; rules and dashboard use the Service's name as the job."""
    service = document(FOLDER.parent / "server" / "service-server.yaml")
    monitor = document(FOLDER / "servicemonitor-server.yaml")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["path"], endpoint["port"]) == ("/metrics", service["spec"]["ports"][0]["name"])
    queries = [*(rule["expr"] for rule in rules()), *dashboard_queries()]
    jobs = {job for query in queries for job in re.findall(r'job="([^"]*)"', query)}
    assert jobs == {service["metadata"]["name"]}


def test_the_component_lists_every_file() -> None:
    """It is a kustomization of kind Component; `install` does not apply it, because a cluster may lack its kinds."""
    kustomization = document(FOLDER / "kustomization.yaml")
    (generated,) = kustomization["configMapGenerator"]
    assert kustomization["kind"] == "Component"
    assert generated["options"]["labels"]["grafana_dashboard"] == "1"
    listed = {*kustomization["resources"], *(file.partition("=")[2] for file in generated["files"])}
    assert {"kustomization.yaml", *listed} == {file.name for file in FOLDER.iterdir()}
    for file in kustomization["resources"]:
        assert file.startswith(document(FOLDER / file)["kind"].lower() + "-")
    assert FOLDER.name not in COMPONENTS


def test_the_readmes_scrape_config_is_valid(tmp_path: Path) -> None:
    """Prometheus accepts it, without the service discovery: Debian's build has no Kubernetes support."""
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", readme, re.DOTALL)
    config = yaml.safe_load(text)
    (job,) = config["scrape_configs"]
    assert job["job_name"] == SERVER_NAME
    assert job.pop("kubernetes_sd_configs") == [{"role": "endpoints", "namespaces": {"names": ["ips-flow"]}}]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    checked = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
