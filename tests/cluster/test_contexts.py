"""`run` with several contexts: two contexts of the real cluster, with a namespace each, act as two clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ips_flows.core import clock
from ips_flows.core.constants import CONFIG_MAP
from ips_flows.core.task import as_json
from ips_flows.kube.client import core
from ips_flows.operations import tasks
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import Cluster
from tests.cluster.test_upgrade import template_image
from tests.cluster.test_warming import tagged

pytestmark = pytest.mark.alone  # a second installation changes cluster-scoped objects


@pytest.fixture
def elsewhere(cluster: Cluster, name: str) -> Iterator[str]:
    """Install IPS Flow in a second namespace, without a server and with the settings of the first."""
    settings = cluster.kube.get(core(cluster.namespace, "configmaps", CONFIG_MAP))["data"]
    wanted = ["--image", template_image(cluster), "--worker-image", settings["worker-image"]]
    made = cluster.flow("install", "-n", name, "--create-namespace", "--without-priority-policy", *wanted)
    assert made.code == 0, made.err
    yield name
    removed = cluster.flow("uninstall", "-n", name, "--cancel")
    cluster.kube.delete(f"/api/v1/namespaces/{name}")
    assert removed.code == 0, removed.err


@pytest.fixture
def contexts(
    cluster: Cluster, elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Return context → namespace; commands of the test use a kubeconfig with these contexts."""
    config = yaml.safe_load(Path(cluster.environment["KUBECONFIG"]).read_text(encoding="utf-8"))
    (one,) = config["contexts"]
    namespaces = {"first": cluster.namespace, "second": elsewhere}
    config["contexts"] = [
        {"name": context, "context": {**one["context"], "namespace": namespace}}
        for context, namespace in namespaces.items()
    ]
    config["current-context"] = "first"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setitem(cluster.environment, "KUBECONFIG", str(file))
    monkeypatch.delitem(cluster.environment, "IPS_FLOW_NAMESPACE")
    return namespaces


def task_in(cluster: Cluster, namespace: str, name: str) -> Any:
    """Return a task of any namespace, as `get -o json` prints it."""
    return as_json.task_json(tasks.get_task(cluster.kube, namespace, name), clock.now())


def test_a_task_in_each_of_two_clusters(cluster: Cluster, name: str, contexts: dict[str, str]) -> None:
    """One command warms both clusters, follows both tasks, and reports both results."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    outcome = cluster.flow(
        "run", "--image", image, "--name", name, "--context", "first", "--context", "second"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "2 of 2 clusters completed: first, second"
    for context, namespace in contexts.items():
        assert f"[{context}] task {name} submitted in namespace {namespace}" in outcome.err
        assert f"[{context}] {name}: planned" in outcome.err
        assert f"[{context}] completed: every image is on" in outcome.out
        task = task_in(cluster, namespace, name)
        assert task["status"] == "completed"
        results = {node: images[image]["result"] for node, images in task["nodeStatuses"].items()}
        assert sorted(results) == cluster.nodes
        assert set(results.values()) <= {"pulled", "present"}
    assert all(image in cluster.on_node(node) for node in cluster.nodes)
    await_marks(cluster, name)
    audit(cluster, name)


def test_one_of_two_fails(cluster: Cluster, name: str, contexts: dict[str, str], tmp_path: Path) -> None:
    """A name that is taken in one cluster does not affect the other; report, documents and exit code show it."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    other = ["--image", image, "--priority", "4", "--name", name]
    taken = cluster.flow("run", *other, "--context", "second", "--detach")
    assert taken.code == 0, taken.err
    report = tmp_path / "report.xml"
    both = ["--context", "first", "--context", "second"]
    outcome = cluster.flow(
        "run", "--image", image, "--name", name, *both, "-o", "json", "--junit", str(report)
    )
    assert outcome.code == 1
    assert f"error: [second] name {name} is taken in namespace {contexts['second']}" in outcome.err
    assert outcome.err.splitlines()[-1] == "1 of 2 clusters completed: first; not submitted: second"
    document = json.loads(outcome.out)
    assert (document["context"], document["status"]) == ("first", "completed")
    assert all(image in cluster.on_node(node) for node in cluster.nodes)
    text = report.read_text(encoding="utf-8")
    assert f'name="[first] {name}"' in text
    assert 'type="NameTakenError"' in text
