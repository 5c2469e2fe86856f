"""Every part is broken while it works; each test ends with the same audit."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from ips_flows.conventions import CONFIG_MAP
from ips_flows.kube import core, workflows
from tests.cluster import processes
from tests.cluster.audit import audit
from tests.cluster.conftest import LOCAL, Cluster
from tests.cluster.test_warming import request, tagged
from tests.fakes.registry import FaultyRegistry, faulty_registry

PORTS = range(5010, 5020)


@pytest.fixture
def registry(cluster: Cluster) -> Iterator[FaultyRegistry]:
    """A registry in front of the real one that misbehaves on order."""
    with faulty_registry("10.201.0.1", PORTS, cluster.registry) as running:
        yield running


@pytest.fixture
def slow(cluster: Cluster, name: str, tarpit: str) -> tuple[str, list[str]]:
    """A task that pulls for about 40 s and then fails: a good image, and one from a registry that never answers."""
    good = tagged(cluster.push(f"tests/{name}:1"))
    images = [good, f"{tarpit}/slow:1"]
    text = request(name=name, images=images, nodeTimeout="40s", timeout="150s")
    submitted = cluster.flow("run", "-", "--detach", text=text)
    assert submitted.code == 0, submitted.err
    cluster.await_that(lambda: bool(processes.drivers(name)), 90, lambda: "no driver came")
    cluster.await_that(lambda: any(wave["pullingNodes"] for wave in cluster.task(name)["waves"]), 60)
    return name, images


def kill(part: str) -> None:
    subprocess.run([LOCAL / "kill", part], check=True, capture_output=True)


def up() -> None:
    subprocess.run([LOCAL / "up"], check=True, capture_output=True)


def via(registry: FaultyRegistry, reference: str) -> str:
    """The same image by the way of the faulty registry."""
    return f"{registry.address}/{tagged(reference).partition('/')[2]}"


def pods_made(cluster: Cluster, name: str) -> int:
    """How many pull pods a task had, by the Job controller's events."""
    events = cluster.kube.list(core(cluster.namespace, "events"), fields="reason=SuccessfulCreate")
    return sum(name in event["involvedObject"]["name"] for event in events)


@pytest.mark.alone
def test_a_killed_driver_costs_nothing(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A driver that is SIGKILLed is replaced inside the same attempt, and no node is asked twice."""
    name, images = slow
    (driver,) = processes.drivers(name)
    os.kill(driver, signal.SIGKILL)
    assert cluster.flow("wait", name).code == 1
    task = audit(cluster, name)
    assert {one["result"] for one in (task["nodeStatuses"][node][images[0]] for node in cluster.nodes)} == {
        "pulled"
    }
    assert {one["reason"] for one in task["failedNodeDetails"]} == {"Timeout"}
    assert pods_made(cluster, name) == len(cluster.nodes)
    assert len(cluster.flow("logs", name).out.split("adopted in epoch")) == 2


@pytest.mark.alone
@pytest.mark.long
def test_two_drivers_at_once(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A frozen driver whose pod was given up finds its Job taken when it wakes, and leaves it alone."""
    name, _ = slow
    (frozen,) = processes.drivers(name)
    os.kill(frozen, signal.SIGSTOP)
    try:
        labels = f"workflows.argoproj.io/workflow={name},ips-flow.io/step=drive"
        for pod in cluster.kube.list(core(cluster.namespace, "pods"), labels=labels, metadata_only=True):
            cluster.kube.delete(core(cluster.namespace, "pods", pod["metadata"]["name"]), grace_seconds=0)
        cluster.await_that(lambda: len(set(processes.drivers(name)) - {frozen}) == 1, 90)
    finally:
        if frozen in processes.drivers(name):
            os.kill(frozen, signal.SIGCONT)
    assert cluster.flow("wait", name).code == 1
    audit(cluster, name)
    assert pods_made(cluster, name) == len(cluster.nodes)


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize("part", ["argo-controller", "apiserver"])
def test_a_control_part_is_away_for_a_while(cluster: Cluster, slow: tuple[str, list[str]], part: str) -> None:
    """Without Argo's controller or the API server for 20 s a task goes on where it was."""
    name, images = slow
    kill(part)
    try:
        subprocess.run(["sleep", "20"], check=True)  # the length of the outage is the fault itself
    finally:
        up()
    assert cluster.flow("wait", name).code == 1
    task = audit(cluster, name)
    assert {task["nodeStatuses"][node][images[0]]["result"] for node in cluster.nodes} == {"pulled"}
    assert pods_made(cluster, name) == len(cluster.nodes)


@pytest.mark.alone
@pytest.mark.long
def test_a_node_dies_in_the_middle(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """Images of a node that dies are lost as NodeLost or Timeout; the other node's stand."""
    name, images = slow
    victim = _node_without_driver(cluster, name)
    kill(victim)
    try:
        assert cluster.flow("wait", name).code == 1
        task = cluster.task(name)
        assert task["nodeStatuses"][victim][images[1]]["reason"] in ("NodeLost", "Timeout")
        other = next(node for node in cluster.nodes if node != victim)
        assert task["nodeStatuses"][other][images[0]]["result"] == "pulled"
    finally:
        up()
    audit(cluster, name)


@pytest.mark.alone
@pytest.mark.long
def test_a_node_is_cut_off_and_comes_back(cluster: Cluster, slow: tuple[str, list[str]]) -> None:
    """A node without network for 20 s ends as the others do."""
    name, _ = slow
    victim = _node_without_driver(cluster, name)
    link = f"lcv{victim.removeprefix('node')}"
    subprocess.run(["ip", "link", "set", link, "down"], check=True)
    try:
        subprocess.run(["sleep", "20"], check=True)  # the length of the outage is the fault itself
    finally:
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
    assert cluster.flow("wait", name).code == 1
    audit(cluster, name)


@pytest.mark.alone
def test_a_node_is_cordoned_in_the_middle(cluster: Cluster, name: str) -> None:
    """A node that is cordoned after the plan was made is still warmed: the plan stands."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    text = request(name=name, images=[image], batchSize=1)
    assert cluster.flow("run", "-", "--detach", text=text).code == 0
    cluster.await_that(lambda: bool(processes.drivers(name)), 90)
    last = cluster.nodes[-1]
    cluster.kube.patch(f"/api/v1/nodes/{last}", {"spec": {"unschedulable": True}})
    try:
        assert cluster.flow("wait", name).code == 0
    finally:
        cluster.kube.patch(f"/api/v1/nodes/{last}", {"spec": {"unschedulable": None}})
    audit(cluster, name, window=1)


@pytest.mark.parametrize(("fault", "reason"), [("401", "Unauthorized"), ("404", "NotFound")])
def test_a_registry_that_refuses(
    cluster: Cluster, name: str, registry: FaultyRegistry, fault: str, reason: str
) -> None:
    """A refusal for good ends the pod early, with the registry's word."""
    image = via(registry, cluster.push(f"tests/{name}:1"))
    registry.misbehave(fault)  # type: ignore[arg-type]
    outcome = cluster.flow("run", "--image", image, "--name", name, "-o", "json")
    assert outcome.code == 1, outcome.err
    assert {one["reason"] for one in outcome.json()["failedNodeDetails"]} == {reason}
    audit(cluster, name)


@pytest.mark.parametrize("fault", ["429", "500", "truncated"])
def test_a_registry_that_recovers(cluster: Cluster, name: str, registry: FaultyRegistry, fault: str) -> None:
    """A passing fault is left to the kubelet's back-off, and the task completes."""
    image = via(registry, cluster.push(f"tests/{name}:1"))
    registry.misbehave(fault, left=len(cluster.nodes) * 2)  # type: ignore[arg-type]
    outcome = cluster.flow("run", "--image", image, "--name", name, "-o", "json")
    assert outcome.code == 0, outcome.err
    audit(cluster, name)


@pytest.mark.parametrize(("fault", "reason"), [("429", "RateLimited"), ("500", "RegistryUnavailable")])
def test_a_registry_that_does_not_recover(
    cluster: Cluster, name: str, registry: FaultyRegistry, fault: str, reason: str
) -> None:
    """When `nodeTimeout` is up, what the registry kept saying is the reason."""
    image = via(registry, cluster.push(f"tests/{name}:1"))
    registry.misbehave(fault)  # type: ignore[arg-type]
    outcome = cluster.flow("run", "--image", image, "--name", name, "--node-timeout", "15s", "-o", "json")
    assert outcome.code == 1, outcome.err
    assert {one["reason"] for one in outcome.json()["failedNodeDetails"]} == {reason}
    audit(cluster, name)


@pytest.mark.alone
@pytest.mark.long
def test_a_node_without_room(cluster: Cluster, name: str) -> None:
    """A node whose CPU is all requested fails as Unschedulable; the other one is warmed."""
    full = cluster.nodes[-1]
    image = tagged(cluster.push(f"tests/{name}:1"))
    _fill(cluster, full, name)
    try:
        outcome = cluster.flow("run", "--image", image, "--name", name, "-o", "json")
    finally:
        cluster.kube.delete(core(cluster.namespace, "pods", name), grace_seconds=0)
    assert outcome.code == 1, outcome.err
    task = audit(cluster, name)
    assert {(one["nodeName"], one["reason"]) for one in task["failedNodeDetails"]} == {
        (full, "Unschedulable")
    }


@pytest.mark.alone
def test_a_worker_image_that_is_nowhere(cluster: Cluster, name: str) -> None:
    """When our own worker image can't be pulled, that is said, and no image of the user is blamed."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    path = core(cluster.namespace, "configmaps", CONFIG_MAP)
    before = cluster.kube.get(path)["data"]["worker-image"]
    cluster.kube.patch(path, {"data": {"worker-image": f"{cluster.registry}/tests/{name}-nowhere:1"}})
    try:
        assert cluster.flow("run", "--image", image, "--name", name, "--pull-policy", "Always").code == 1
    finally:
        cluster.kube.patch(path, {"data": {"worker-image": before}})
    task = audit(cluster, name)
    assert {one["reason"] for one in task["failedNodeDetails"]} == {"WorkerImage"}


@pytest.mark.alone
@pytest.mark.long
def test_results_that_cannot_be_written(cluster: Cluster, name: str) -> None:
    """When a quota forbids results, nothing is called completed, and the logs have the truth."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    assert cluster.flow("run", "--image", image, "--name", name, "--detach").code == 0
    cluster.await_that(lambda: bool(processes.drivers(name)), 90)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name},
        "spec": {"hard": {"count/configmaps": "0"}},
    }
    cluster.kube.create(core(cluster.namespace, "resourcequotas"), quota)
    try:
        outcome = cluster.flow("wait", name)
    finally:
        cluster.kube.delete(core(cluster.namespace, "resourcequotas", name))
    assert outcome.code == 1, outcome.err
    assert cluster.task(name)["status"] == "failed"
    assert "exceeded quota" in cluster.flow("logs", name).out


def test_one_name_twice_at_the_same_moment(cluster: Cluster, name: str) -> None:
    """Of two submissions of one request under one name one makes the task, and both follow it to its end."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    both = [cluster.start_flow("run", "--image", image, "--name", name) for _ in range(2)]
    narrations = [process.communicate(timeout=200)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], narrations
    assert sum("unchanged" in text for text in narrations) == 1
    audit(cluster, name)


def test_a_name_is_used_again(cluster: Cluster, name: str) -> None:
    """A task that is deleted and made again under its name has only its own results."""
    first, second = (tagged(cluster.push(f"tests/{name}-{number}:1")) for number in (1, 2))
    assert cluster.flow("run", "--image", first, "--name", name).code == 0
    cluster.kube.delete(workflows(cluster.namespace, name))
    assert cluster.flow("run", "--image", second, "--name", name).code == 0
    task = audit(cluster, name)
    assert {image for images in task["nodeStatuses"].values() for image in images} == {second}


def _node_without_driver(cluster: Cluster, name: str) -> str:
    labels = f"workflows.argoproj.io/workflow={name},ips-flow.io/step=drive"
    busy = {
        pod["spec"]["nodeName"] for pod in cluster.kube.list(core(cluster.namespace, "pods"), labels=labels)
    }
    free: str = next(node for node in cluster.nodes if node not in busy)
    return free


def _fill(cluster: Cluster, node: str, name: str) -> None:
    """A pod that requests all CPU that is left on a node."""
    used = 0.0
    for pod in cluster.kube.list("/api/v1/pods", fields=f"spec.nodeName={node}"):
        if pod["status"]["phase"] in ("Pending", "Running"):
            for container in pod["spec"]["containers"]:
                used += _cpus((container.get("resources") or {}).get("requests", {}).get("cpu", "0"))
    free = _cpus(cluster.kube.get(f"/api/v1/nodes/{node}")["status"]["allocatable"]["cpu"]) - used
    worker = cluster.kube.get(core(cluster.namespace, "configmaps", CONFIG_MAP))["data"]["worker-image"]
    cluster.kube.create(
        core(cluster.namespace, "pods"),
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeName": node,
                "tolerations": [{"operator": "Exists"}],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "filler",
                        "image": worker,
                        "command": ["/bin/busybox", "sleep", "3600"],
                        "resources": {"requests": {"cpu": f"{int(free * 1000)}m"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }
                ],
            },
        },
    )
    cluster.await_that(
        lambda: cluster.kube.get(core(cluster.namespace, "pods", name))["status"]["phase"] == "Running", 60
    )


def _cpus(text: str) -> float:
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)
