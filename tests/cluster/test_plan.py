"""`ips-flow plan` with real kubelets and registries: its forecasts are compared with tasks."""

from __future__ import annotations

from typing import Any

from tests.cluster.conftest import Cluster, Outcome
from tests.fakes import token_registry as fake


def tagged(reference: str) -> str:
    """`host/app:1@sha256:…` → `host/app:1`."""
    return reference.partition("@")[0]


def plan(cluster: Cluster, *arguments: str, code: int = 0) -> Any:
    """Run `plan`; return the forecast as JSON."""
    registries = ("--insecure-registry", cluster.registry, "--insecure-registry", cluster.private_registry)
    outcome = cluster.flow("plan", *arguments, *registries, "-o", "json")
    assert outcome.code == code, outcome.err + outcome.out
    return outcome.json()


def kinds(document: Any) -> set[tuple[str, str]]:
    return {(one["level"], one["kind"]) for one in document["problems"]}


def on_real_nodes(cluster: Cluster) -> tuple[str, ...]:
    return ("--nodes", ",".join(cluster.nodes))


def counted(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.err
    return outcome.json()


def test_plan_run_plan(cluster: Cluster, name: str) -> None:
    """The plan lists an image as missing on all nodes, the task pulls it as planned, a new plan lists all as warm."""
    pushed = cluster.push(f"tests/{name}:1", size="3MiB")
    image, digest = tagged(pushed), pushed.partition("@")[2]
    wanted = ("--image", image, *on_real_nodes(cluster))
    before = plan(cluster, *wanted)
    assert (before["totalNodes"], before["toDoNodes"], before["problems"]) == (
        len(cluster.nodes),
        len(cluster.nodes),
        [],
    )
    told = before["images"][0]
    assert (told["presentNodes"], told["missingNodes"], told["digest"]) == (0, len(cluster.nodes), digest)
    assert told["contents"]["linux/amd64"]["bytes"] >= 3 << 20
    task = counted(cluster.flow("run", *wanted, "--name", name, "-o", "json"))
    assert task["mode"] == before["mode"]
    assert task["window"] == before["window"]
    assert {one["name"]: one["nodes"] for one in task["waves"]} == {
        one["name"]: one["nodes"] for one in before["waves"]
    }
    for node in cluster.nodes:
        assert cluster.digest_on_node(node, image) == digest
        cluster.await_listed(node, image)
    after = plan(cluster, *wanted)
    assert (after["warmNodes"], after["toDoNodes"], after["problems"]) == (len(cluster.nodes), 0, [])
    assert {
        node: one["state"] for node, one in after["nodes"].items() if node in cluster.nodes
    } == dict.fromkeys(cluster.nodes, "warm")


def test_nothing_is_changed(cluster: Cluster, name: str) -> None:
    """A plan creates neither a Workflow nor a Job that stays."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    before = _objects(cluster)
    plan(cluster, "--image", image, "--name", name, *on_real_nodes(cluster))
    assert not {one for one in _objects(cluster) - before if name in one or "probe" in one}


def test_an_image_for_another_architecture(cluster: Cluster, name: str) -> None:
    """An error of the plan fails the task with the same failure class; `run --plan` does not submit the task."""
    alien = fake.index(("linux/s390x", fake.image(fake.layer(100, name), platform="linux/s390x")))
    image = fake.push(cluster.registry, f"tests/{name}", "1", alien)
    wanted = ("--image", image, *on_real_nodes(cluster))
    document = plan(cluster, *wanted, code=1)
    assert kinds(document) == {("error", "WrongPlatform")}
    assert document["images"][0]["platforms"] == ["linux/s390x"]
    refused = cluster.flow("run", *wanted, "--plan", "--insecure-registry", cluster.registry, "--name", name)
    assert refused.code == 1
    assert "nothing submitted: a task would fail: 1 error" in refused.err
    ended = cluster.flow("run", *wanted, "--name", name, "-o", "json")
    assert ended.code == 1, ended.err
    assert {one["reason"] for one in ended.json()["failedNodeDetails"]} == {"WrongPlatform"}


def test_a_missing_image(cluster: Cluster, name: str) -> None:
    """A missing image is an error before a task is submitted."""
    document = plan(cluster, "--image", f"{cluster.registry}/tests/{name}:1", *on_real_nodes(cluster), code=1)
    assert kinds(document) == {("error", "NotFound")}


def test_a_private_image_and_its_secret(cluster: Cluster, name: str) -> None:
    """A private image is Unauthorized without the Secret; with the Secret it is found and pulled."""
    private = tagged(cluster.push(f"tests/{name}:1", "--registry", cluster.private_registry))
    wanted = ("--image", private, *on_real_nodes(cluster))
    assert kinds(plan(cluster, *wanted, code=1)) == {("error", "Unauthorized")}
    with cluster.pull_secret(name):
        assert plan(cluster, *wanted, "--pull-secrets", name)["problems"] == []
        task = cluster.flow(
            *("run", *wanted, "--pull-secrets", name, "--plan", "--name", name, "-o", "json"),
            *("--insecure-registry", cluster.private_registry),
        )
    assert task.code == 0, task.err
    assert all(private in cluster.on_node(node) for node in cluster.nodes)


def test_a_pinned_task(cluster: Cluster, name: str) -> None:
    """Every node has the digest that the tag had when the task was pinned, although the tag has moved."""
    first = cluster.push(f"tests/{name}:1")
    image, digest = tagged(first), first.partition("@")[2]
    pinned = cluster.flow(
        "plan", "--image", image, "--pin", "-o", "request", "--insecure-registry", cluster.registry
    )
    assert pinned.code == 0, pinned.err
    assert cluster.push(f"tests/{name}:1").partition("@")[2] != digest
    ended = cluster.flow("run", "-", "--name", name, "-o", "json", text=pinned.out)
    assert ended.code == 0, ended.err
    for node in cluster.nodes:
        assert f"{image.rpartition(':')[0]}@{digest}" in cluster.on_node(node)


def test_the_disks_of_real_kubelets(cluster: Cluster, name: str) -> None:
    """Every kubelet reports its disk, and a small image fits."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    document = plan(cluster, "--image", image, "--check-disk", *on_real_nodes(cluster))
    assert not {"DiskUnknown", "NoSpace"} & {kind for _, kind in kinds(document)}


def _objects(cluster: Cluster) -> set[str]:
    """Return the names of all Workflows, Jobs and pods of the namespace; other tests may add some."""
    root = f"/namespaces/{cluster.namespace}/"
    paths = (
        f"/apis/argoproj.io/v1alpha1{root}workflows",
        f"/apis/batch/v1{root}jobs",
        f"/api/v1{root}pods",
    )
    return {one["metadata"]["name"] for path in paths for one in cluster.kube.list(path, metadata_only=True)}
