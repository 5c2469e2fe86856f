"""Retries, allowed failures, batches and a changing window, on the real cluster with Argo's real back-off."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ips_flows.argo.prewarm import prewarm_template
from ips_flows.argo.task_workflow import task_workflow
from ips_flows.core import clock
from ips_flows.core.constants import DEFAULT_IMAGE, TEMPLATE_PREWARM
from ips_flows.core.request.model import parse_request
from ips_flows.kube.client import jobs, workflows
from tests.cluster.audit import audit
from tests.cluster.conftest import Cluster, via
from tests.cluster.task_watch import TaskWatch
from tests.cluster.test_warming import request, tagged
from tests.fakes.faulty_registry import FaultyRegistry

_LATE_SECONDS = 4  # the time after the delay within which Argo starts an attempt


def delays(cluster: Cluster, name: str) -> list[float]:
    """Return the seconds between the end of each attempt and the start of the next one, by Argo's timestamps."""
    nodes = cluster.workflow(name)["status"]["nodes"].values()
    attempts = sorted(
        (node["startedAt"], node["finishedAt"])
        for node in nodes
        if node.get("templateName") == "attempt" and node["type"] == "Steps"
    )
    return [clock.between(one[1], other[0]) for one, other in itertools.pairwise(attempts)]


def assert_delays(cluster: Cluster, name: str, expected: list[int]) -> None:
    """Compare delays. Timestamps are whole seconds, so a delay may seem one second shorter than it was."""
    measured = delays(cluster, name)
    assert len(measured) == len(expected), measured
    for got, wanted in zip(measured, expected, strict=True):
        assert wanted - 1 <= got <= wanted + _LATE_SECONDS, (measured, expected)


def missing(cluster: Cluster, name: str) -> str:
    """Return a reference that does not exist in the registry."""
    return f"{cluster.registry}/tests/{name}-missing:1"


def history(task: Any) -> list[tuple[int, int, int | None]]:
    return [(one["attempt"], one["failedNodes"], one["nextDelaySeconds"]) for one in task["retryHistory"]]


def let_go(watch: TaskWatch) -> list[str]:
    """Return the ungated pods in the order in which they were ungated."""
    return list(
        dict.fromkeys(pod["metadata"]["name"] for pod in watch.seen if not pod["spec"].get("schedulingGates"))
    )


@pytest.mark.long
def test_linear_delays(cluster: Cluster, name: str) -> None:
    """The delay is constant; the history lists every attempt, during the back-off and at the end."""
    text = request(
        name=name, images=[missing(cluster, name)], maxRetries=2, retryStrategy="linear", retryDelay=5
    )
    assert cluster.flow("run", "-", "--detach", text=text).code == 0
    cluster.await_that(lambda: cluster.task(name)["nextRetryAt"] is not None, 90)
    assert cluster.flow("wait", name).code == 1
    assert_delays(cluster, name, [5, 5])
    task = audit(cluster, name)
    count = len(cluster.nodes)
    assert history(task) == [(1, count, 5), (2, count, 5), (3, count, None)]
    assert task["retryCount"] == 2
    assert {tuple(one["failures"].items()) for one in task["retryHistory"]} == {(("NotFound", count),)}


@pytest.mark.long
def test_exponential_delays(cluster: Cluster, name: str) -> None:
    """The delay starts at the requested value and doubles."""
    text = request(
        name=name, images=[missing(cluster, name)], maxRetries=3, retryStrategy="exponential", retryDelay=2
    )
    assert cluster.flow("run", "-", text=text).code == 1
    assert_delays(cluster, name, [2, 4, 8])
    audit(cluster, name)


@pytest.fixture
def short_cap(cluster: Cluster) -> Iterator[str]:
    """Install a copy of the template with a back-off capped at 4 s; return its name."""
    installed = cluster.kube.get(workflows(cluster.namespace, TEMPLATE_PREWARM, "workflowtemplates"))
    image = next(
        one["container"]["image"] for one in installed["spec"]["templates"] if one["name"] == "drive"
    )
    body = json.loads(
        json.dumps(prewarm_template(backoff_cap="4s").to_dict()).replace(
            json.dumps(DEFAULT_IMAGE), json.dumps(image)
        )
    )
    name = body["metadata"]["name"] = f"{TEMPLATE_PREWARM}-{uuid.uuid4().hex[:6]}"
    body["metadata"].pop("labels")
    path = workflows(cluster.namespace, "", "workflowtemplates")
    cluster.kube.create(path, body)
    try:
        yield name
    finally:
        cluster.kube.delete(f"{path}/{name}")


@pytest.mark.long
def test_delays_are_capped(cluster: Cluster, name: str, short_cap: str) -> None:
    """No delay is longer than the template's cap: 4 s here, where doubling would give 6 s and 12 s."""
    text = request(
        name=name, images=[missing(cluster, name)], maxRetries=3, retryStrategy="exponential", retryDelay=3
    )
    manifest = task_workflow(parse_request(text), name=name, namespace=cluster.namespace)
    manifest["spec"]["workflowTemplateRef"]["name"] = short_cap
    cluster.kube.create(workflows(cluster.namespace), manifest)
    assert cluster.flow("wait", name).code == 1
    assert_delays(cluster, name, [3, 4, 4])


def test_an_image_that_appears_between_two_attempts(cluster: Cluster, name: str) -> None:
    """The second attempt finds the image that was missing in the first; the task completes and shows both attempts."""
    image = f"{cluster.registry}/tests/{name}:1"
    text = request(name=name, images=[image], maxRetries=1, retryDelay=8)
    assert cluster.flow("run", "-", "--detach", text=text).code == 0
    cluster.await_that(lambda: cluster.task(name)["nextRetryAt"] is not None, 90)
    assert tagged(cluster.push(f"tests/{name}:1")) == image
    waited = cluster.flow("wait", name)
    assert waited.code == 0, waited.err
    task = audit(cluster, name)
    assert history(task) == [(1, len(cluster.nodes), 8), (2, 0, None)]
    shown = cluster.flow("get", name).out
    assert "NotFound" in shown
    assert "ATTEMPT" in shown


@pytest.mark.long
def test_failed_nodes_within_the_limit(cluster: Cluster, name: str, registry: FaultyRegistry) -> None:
    """A task whose failed nodes are within the limit completes, and every output reports the failed nodes."""
    lucky, *others = cluster.nodes
    good = tagged(cluster.push(f"tests/{name}:1"))
    absent = via(registry, cluster.push(f"tests/{name}-absent:1"))
    assert cluster.flow("run", "--image", absent, "--nodes", lucky, "--name", f"{name}-first").code == 0
    registry.misbehave("404")  # from now on only the lucky node has the image
    cluster.await_listed(lucky, absent)
    lost = len(others)
    text = request(name=name, images=[good, absent], maxFailedNodes=lost)
    outcome = cluster.flow("run", "-", text=text)
    assert outcome.code == 0, outcome.err
    words = f"{lost} of {len(cluster.nodes)} nodes lost ({lost} allowed)"
    assert outcome.out.startswith(f"completed: {words} – ")
    task = cluster.task(name)
    assert task["status"] == "completed"
    assert task["message"] == f"completed, {words}"
    assert task["progress"]["failedNodes"] == lost
    assert words in cluster.flow("get", name).err
    assert cluster.ended_workflow(name)["status"]["phase"] == "Succeeded"
    cluster.await_nothing_left(name)


@pytest.mark.long
def test_too_many_failed_nodes(cluster: Cluster, name: str) -> None:
    """If no node of a wave gets its images the task fails, whatever the limit; `retry` includes all nodes."""
    image = f"{cluster.registry}/tests/{name}:1"
    text = request(name=name, images=[image], maxFailedNodes=len(cluster.nodes))
    assert cluster.flow("run", "-", text=text).code == 1
    assert cluster.ended_workflow(name)["status"]["phase"] == "Failed"
    audit(cluster, name)
    cluster.push(f"tests/{name}:1")
    again = cluster.flow("retry", name)
    assert again.code == 0, again.err
    task = audit(cluster, f"{name}-r1")
    assert task["progress"]["completedNodes"] == len(cluster.nodes)
    refused = cluster.flow("retry", f"{name}-r1")
    assert refused.code == 1
    assert "has no nodes to retry" in refused.err


def test_the_breaker(cluster: Cluster, name: str) -> None:
    """If no node of the first window gets an image, the remaining nodes are skipped, and the message reports it."""
    first, *others = cluster.nodes
    text = request(name=name, images=[missing(cluster, name)], batchSize=1)
    with cluster.watch_pulls(name) as watch:
        assert cluster.flow("run", "-", text=text).code == 1
    assert len(let_go(watch)) == 1
    task = audit(cluster, name, window=1, watch=watch)
    reasons = {node: one["reason"] for node in cluster.nodes for one in task["nodeStatuses"][node].values()}
    assert reasons == {first: "NotFound", **dict.fromkeys(others, "BreakerOpen")}


def test_a_barrier_between_batches(cluster: Cluster, name: str) -> None:
    """No node starts while a node of the previous batch pulls, according to the pods."""
    size = max(1, len(cluster.nodes) - 1)
    image = tagged(cluster.push(f"tests/{name}:1", size="8MiB"))
    text = request(name=name, images=[image], order="batch", batchSize=size)
    with cluster.watch_pulls(name) as watch:
        outcome = cluster.flow("run", "-", text=text)
        assert outcome.code == 0, outcome.err
    order = let_go(watch)
    assert len(order) == len(cluster.nodes)
    ended: set[str] = set()
    for pod in watch.seen:
        one = pod["metadata"]["name"]
        if pod["status"]["phase"] in ("Succeeded", "Failed"):
            ended.add(one)
        elif not pod["spec"].get("schedulingGates"):
            before = order[: order.index(one) // size * size]
            assert set(before) <= ended, f"{one} started before {set(before) - ended} had ended"
    audit(cluster, name, window=size, watch=watch)


@pytest.mark.long
def test_scale_and_pause(cluster: Cluster, name: str, tarpit: str) -> None:
    """A pause starts and ends no pull; a larger window takes effect immediately; a smaller one ends no pull."""
    first, *_ = cluster.nodes
    good = tagged(cluster.push(f"tests/{name}:1"))
    text = request(name=name, images=[good, f"{tarpit}/slow:1"], batchSize=1, nodeTimeout="20s")

    def pulling(count: int) -> bool:
        return bool(sum(wave["pullingNodes"] for wave in cluster.task(name)["waves"]) == count)

    with cluster.watch_pulls(name) as watch:
        assert cluster.flow("run", "-", "--detach", text=text).code == 0
        cluster.await_that(lambda: pulling(1), 90)
        assert cluster.flow("scale", name, "--batch-size", "0").code == 0
        cluster.await_that(lambda: cluster.task(name)["window"] == 0, 15)
        cluster.await_that(lambda: pulling(0), 60)  # its node timeout was over
        assert len(let_go(watch)) == 1
        assert cluster.task(name)["status"] == "running"
        everything = str(len(cluster.nodes))
        assert cluster.flow("scale", name, "--batch-size", everything).code == 0
        cluster.await_that(lambda: pulling(len(cluster.nodes) - 1), 15)
        (job,) = cluster.kube.list(jobs(cluster.namespace), labels=f"ips-flow.io/task-name={name}")
        assert job["spec"]["parallelism"] == len(cluster.nodes)
        assert cluster.flow("scale", name, "--batch-size", "1").code == 0
        cluster.await_that(lambda: cluster.task(name)["window"] == 1, 15)
        assert pulling(len(cluster.nodes) - 1)
        assert cluster.flow("wait", name).code == 1
    task = audit(cluster, name, window=len(cluster.nodes), watch=watch)
    assert task["nodeStatuses"][first][good]["result"] == "pulled"
    refused = cluster.flow("scale", name, "--batch-size", "2")
    assert refused.code == 1
    assert "has already ended" in refused.err
