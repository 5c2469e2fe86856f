"""Schedules with the real controller, which runs a CronWorkflow every minute."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ips_flows.kube.client import workflows
from tests.cluster import faults
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import Cluster
from tests.cluster.test_warming import request, tagged

_MINUTE = 60 + 30  # with the delays of Argo and a loaded machine


def schedule(cluster: Cluster, name: str) -> Any:
    """Return a schedule with its runs, as `history` prints it."""
    return cluster.flow("schedule", "history", name, "-o", "json").json()


def runs(cluster: Cluster, name: str) -> list[Any]:
    """Return the runs that created a task, the oldest first."""
    return [one for one in reversed(schedule(cluster, name)["runs"]) if one["taskId"]]


@pytest.fixture
def every_minute(cluster: Cluster, name: str) -> Iterator[tuple[str, str]]:
    """Create a schedule that is due every minute; return its name and its image."""
    name = name[:41].rstrip("-")
    image = tagged(cluster.push(f"tests/{name}:1"))
    document = json.loads(request(images=[image], priority=9))
    document.pop("name", None)
    made = cluster.flow("schedule", "create", name, "-", "--cron", "* * * * *", text=json.dumps(document))
    assert made.code == 0, made.err
    yield name, image
    cluster.flow("schedule", "delete", name)


def test_a_schedule_makes_tasks_until_it_is_deleted(cluster: Cluster, every_minute: tuple[str, str]) -> None:
    """Argo creates the task in time, with its priority; a manual run finds all nodes warm.

    The manual run needs a single pod, that of filter.
    """
    name, image = every_minute
    cluster.await_that(lambda: bool(runs(cluster, name)), _MINUTE, lambda: f"{schedule(cluster, name)}")
    assert cluster.flow("schedule", "suspend", name).code == 0
    first = runs(cluster, name)[0]["taskId"]
    assert cluster.flow("wait", first).code == 0
    await_marks(cluster, first)
    task = audit(cluster, first)
    assert (task["status"], task["priority"], task["images"]) == ("completed", 9, [image])
    for node in cluster.nodes:
        cluster.await_listed(node, image)
    by_hand = cluster.flow("schedule", "run", name, "-o", "json")
    assert by_hand.code == 0, by_hand.err
    again = by_hand.json()
    assert (again["status"], again["summary"]["warm"]) == ("completed", len(cluster.nodes))
    assert cluster.pods_made(again["taskId"]) == 0
    ended = cluster.ended_workflow(again["taskId"])
    assert ended["status"]["phase"] == "Succeeded"
    pods = [node for node in ended["status"]["nodes"].values() if node["type"] == "Pod"]
    assert [node["templateName"] for node in pods] == ["filter"]
    audit(cluster, again["taskId"])
    assert runs(cluster, name)[-1] | {"dueAt": None} == runs(cluster, name)[-1]
    assert cluster.flow("schedule", "delete", name).code == 0
    assert {cluster.task(one)["status"] for one in (first, again["taskId"])} == {"completed"}


@pytest.mark.alone
@pytest.mark.long
def test_a_node_that_joins_later_is_warmed_by_the_next_run(
    cluster: Cluster, every_minute: tuple[str, str]
) -> None:
    """A node that is missing in one run is warmed by a later run; a time while suspended is explained."""
    name, image = every_minute
    late = cluster.nodes[-1]
    with faults.without_node_object(cluster, late):
        cluster.await_that(lambda: bool(runs(cluster, name)), _MINUTE)
        first = runs(cluster, name)[0]["taskId"]
        assert cluster.flow("wait", first).code == 0
        assert set(cluster.task(first)["nodeStatuses"]) == set(cluster.nodes) - {late}
    assert image not in cluster.on_node(late)

    def warmed() -> bool:
        tasks = [cluster.task(one["taskId"]) for one in runs(cluster, name)]
        return any(
            task["nodeStatuses"].get(late, {}).get(image, {}).get("result") == "pulled"
            for task in tasks
            if task["status"] == "completed"
        )

    cluster.await_that(warmed, 4 * _MINUTE, lambda: f"{schedule(cluster, name)}")
    assert image in cluster.on_node(late)
    assert cluster.flow("schedule", "suspend", name).code == 0
    suspended = len(runs(cluster, name))
    cluster.await_that(
        lambda: any(one["message"] == "suspended" for one in schedule(cluster, name)["runs"]), 3 * _MINUTE
    )
    assert len(runs(cluster, name)) <= suspended + 1  # one may have been created at the same moment


@pytest.mark.long
def test_a_running_task_skips_the_next_run(cluster: Cluster, name: str, tarpit: str) -> None:
    """With `forbid`, the default, a run is skipped while a task runs; the history names this task."""
    name = name[:41].rstrip("-")
    document = {"images": [f"{tarpit}/slow:1"], "timeout": "10m"}
    made = cluster.flow("schedule", "create", name, "-", "--cron", "* * * * *", text=json.dumps(document))
    assert made.code == 0, made.err
    try:
        cluster.await_that(
            lambda: any("had not ended" in (one["message"] or "") for one in schedule(cluster, name)["runs"]),
            4 * _MINUTE,
            lambda: f"{schedule(cluster, name)}",
        )
        (only,) = runs(cluster, name)
        missed = [one for one in schedule(cluster, name)["runs"] if not one["taskId"]]
        assert {one["message"] for one in missed} == {f"{only['taskId']} had not ended"}
    finally:
        cluster.flow("schedule", "delete", name)
        for one in list(cluster.kube.list(workflows(cluster.namespace), metadata_only=True)):
            if one["metadata"]["name"].startswith(f"{name}-"):
                cluster.flow("cancel", one["metadata"]["name"], "--wait")
