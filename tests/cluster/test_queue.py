"""The queue with the real controller: order, limit and priorities of tasks from all clients."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ips_flows.core.constants import ANNOTATION_VERDICT, CONFIG_MAP, LIMIT_KEY
from ips_flows.kube.client import core, workflows
from ips_flows.operations.queue import get_queue
from tests.cluster.audit import await_marks
from tests.cluster.conftest import Cluster
from tests.cluster.test_lifecycle import _submit_form
from tests.cluster.test_warming import request, tagged
from tests.fakes.webhook_receiver import receiving

pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def _limit(cluster: Cluster) -> Iterator[None]:
    """Restore the limit after the test."""
    path = core(cluster.namespace, "configmaps", CONFIG_MAP)
    before = cluster.kube.get(path)["data"][LIMIT_KEY]
    yield
    cluster.kube.patch(path, {"data": {LIMIT_KEY: before}})


def limit(cluster: Cluster, number: int) -> None:
    cluster.kube.patch(core(cluster.namespace, "configmaps", CONFIG_MAP), {"data": {LIMIT_KEY: str(number)}})


def submit(cluster: Cluster, name: str, image: str, priority: int = 5) -> None:
    text = request(name=name, images=[image], priority=priority, nodeTimeout="5m")
    cluster.submit(text)


def order(cluster: Cluster) -> list[str]:
    return [one["taskId"] for one in cluster.flow("queue", "-o", "json").json()["tasks"]]


def running(cluster: Cluster) -> set[str]:
    return set(get_queue(cluster.kube, cluster.namespace).running)


@pytest.fixture
def busy(cluster: Cluster, name: str, tarpit: str) -> Iterator[tuple[str, str]]:
    """Occupy the only slot with a task that pulls for ever; return its name and its image."""
    limit(cluster, 1)
    image = f"{tarpit}/slow:1"
    holder = f"{name}-holder"
    submit(cluster, holder, image, priority=10)
    cluster.await_that(lambda: running(cluster) == {holder}, 60, lambda: f"runs: {running(cluster)}")
    yield holder, image
    left = [*reversed(order(cluster)), *running(cluster)]
    if left:
        cluster.flow("cancel", *left, "--wait")


def test_tasks_wait_in_order_and_reprioritize_sorts_again(
    cluster: Cluster, name: str, busy: tuple[str, str]
) -> None:
    """Tasks are queued by priority and then by age; a task moved to the front starts when the slot is free."""
    holder, image = busy
    first, second, third = (f"{name}-{letter}" for letter in "abc")
    for task, priority in ((first, 5), (second, 9), (third, 3)):
        submit(cluster, task, image, priority)
    assert order(cluster) == [second, first, third]
    waiting = cluster.flow("queue", "-o", "json").json()["tasks"]
    assert {holder} == {task for one in waiting for task in one["waitsFor"]}
    moved = cluster.flow("reprioritize", third, "10")
    assert (moved.code, moved.out) == (0, f"task {third} has priority 10, number 1 in the queue\n")
    assert order(cluster) == [third, second, first]
    assert cluster.task(third)["priority"] == 10
    refused = cluster.flow("reprioritize", holder, "1")
    assert refused.code == 1
    assert "is already running" in refused.err
    assert cluster.flow("cancel", holder, "--wait").code == 0
    cluster.await_that(lambda: running(cluster) == {third}, 30, lambda: f"runs: {running(cluster)}")
    assert order(cluster) == [second, first]


def test_the_limit_changes_live(cluster: Cluster, name: str, busy: tuple[str, str]) -> None:
    """A higher limit starts waiting tasks immediately; a lower one ends no task and starts none above the limit."""
    holder, image = busy
    second, third = f"{name}-b", f"{name}-c"
    submit(cluster, second, image)
    submit(cluster, third, image, 4)
    assert order(cluster) == [second, third]
    limit(cluster, 2)
    cluster.await_that(lambda: running(cluster) == {holder, second}, 30, lambda: f"runs: {running(cluster)}")
    limit(cluster, 1)
    assert cluster.flow("cancel", holder, "--wait").code == 0
    cluster.await_that(lambda: running(cluster) == {second}, 30, lambda: f"runs: {running(cluster)}")
    assert order(cluster) == [third]


def test_a_cancelled_pending_task_ends_without_a_start(
    cluster: Cluster, name: str, busy: tuple[str, str]
) -> None:
    """A pending task that is cancelled never gets a slot, its status is cancelled, and the next task is first."""
    _, image = busy
    first, second = f"{name}-a", f"{name}-b"
    submit(cluster, first, image, 9)
    submit(cluster, second, image)
    assert cluster.flow("cancel", first, "--wait").code == 0
    assert cluster.task(first)["status"] == "cancelled"
    assert cluster.left_of(first) == {}
    assert order(cluster) == [second]


def test_a_cancelled_pending_task_sends_an_event(cluster: Cluster, name: str, busy: tuple[str, str]) -> None:
    """The receiver gets one event for the cancelled task, although none of its steps ran."""
    _, image = busy
    with receiving("10.201.0.1") as receiver:
        cluster.submit(request(name=name, images=[image], webhookUrl=receiver.url))
        cluster.await_that(lambda: order(cluster) == [name], 30, lambda: f"queue: {order(cluster)}")
        assert cluster.flow("cancel", name, "--wait").code == 0
        await_marks(cluster, name)
    verdict = json.loads(cluster.workflow(name)["metadata"]["annotations"][ANNOTATION_VERDICT])
    assert receiver.events == [(verdict["eventId"], "task.cancelled")]
    assert len(receiver.received) == 1


def test_the_form_queues_by_its_priority(cluster: Cluster, name: str, busy: tuple[str, str]) -> None:
    """Priority 9 from the form is ahead of an older 5, 99 is limited to 10, and the default is 5."""
    _, image = busy
    five, nine, much, plain = (f"{name}-{word}" for word in ("five", "nine", "much", "plain"))
    submit(cluster, five, image)
    _submit_form(cluster, nine, images=image, priority="9")
    _submit_form(cluster, much, images=image, priority="99")
    _submit_form(cluster, plain, images=image)

    def priority(task: str) -> Any:
        return cluster.workflow(task)["spec"]["priority"]

    assert [priority(task) for task in (five, nine, much, plain)] == [5, 9, 10, 5]
    cluster.await_that(lambda: len(order(cluster)) == 4, 30, lambda: f"queue: {order(cluster)}")
    assert order(cluster)[:2] == [much, nine]
    assert {five, plain} == set(order(cluster)[2:])
    cluster.kube.patch(workflows(cluster.namespace, five), {"spec": {"priority": 77}})
    assert priority(five) == 10


@pytest.mark.long
def test_twenty_tasks_of_mixed_priorities(cluster: Cluster, name: str, busy: tuple[str, str]) -> None:
    """With three slots all twenty tasks start once, by priority and then by age, and at most three run."""
    holder, _ = busy
    image = tagged(cluster.push(f"tests/{name}:1"))
    dice = random.Random(name)  # noqa: S311  (no secret)
    priorities = {f"{name}-{number:02}": dice.randint(1, 10) for number in range(20)}
    for task, priority in priorities.items():
        submit(cluster, task, image, priority)
    limit(cluster, 3)
    cluster.flow("cancel", holder)
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, len(running(cluster)))
        return not order(cluster) and not running(cluster)

    cluster.await_that(done, 600, lambda: f"wait: {order(cluster)}, run: {running(cluster)}")
    assert most == 3
    found = {task: cluster.workflow(task) for task in priorities}
    assert {cluster.task(task)["status"] for task in priorities} == {"completed"}
    # Argo stores both times in whole seconds, so events within the same second have no order.
    for one in found:
        for other in found:
            made = [found[task]["metadata"]["creationTimestamp"] for task in (one, other)]
            before = priorities[one] > priorities[other] or (
                priorities[one] == priorities[other] and made[0] < made[1]
            )
            if before:
                starts = [found[task]["status"]["startedAt"] for task in (one, other)]
                assert starts[0] <= starts[1], (one, other)
    for task in found.values():
        filters = [node for node in task["status"]["nodes"].values() if node["displayName"] == "filter"]
        assert len(filters) == 1  # planned once
        assert cluster.left_of(task["metadata"]["name"]) == {}
