"""Results of tasks compared with containerd's images, with real kubelets under `restricted` Pod Security."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ips_flows.core.constants import ANNOTATION_PLAN, ANNOTATION_VERDICT
from ips_flows.kube.client import core
from tests.cluster.conftest import Cluster


def tagged(reference: str) -> str:
    """`host/app:1@sha256:…` → `host/app:1`."""
    return reference.partition("@")[0]


def request(**fields: Any) -> str:
    return json.dumps(fields)


def results(task: Any) -> dict[tuple[str, str], str]:
    """(node, image) → result."""
    return {
        (node, image): one["result"]
        for node, images in task["nodeStatuses"].items()
        for image, one in images.items()
    }


def test_three_images_on_two_nodes(cluster: Cluster, name: str) -> None:
    """Every image of a completed task is on every node, with the size and digest that containerd lists."""
    pushed = [cluster.push(f"tests/{name}-{number}:1", size=f"{number}MiB") for number in (1, 2, 3)]
    images = [tagged(reference) for reference in pushed]
    outcome = cluster.flow("run", "-", "-o", "json", text=request(name=name, images=images))
    assert outcome.code == 0, outcome.err
    task = outcome.json()
    assert task["status"] == "completed"
    assert results(task) == {(node, image): "pulled" for node in cluster.nodes for image in images}
    for node in cluster.nodes:
        there = cluster.on_node(node)
        for reference, image in zip(pushed, images, strict=True):
            assert image in there
            assert cluster.digest_on_node(node, image) == reference.partition("@")[2]
            one = task["nodeStatuses"][node][image]
            assert one["digest"] in (None, reference.partition("@")[2])
            assert one["seconds"] > 0
            assert one["bytes"] >= 1 << 20
    cluster.await_nothing_left(name)


def test_a_second_run_finds_everything_warm(cluster: Cluster, name: str) -> None:
    """When the nodes list every image, a task completes without a single pull pod."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    assert cluster.flow("run", "--image", image, "--name", f"{name}-1").code == 0
    for node in cluster.nodes:
        cluster.await_listed(node, image)
    with cluster.watch_pulls(f"{name}-2") as watch:
        outcome = cluster.flow("run", "--image", image, "--name", f"{name}-2", "-o", "json")
    assert outcome.code == 0, outcome.err
    assert results(outcome.json()) == {(node, image): "present" for node in cluster.nodes}
    assert outcome.json()["summary"]["warm"] == len(cluster.nodes)
    assert watch.names == set()


def test_one_missing_image_among_good_ones(cluster: Cluster, name: str) -> None:
    """Good images are pulled; the missing one fails as NotFound with the registry's message, and so does the task."""
    good = [tagged(cluster.push(f"tests/{name}-{number}:1")) for number in (1, 2)]
    missing = f"{cluster.registry}/tests/{name}-nowhere:1"
    outcome = cluster.flow(
        "run", "-", "-o", "json", text=request(name=name, images=[good[0], missing, good[1]])
    )
    assert outcome.code == 1, outcome.err
    task = outcome.json()
    assert task["status"] == "failed"
    for node in cluster.nodes:
        statuses = task["nodeStatuses"][node]
        assert {image: statuses[image]["result"] for image in good} == dict.fromkeys(good, "pulled")
        assert (statuses[missing]["result"], statuses[missing]["reason"]) == ("failed", "NotFound")
        assert set(good) <= cluster.on_node(node)
        assert missing not in cluster.on_node(node)
    details = task["failedNodeDetails"]
    assert {(one["nodeName"], one["image"], one["reason"]) for one in details} == {
        (node, missing, "NotFound") for node in cluster.nodes
    }
    assert all(f"{missing}: not found" in one["message"] for one in details), details
    assert "NotFound" in task["errorMessage"]
    cluster.await_nothing_left(name)


@pytest.mark.parametrize("policy", ["IfNotPresent", "Always"])
def test_an_image_without_a_program(cluster: Cluster, name: str, policy: str) -> None:
    """An image without a program is warmed in mode volume, and in mode container if the pull policy requires it."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    outcome = cluster.flow("run", "--image", image, "--pull-policy", policy, "--name", name, "-o", "json")
    assert outcome.code == 0, outcome.err
    task = outcome.json()
    assert task["mode"] == {"IfNotPresent": "volume", "Always": "container"}[policy]
    assert results(task) == {(node, image): "pulled" for node in cluster.nodes}
    assert all(image in cluster.on_node(node) for node in cluster.nodes)


def test_a_reference_by_digest_only(cluster: Cluster, name: str) -> None:
    """A reference without a tag is pulled, and the image has the requested digest."""
    pushed = cluster.push(f"tests/{name}:1")
    digest = pushed.partition("@")[2]
    pinned = f"{tagged(pushed).rpartition(':')[0]}@{digest}"
    outcome = cluster.flow("run", "--image", pinned, "--name", name, "-o", "json")
    assert outcome.code == 0, outcome.err
    for node in cluster.nodes:
        one = outcome.json()["nodeStatuses"][node][pinned]
        assert (one["result"], one["digest"]) == ("pulled", digest)
        assert pinned in cluster.on_node(node)


def test_a_selector_that_matches_nothing(cluster: Cluster, name: str) -> None:
    """A task without eligible nodes fails with a reason; it does not complete."""
    outcome = cluster.flow("run", "--image", "busybox:1", "--node-selector", "no=such", "--name", name)
    assert outcome.code == 1
    assert (
        f"no eligible node among {len(cluster.nodes)}: {len(cluster.nodes)} NotSelected"
        in outcome.err + outcome.out
    )
    cluster.await_nothing_left(name)


@pytest.mark.alone
def test_a_cordoned_node_is_skipped(cluster: Cluster, name: str) -> None:
    """A cordoned node is skipped and listed with the reason; the others are warmed."""
    first, second = cluster.nodes[:2]
    image = tagged(cluster.push(f"tests/{name}:1"))
    cluster.kube.patch(f"/api/v1/nodes/{second}", {"spec": {"unschedulable": True}})
    try:
        outcome = cluster.flow("run", "--image", image, "--name", name, "-o", "json")
    finally:
        cluster.kube.patch(f"/api/v1/nodes/{second}", {"spec": {"unschedulable": None}})
    assert outcome.code == 0, outcome.err
    task = outcome.json()
    assert task["nodeStatuses"][first][image]["result"] == "pulled"
    assert task["nodeStatuses"][second][image]["reason"] == "Cordoned"
    assert task["skippedNodes"] == {"Cordoned": 1}
    assert image in cluster.on_node(first)
    assert image not in cluster.on_node(second)


def test_a_private_image_needs_its_secret(cluster: Cluster, name: str) -> None:
    """A private image fails as Unauthorized without a pull Secret and is pulled with it."""
    private = tagged(cluster.push(f"tests/{name}:1", "--registry", cluster.private_registry))
    refused = cluster.flow("run", "--image", private, "--name", f"{name}-1", "-o", "json")
    assert refused.code == 1, refused.err
    assert {one["reason"] for one in refused.json()["failedNodeDetails"]} == {"Unauthorized"}
    with cluster.pull_secret(name):
        allowed = cluster.flow(
            "run", "--image", private, "--pull-secrets", name, "--name", f"{name}-2", "-o", "json"
        )
    assert allowed.code == 0, allowed.err
    assert results(allowed.json()) == {(node, private): "pulled" for node in cluster.nodes}
    assert all(private in cluster.on_node(node) for node in cluster.nodes)


def test_a_window_of_one(cluster: Cluster, name: str) -> None:
    """With batchSize 1 two nodes never pull at the same time."""
    image = tagged(cluster.push(f"tests/{name}:1", size="20MiB"))
    with cluster.watch_pulls(name) as watch:
        outcome = cluster.flow("run", "--image", image, "--batch-size", "1", "--name", name, "-o", "json")
    assert outcome.code == 0, outcome.err
    assert results(outcome.json()) == {(node, image): "pulled" for node in cluster.nodes}
    assert len(watch.names) == len(cluster.nodes)
    assert watch.most_at_once == 1


def test_the_second_wave_waits_for_the_first(cluster: Cluster, name: str) -> None:
    """No pod of the second wave exists before the nodes of the first wave have their images."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    with cluster.watch_pulls(name) as watch:
        outcome = cluster.flow("run", "--image", image, "--waves", "1,100%", "--name", name, "-o", "json")
    assert outcome.code == 0, outcome.err
    assert [wave["completedNodes"] for wave in outcome.json()["waves"]] == [1, 1]
    groups = [pod["metadata"]["labels"]["ips-flow.io/group"] for pod in watch.seen]
    second = groups.index("1")
    ended = [pod for pod in watch.seen[:second] if pod["status"]["phase"] == "Succeeded"]
    assert {pod["spec"]["nodeName"] for pod in ended} == {cluster.nodes[0]}


@pytest.mark.parametrize("policy", ["IfNotPresent", pytest.param("Always", marks=pytest.mark.long)])
def test_twelve_images(cluster: Cluster, name: str, policy: str) -> None:
    """With more images than the kubelet sends events for, each result, duration and digest is true or left out."""
    images = [tagged(cluster.push(f"tests/{name}-{number}:1")) for number in range(11)]
    missing = f"{cluster.registry}/tests/{name}-nowhere:1"
    wanted = [*images[:6], missing, *images[6:]]
    text = request(name=name, images=wanted, pullPolicy=policy)
    with cluster.watch_pulls(name) as watch:
        outcome = cluster.flow("run", "-", "-o", "json", text=text)
    assert outcome.code == 1, outcome.err
    told = _told(cluster, watch.names)
    for node in cluster.nodes:
        there = cluster.on_node(node)
        for image, one in outcome.json()["nodeStatuses"][node].items():
            assert (image in there) == (image != missing)
            if image == missing:
                assert (one["result"], one["reason"]) == ("failed", "NotFound")
                continue
            assert one["result"] == "pulled", (node, image, one)
            if one["seconds"] is not None:
                assert (image, one["seconds"]) in told
            assert one["digest"] in (None, cluster.digest_on_node(node, image))


def _told(cluster: Cluster, pods: set[str]) -> set[tuple[str, float]]:
    """Return (image, seconds) of every pull that a kubelet reported."""
    told = set()
    for event in cluster.kube.list(core(cluster.namespace, "events"), fields="reason=Pulled"):
        found = re.search(r'Successfully pulled image "(\S+)" in ([\d.]+)(ms|s) ', event.get("message") or "")
        if found and event["involvedObject"]["name"] in pods:
            told.add((found[1], round(float(found[2]) * (0.001 if found[3] == "ms" else 1), 3)))
    return told


def test_the_verdict_is_an_annotation_of_the_workflow(cluster: Cluster, name: str) -> None:
    """Plan and verdict are annotations of the Workflow, and Argo's phase agrees with the verdict."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    assert cluster.flow("run", "--image", image, "--name", name).code == 0
    workflow = cluster.ended_workflow(name)
    annotations = workflow["metadata"]["annotations"]
    assert json.loads(annotations[ANNOTATION_VERDICT])["status"] == "completed"
    assert json.loads(annotations[ANNOTATION_PLAN])["toDo"] == len(cluster.nodes)
    assert workflow["status"]["phase"] == "Succeeded"
