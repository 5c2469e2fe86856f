"""Submitting, following, interrupting, cancelling and deleting tasks on the real cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from ips_flows.core.constants import LABEL_TASK
from ips_flows.core.errors import NotFoundError
from ips_flows.core.k8s import objects
from ips_flows.kube.client import workflows
from ips_flows.operations.install.manifests import SERVER, load_manifests
from tests.cluster.conftest import LOCAL, Cluster, interrupt
from tests.cluster.test_warming import request, tagged


def test_ctrl_c_leaves_the_task_running(cluster: Cluster, name: str) -> None:
    """An interrupted `run` exits with 130 and prints the next commands; the task still completes."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    process = cluster.start_flow("run", "--image", image, "--name", name)
    cluster.await_that(lambda: cluster.flow("get", name).code == 0, 30)
    interrupt(process)
    _, narration = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"ips-flow wait {name}" in narration
    assert f"ips-flow cancel {name}" in narration
    assert cluster.flow("wait", name).code == 0
    assert all(image in cluster.on_node(node) for node in cluster.nodes)


def test_the_wait_has_its_own_timeout(cluster: Cluster, name: str, tarpit: str) -> None:
    """`--timeout` ends the command with 124 while the task runs on; the task's own `timeout` fails it as Timeout."""
    text = request(name=name, images=[f"{tarpit}/slow:1"], timeout="45s", nodeTimeout="45s")
    assert cluster.flow("run", "-", "--timeout", "3s", text=text).code == 124
    waited = cluster.flow("wait", name)
    assert waited.code == 1, waited.err
    task = cluster.task(name)
    assert {one["reason"] for one in task["failedNodeDetails"]} == {"Timeout"}
    assert task["progress"]["failedNodes"] == len(cluster.nodes)
    cluster.await_nothing_left(name)


def test_a_node_timeout_ends_a_silent_pull(cluster: Cluster, name: str, tarpit: str) -> None:
    """A node that does not finish within `nodeTimeout` fails as Timeout; results of its other images are kept."""
    good = tagged(cluster.push(f"tests/{name}:1"))
    text = request(name=name, images=[good, f"{tarpit}/slow:1"], nodeTimeout="15s")
    outcome = cluster.flow("run", "-", "-o", "json", text=text)
    assert outcome.code == 1, outcome.err
    for node in cluster.nodes:
        statuses = outcome.json()["nodeStatuses"][node]
        assert statuses[good]["result"] == "pulled"
        assert statuses[f"{tarpit}/slow:1"]["reason"] == "Timeout"
        assert good in cluster.on_node(node)


def test_the_same_request_again_is_unchanged(cluster: Cluster, name: str) -> None:
    """The same name and request is the same task; another request with the same name is rejected."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    assert cluster.flow("run", "--image", image, "--name", name).code == 0
    again = cluster.flow("run", "--image", image, "--name", name)
    assert again.code == 0
    assert "unchanged" in again.err
    other = cluster.flow("run", "--image", image, "--name", name, "--priority", "9")
    assert other.code == 1
    assert name in other.err


def test_logs_show_what_the_steps_did(cluster: Cluster, name: str) -> None:
    """The logs of the steps are available after the end; each line begins with its step."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    assert cluster.flow("run", "--image", image, "--name", name).code == 0
    lines = cluster.flow("logs", name, "--follow").out.splitlines()
    assert f"[filter] {len(cluster.nodes)} eligible nodes: 0 warm, {len(cluster.nodes)} to do" in lines
    assert f"[drive] {cluster.nodes[0]}: 1 pulled" in lines
    assert any(line.startswith("[finish] completed: ") for line in lines), lines


def test_a_deleted_task_is_gone(cluster: Cluster, name: str) -> None:
    """`delete` removes the Workflow and all of its results."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    assert cluster.flow("run", "--image", image, "--name", name).code == 0
    assert cluster.flow("delete", name).code == 0
    with pytest.raises(NotFoundError):
        cluster.workflow(name)
    assert cluster.flow("get", name).code == 1
    cluster.await_nothing_left(name)


def test_doctor_finds_a_sound_installation(cluster: Cluster) -> None:
    """All checks of `doctor` pass on the local cluster."""
    outcome = cluster.flow("doctor")
    assert outcome.code == 0, outcome.out
    assert "fail" not in outcome.out


def test_the_namespace_is_restricted(cluster: Cluster) -> None:
    """The namespace enforces the `restricted` Pod Security Standard."""
    labels = cluster.kube.get(f"/api/v1/namespaces/{cluster.namespace}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_kustomize_and_install_make_the_same_objects(cluster: Cluster) -> None:
    """`kubectl apply -k deploy/base` and `ips-flow install` create the same objects from the same files."""
    built = subprocess.run(
        ["kubectl", "kustomize", str(LOCAL.parent / "base")],
        env=cluster.environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    theirs = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(built)}
    ours = {(one["kind"], one["metadata"]["name"]): one for one in load_manifests("ips-flow")}
    assert theirs == ours


def test_components_go_with_the_base(cluster: Cluster, tmp_path: Path) -> None:
    """A kustomization of base and server creates the same objects as `ips-flow install --with-server`."""
    base, server = (os.path.relpath(LOCAL.parent / part, tmp_path) for part in ("base", "components/server"))
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "ips-flow",
        "resources": [base],
        "components": [server],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    built = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)],
        env=cluster.environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    theirs = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(built)}
    ours = {
        (one["kind"], one["metadata"]["name"]): one
        for one in load_manifests("ips-flow", components=(SERVER,))
    }
    assert theirs == ours


def _submit_form(cluster: Cluster, name: str, **arguments: str) -> None:
    """Create a Workflow from the template as the Argo UI's form does, and wait until Argo has added its labels."""
    parameters = [{"name": key, "value": value} for key, value in arguments.items()]
    cluster.kube.create(
        workflows(cluster.namespace),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name},
            "spec": {"workflowTemplateRef": {"name": "ips-prewarm"}, "arguments": {"parameters": parameters}},
        },
    )
    cluster.await_that(
        lambda: LABEL_TASK in objects.labels(cluster.workflow(name)),
        60,
        lambda: f"Argo has not labelled {name}",
    )


def test_the_submit_form_works_with_plain_arguments(cluster: Cluster, name: str) -> None:
    """A Workflow that the Argo UI creates from the template with the form's arguments is a task like any other."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    arguments = {"images": f"{image}\n", "batch-size": "1"}
    _submit_form(cluster, name, **arguments)
    assert cluster.flow("wait", name).code == 0
    task = cluster.task(name)
    assert task["batchSize"] == 1
    assert {task["nodeStatuses"][node][image]["result"] for node in cluster.nodes} == {"pulled"}


def test_a_bad_form_is_a_failed_task_with_a_reason(cluster: Cluster, name: str) -> None:
    """The step filter checks the form's values: the task fails with the same message as on the command line."""
    arguments = {"images": "busybox:1", "batch-size": "0"}
    _submit_form(cluster, name, **arguments)
    assert cluster.flow("wait", name).code == 1
    assert "got 0; allowed: a number from 1 to 1000" in cluster.task(name)["errorMessage"]
