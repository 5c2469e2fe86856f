"""`ips-flow images` on real workloads, and tasks created from its output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ips_flows.core.errors import NotFoundError
from ips_flows.kube.client import collection, core, workflows
from tests.cluster.conftest import Cluster
from tests.cluster.test_warming import tagged

_APPS = "/apis/apps/v1"
_BATCH = "/apis/batch/v1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PAUSE = {"terminationGracePeriodSeconds": 0}


def on_host(node: str) -> dict[str, Any]:
    """Return the fields of a pod spec that place it on one node."""
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


def deployment(name: str, image: str, **pod: Any) -> dict[str, Any]:
    labels = {"app": name}
    spec = {"containers": [{"name": "main", "image": image}], **_PAUSE, **pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@pytest.fixture
def shop(cluster: Cluster, name: str) -> Iterator[str]:
    """Create a namespace for the test."""
    cluster.kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    cluster.kube.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def rockets(cluster: Cluster, name: str) -> Iterator[str]:
    """Define a custom kind with a pod template; return the path of its API."""
    group = f"{name}.example.com"
    container = {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}}}
    schema: dict[str, Any] = {"type": "array", "items": container}
    for field in ("containers", "spec", "template", "spec"):
        schema = {"type": "object", "properties": {field: schema}}
    names = {"plural": "rockets", "singular": "rocket", "kind": "Rocket"}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"rockets.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": versions},
    }
    cluster.kube.create(_DEFINITIONS, definition)
    yield f"/apis/{group}/v1"
    cluster.kube.delete(f"{_DEFINITIONS}/rockets.{group}")


def launched(cluster: Cluster, root: str, namespace: str, image: str) -> bool:
    """Return whether a rocket was created; its API is available a moment after its definition."""
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    rocket = {
        "apiVersion": root.removeprefix("/apis/"),
        "kind": "Rocket",
        "metadata": {"name": "rocket"},
        "spec": {"template": template},
    }
    try:
        cluster.kube.create(collection(root, namespace, "rockets"), rocket)
    except NotFoundError:
        return False
    return True


def test_what_a_namespace_runs_is_warmed(cluster: Cluster, shop: str, rockets: str) -> None:
    """Every kind that creates pods is found, also a custom one; the output is a request for `run`."""
    parts = ("web", "migrate", "content", "cron", "flow", "rocket")
    images = {part: tagged(cluster.push(f"tests/{shop}-{part}:1")) for part in parts}
    pod = {
        "initContainers": [{"name": "migrate", "image": images["migrate"]}],
        "volumes": [{"name": "content", "image": {"reference": images["content"]}}],
        "imagePullSecrets": [{"name": "shop-registry"}],
        **on_host(cluster.nodes[0]),
    }
    cluster.kube.create(collection(_APPS, shop, "deployments"), deployment("web", images["web"], **pod))
    job = {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": images["cron"]}]}
        }
    }
    cron = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}
    cluster.kube.create(
        collection(_BATCH, shop, "cronjobs"),
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": cron},
    )
    template = {"name": "main", "container": {"image": images["flow"], "command": ["x"]}}
    cluster.kube.create(
        workflows(shop, kind="workflowtemplates"),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTemplate",
            "metadata": {"name": "flow"},
            "spec": {"entrypoint": "main", "templates": [template]},
        },
    )
    cluster.await_that(lambda: launched(cluster, rockets, shop, images["rocket"]), 60)
    cluster.await_that(lambda: bool(list(cluster.kube.list(core(shop, "pods")))), 60)

    found = cluster.flow("images", "--workloads", "-n", shop, "-o", "json")
    assert found.code == 0, found.err
    document = found.json()
    assert {one["image"]: (one["pods"], one["pullSecrets"]) for one in document["images"]} == {
        images["web"]: (1, ["shop-registry"]),
        images["migrate"]: (1, ["shop-registry"]),
        images["content"]: (1, ["shop-registry"]),
        images["cron"]: (1, []),
        images["flow"]: (None, []),
        images["rocket"]: (None, []),
    }
    assert not any(one["imageMissing"] for one in document["remarks"]), document["remarks"]

    printed = cluster.flow("images", "--workloads", "-n", shop)
    assert "2 different sets of nodes" in printed.out
    task = cluster.flow("run", "-", "--name", shop, "-o", "json", text=printed.out)
    assert task.code == 0, task.err
    assert set(task.json()["images"]) == set(images.values())
    for node in cluster.nodes:
        assert set(images.values()) <= cluster.on_node(node)


def test_a_manifest_is_warmed_where_its_pods_may_land(cluster: Cluster, name: str) -> None:
    """Each set of nodes gets its own task: an image of a pod bound to one node is pulled only there."""
    bound, free = (tagged(cluster.push(f"tests/{name}-{part}:1")) for part in ("bound", "free"))
    only, *others = cluster.nodes
    text = yaml.safe_dump_all([deployment("bound", bound, **on_host(only)), deployment("free", free)])
    outcome = cluster.flow("run", "--manifest", "-", "--name", name, "-o", "json", text=text)
    assert outcome.code == 0, outcome.err
    for node in cluster.nodes:
        assert free in cluster.on_node(node)
    assert bound in cluster.on_node(only)
    for node in others:
        assert bound not in cluster.on_node(node)
    assert cluster.task(f"{name}-1")["status"] == cluster.task(f"{name}-2")["status"] == "completed"


@pytest.mark.long
def test_what_is_worth_warming(cluster: Cluster, shop: str) -> None:
    """Nodes that lack an image of another node are listed with the kubelet's pull time, until they are warm."""
    image = tagged(cluster.push(f"tests/{shop}:1", size="3MiB"))
    cluster.kube.create(collection(_APPS, shop, "deployments"), deployment("web", image))

    def landed() -> list[str]:
        return [node for node in cluster.nodes if image in cluster.on_node(node)]

    cluster.await_that(lambda: bool(landed()), 90, lambda: f"{list(cluster.kube.list(core(shop, 'pods')))}")
    (first,) = landed()
    cluster.await_listed(first, image)

    def suggested() -> Any:
        outcome = cluster.flow("images", "--suggest", "--workloads", "-n", shop, "-o", "json")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)["suggestions"]

    (one,) = suggested()
    assert (one["image"], one["estimated"]) == (image, False)
    assert first not in one["lackingNodes"]
    assert set(cluster.nodes) - {first} <= set(one["lackingNodes"])
    assert one["pullSeconds"] > 0
    assert one["savedSeconds"] == pytest.approx(one["pullSeconds"] * len(one["lackingNodes"]))
    nodes = ",".join(one["lackingNodes"])
    assert cluster.flow("run", "--image", image, "--nodes", nodes, "--name", shop).code == 0
    for node in cluster.nodes:
        cluster.await_listed(node, image)
    assert suggested() == []
