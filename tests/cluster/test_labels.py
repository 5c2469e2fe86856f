"""Labels of warm nodes, with the real admission policy that restricts the labeller."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from ips_flows.kube.client import core
from tests.cluster.conftest import LOCAL, Cluster, local
from tests.cluster.test_warming import tagged

ACCOUNT = "system:serviceaccount:{}:ips-flow-labels"


def kubectl(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl."""
    return subprocess.run(
        ["kubectl", *words], env=cluster.environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def component(cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """Install the component from its kustomization with 0 replicas: the test runs the labeller itself."""
    folder = os.path.relpath(LOCAL.parent / "components" / "labels", tmp_path)
    kustomization: dict[str, Any] = {
        "namespace": cluster.namespace,
        "components": [folder],
        "patches": [
            {
                "target": {"kind": "Deployment", "name": "ips-flow-labels"},
                "patch": '[{"op": "replace", "path": "/spec/replicas", "value": 0}]',
            }
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    applied = kubectl(cluster, "apply", "-k", str(tmp_path))
    assert applied.returncode == 0, applied.stderr
    yield
    kubectl(cluster, "delete", "-k", str(tmp_path), "--ignore-not-found")


@pytest.mark.long
@pytest.mark.usefixtures("component")
def test_warm_nodes_are_labelled_and_nothing_else_is_touched(
    cluster: Cluster, name: str, tmp_path: Path
) -> None:
    """A node with the set gets the label, and loses it with the image. The policy denies every other change."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    warm, cold = cluster.nodes[:2]
    key = f"ips-flow.io/{name}"

    def label_of(node: str) -> str | None:
        found: str | None = cluster.kube.get(core("", "nodes", node))["metadata"]["labels"].get(key)
        return found

    config = yaml.safe_load(Path(cluster.environment["KUBECONFIG"]).read_text(encoding="utf-8"))
    api = config["clusters"][0]["cluster"]

    def may(patch: Any) -> bool:
        answer = requests.patch(
            f"{api['server']}{core('', 'nodes', warm)}?dryRun=All",
            json=patch,
            headers={
                "Authorization": f"Bearer {config['users'][0]['user']['token']}",
                "Impersonate-User": ACCOUNT.format(cluster.namespace),
                "Content-Type": "application/merge-patch+json",
            },
            verify=api["certificate-authority"],
            timeout=30,
        )
        assert answer.ok or "ValidatingAdmissionPolicy 'ips-flow-labels'" in answer.text, answer.text
        return answer.ok

    # A policy takes a moment to take effect.
    cluster.await_that(lambda: not may({"metadata": {"labels": {"foreign": "x"}}}), 60)
    assert may({"metadata": {"labels": {key: "x"}}})
    assert not may({"metadata": {"labels": {"kubernetes.io/hostname": "x"}}})
    assert not may({"metadata": {"labels": {"kubernetes.io/hostname": None}}})
    assert not may({"metadata": {"annotations": {"ips-flow.io/x": "y"}}})
    assert not may({"spec": {"unschedulable": True}})

    assert cluster.flow("run", "--image", image, "--nodes", warm).code == 0
    token = kubectl(cluster, "-n", cluster.namespace, "create", "token", "ips-flow-labels").stdout.strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    kubeconfig = tmp_path / "labeller.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
    cluster.kube.patch(core(cluster.namespace, "configmaps", "ips-sets"), {"data": {name: f"- {image}\n"}})
    process = cluster.start_flow("label", "-n", cluster.namespace, "--kubeconfig", str(kubeconfig))
    try:
        cluster.await_that(lambda: label_of(warm) is not None, 90, lambda: "the warm node is not labelled")
        assert label_of(cold) is None
        local("ctr", warm, "images", "rm", image)
        cluster.await_that(lambda: label_of(warm) is None, 400, lambda: "the label stays without its image")
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "can't be labelled" not in said
