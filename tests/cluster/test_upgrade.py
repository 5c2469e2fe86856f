"""An upgrade while a task runs."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from ips_flows.core.constants import CONFIG_MAP
from ips_flows.kube.client import core, workflows
from tests.cluster.conftest import Cluster
from tests.cluster.test_warming import request, tagged

pytestmark = [pytest.mark.alone, pytest.mark.long]


def template_image(cluster: Cluster) -> str:
    template = cluster.kube.get(workflows(cluster.namespace, "ips-prewarm", "workflowtemplates"))
    images = {one["container"]["image"] for one in template["spec"]["templates"] if "container" in one}
    assert len(images) == 1
    return str(images.pop())


def by_digest(reference: str) -> str:
    """Return the reference by digest of the same image."""
    repository, _, tag = reference.rpartition(":")
    host, _, path = repository.partition("/")
    kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    asked = urllib.request.Request(
        f"http://{host}/v2/{path}/manifests/{tag}", method="HEAD", headers={"Accept": kinds}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=10) as answer:
        return f"{repository}@{answer.headers['Docker-Content-Digest']}"


def step_images(cluster: Cluster, task: str) -> dict[str, Any]:
    """Return step → the image of its pod."""
    labels = f"workflows.argoproj.io/workflow={task}"
    return {
        pod["metadata"]["labels"]["ips-flow.io/step"]: next(
            one["image"] for one in pod["spec"]["containers"] if one["name"] == "main"
        )
        for pod in cluster.kube.list(core(cluster.namespace, "pods"), labels=labels)
    }


def test_a_running_task_ends_with_what_it_began_with(cluster: Cluster, name: str, tarpit: str) -> None:
    """Steps of a running task use the old image after the upgrade; new tasks use the new one; settings are kept."""
    old = template_image(cluster)
    new = by_digest(old)
    settings = core(cluster.namespace, "configmaps", CONFIG_MAP)
    text = request(name=name, images=[f"{tarpit}/slow:1"], nodeTimeout="40s", timeout="120s")
    cluster.submit(text)
    cluster.await_pulling(name)
    cluster.kube.patch(settings, {"data": {"mine": "kept"}})
    before = cluster.kube.get(settings)["data"]
    try:
        upgraded = cluster.flow("install", "--image", new)
        assert upgraded.code == 0, upgraded.err
        assert template_image(cluster) == new
        assert cluster.kube.get(settings)["data"] == before
        refused = cluster.flow("uninstall")
        assert refused.code == 1
        assert name in refused.err
        assert "--cancel" in refused.err
        assert cluster.flow("wait", name).code == 1
        assert {one["reason"] for one in cluster.task(name)["failedNodeDetails"]} == {"Timeout"}
        assert step_images(cluster, name) == {"filter": old, "drive": old, "finish": old}
        image = tagged(cluster.push(f"tests/{name}:1"))
        fresh = f"{name}-new"
        assert cluster.flow("run", "--image", image, "--name", fresh).code == 0
        assert step_images(cluster, fresh) == {"filter": new, "drive": new, "finish": new}
    finally:
        cluster.kube.patch(settings, {"data": {"mine": None}})
        assert cluster.flow("install", "--image", old).code == 0
