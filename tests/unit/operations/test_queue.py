"""Reading the queue and changing the priority of a task, against a loopback API server."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ips_flows.cli import main
from ips_flows.core import errors
from ips_flows.core.request.model import merge_overrides
from ips_flows.kube.client import Kube
from ips_flows.operations import tasks
from ips_flows.operations.cancel import cancel_task
from ips_flows.operations.queue import get_queue, reprioritize
from ips_flows.operations.submit import submit_request
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import Argo, pulled


def submit(kube: Kube, name: str, priority: int = 5) -> None:
    fields = {"images": ["busybox:1"], "name": name, "priority": priority}
    submit_request(kube, "warm", merge_overrides(None, "flags", fields))


def order(kube: Kube) -> list[str]:
    return [turn.task for turn in get_queue(kube, "warm").entries]


def test_reprioritize_moves_a_task(server: ApiServer, kube: Kube) -> None:
    """The queue, the list, the task and its description in the Argo UI all show the new priority."""
    submit(kube, "a", 9)
    submit(kube, "b", 5)
    assert order(kube) == ["a", "b"]
    assert reprioritize(kube, "warm", "b", 10).priority == 10
    assert order(kube) == ["b", "a"]
    assert (tasks.get_task(kube, "warm", "b").priority, tasks.get_task(kube, "warm", "b").queue_position) == (
        10,
        1,
    )
    assert {one.name: one.queue_position for one in tasks.list_tasks(kube, "warm")} == {"a": 2, "b": 1}
    annotations = server.get("workflows", "b")["metadata"]["annotations"]
    assert annotations["workflows.argoproj.io/description"] == "priority 10, batch size 10"
    assert json.loads(annotations["ips-flow.io/columns"])["priority"] == 10


def test_the_same_priority_changes_nothing(server: ApiServer, kube: Kube) -> None:
    """An unchanged priority causes no write."""
    submit(kube, "a", 9)
    reprioritize(kube, "warm", "a", 9)
    assert not [call for call in server.calls if call.startswith("PATCH")]


def test_a_task_of_the_form_is_moved_too(server: ApiServer, kube: Kube) -> None:
    """A task without the annotation for columns gets none."""
    spec = {"workflowTemplateRef": {"name": "ips-prewarm"}}
    labels = {"ips-flow.io/task": "true"}
    server.put("workflows", {"metadata": {"name": "form", "labels": labels}, "spec": spec})
    submit(kube, "a", 1)
    assert order(kube) == ["a", "form"]
    reprioritize(kube, "warm", "form", 2)
    assert order(kube) == ["form", "a"]


def test_only_a_task_that_waits_can_be_moved(server: ApiServer, kube: Kube) -> None:
    """Running, cancelled and ended tasks are refused, each with its own message, and are not changed."""
    for name in ("running", "stopping", "over"):
        submit(kube, name)
        Argo(server, name).phase("Running")
    cancel_task(kube, "warm", "stopping")
    argo = Argo(server, "over")
    argo.planned(waves={"wave-1": 1})
    argo.verdict({"n": pulled()})
    for name, kind, message in (
        ("running", errors.TaskStartedError, "is already running; a priority orders only waiting tasks"),
        ("stopping", errors.TaskStartedError, "is being cancelled"),
        ("over", errors.TaskEndedError, "has already ended: completed"),
    ):
        with pytest.raises(kind, match=message):
            reprioritize(kube, "warm", name, 9)
        assert server.get("workflows", name)["spec"]["priority"] == 5
    with pytest.raises(errors.NotFoundError, match="task nobody does not exist"):
        reprioritize(kube, "warm", "nobody", 9)


def test_a_task_that_starts_meanwhile_is_refused(server: ApiServer, kube: Kube) -> None:
    """If the task starts between read and patch, the patch conflicts, and the second try is refused."""
    submit(kube, "a")
    read = server.get("workflows", "a")
    server.fail("PATCH .*/workflows/a", 409, "Conflict", times=1)
    assert reprioritize(kube, "warm", "a", 6).priority == 6
    bodies = {"metadata": {"resourceVersion": read["metadata"]["resourceVersion"]}, "spec": {"priority": 9}}
    Argo(server, "a").phase("Running")
    with pytest.raises(errors.ConflictError):
        kube.patch("/apis/argoproj.io/v1alpha1/namespaces/warm/workflows/a", bodies)
    with pytest.raises(errors.TaskStartedError):
        reprioritize(kube, "warm", "a", 9)


def test_a_cancelled_task_leaves_the_queue(kube: Kube) -> None:
    """A cancelled pending task leaves the queue, and the others move up immediately."""
    submit(kube, "a", 9)
    submit(kube, "b")
    cancel_task(kube, "warm", "a")
    assert order(kube) == ["b"]


def test_the_limit_counts_as_it_is_now(server: ApiServer, kube: Kube) -> None:
    """The settings are read each time. Missing settings are not an error here, but are reported."""
    assert get_queue(kube, "warm").limit == 3
    server.change("configmaps", "ips-config", {"data": {"max-concurrent-tasks": "1"}})
    assert get_queue(kube, "warm").limit == 1
    server.remove("configmaps", "ips-config")
    assert get_queue(kube, "warm").limit is None


@pytest.mark.parametrize("limit", ["0", "many", " 3", None])
def test_run_refuses_an_unusable_limit(server: ApiServer, kube: Kube, limit: str | None) -> None:
    """`run` creates no Workflow that could never start."""
    server.change("configmaps", "ips-config", {"data": {"max-concurrent-tasks": limit}})
    with pytest.raises(errors.NotInstalledError, match="max-concurrent-tasks in ConfigMap ips-config"):
        submit(kube, "a")
    assert not [key for key in server.store.objects if key[0] == "workflows"]


@pytest.mark.usefixtures("shell")
def test_the_verbs(server: ApiServer, kube: Kube, capsys: pytest.CaptureFixture[str]) -> None:
    """`queue` prints the queue to stdout and its state to stderr; `reprioritize` prints the new position."""
    assert main.run(["queue"]) == 0
    assert capsys.readouterr() == (
        "",
        "no tasks are waiting in namespace warm\nrunning tasks: 0 of at most 3\n",
    )
    submit(kube, "a", 9)
    submit(kube, "b")
    assert main.run(["reprioritize", "b", "10"]) == 0
    assert capsys.readouterr().out == "task b has priority 10, number 1 in the queue\n"
    assert main.run(["queue", "-o", "name"]) == 0
    assert capsys.readouterr().out == "b\na\n"
    assert main.run(["queue", "-o", "json"]) == 0
    assert [one["position"] for one in json.loads(capsys.readouterr().out)["tasks"]] == [1, 2]
    Argo(server, "b").phase("Running")
    assert main.run(["reprioritize", "b", "1"]) == 1
    assert "is already running" in capsys.readouterr().err
    assert main.run(["reprioritize", "a", "11"]) == 2
    server.change("configmaps", "ips-config", {"data": {"max-concurrent-tasks": "0"}})
    assert main.run(["queue"]) == 0
    said = capsys.readouterr()
    assert "a valid max-concurrent-tasks in ConfigMap ips-config" in said.out
    assert "no task can start; `ips-flow doctor -n warm` shows why" in said.err


@pytest.mark.usefixtures("shell")
def test_all_tasks_are_stopped_before_any_wait(
    server: ApiServer, kube: Kube, capsys: pytest.CaptureFixture[str]
) -> None:
    """All tasks are cancelled before any wait: otherwise the end of one task would start the next."""
    for name in ("a", "b"):
        submit(kube, name)

    def end_when_all_are_stopped(kind: str, _item: Any) -> None:
        found = [server.get("workflows", name) for name in ("a", "b")]
        if kind == "workflows" and all(one["spec"].get("shutdown") for one in found):
            server.on_change = lambda *_: None
            for name in ("a", "b"):
                Argo(server, name).phase("Succeeded")

    server.on_change = end_when_all_are_stopped
    assert main.run(["cancel", "a", "b", "--wait", "--timeout", "20s"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "task a cancelled",
        "task b cancelled",
    ]


class Semaphore:
    """Simulates how Argo's controller starts pending tasks: by priority, then by age, up to the limit."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.started: list[str] = []

    def tasks(self, phase: str) -> list[Any]:
        """Return the Workflows in a phase, by name."""
        return [
            item
            for key, item in sorted(self._server.store.objects.items())
            if key[0] == "workflows" and (item.get("status") or {}).get("phase", "Pending") == phase
        ]

    def start(self) -> list[str]:
        """Start tasks while slots are free. Return the names of all running tasks."""
        limit = int(self._server.get("configmaps", "ips-config")["data"]["max-concurrent-tasks"])
        waiting = sorted(
            self.tasks("Pending"),
            key=lambda one: (-one["spec"]["priority"], one["metadata"]["creationTimestamp"]),
        )
        for one in waiting[: max(0, limit - len(self.tasks("Running")))]:
            self.started.append(one["metadata"]["name"])
            Argo(self._server, self.started[-1]).phase("Running")
        return [one["metadata"]["name"] for one in self.tasks("Running")]


def test_twenty_tasks_of_mixed_priorities(server: ApiServer, kube: Kube) -> None:
    """With three slots, all twenty tasks start once, by priority and then by age; at most three run at a time.

    The queue shows the order in advance, and the running tasks, also after the limit changes.
    """
    dice = random.Random(7)  # noqa: S311  (no secret)
    argo = Semaphore(server)
    server.change("configmaps", "ips-config", {"data": {"max-concurrent-tasks": "1"}})
    submit(kube, "holder", 10)
    assert argo.start() == ["holder"]
    made = {f"t{number:02}": dice.randint(1, 10) for number in range(20)}
    for second, (name, priority) in enumerate(made.items()):
        submit(kube, name, priority)
        created = f"2026-01-01T00:00:{second:02}Z"
        server.change("workflows", name, {"metadata": {"creationTimestamp": created}})
    expected = order(kube)
    assert expected == sorted(made, key=lambda name: (-made[name], name))
    assert argo.start() == ["holder"]
    server.change("configmaps", "ips-config", {"data": {"max-concurrent-tasks": "3"}})
    most = 0
    while running := argo.start():
        queue = get_queue(kube, "warm")
        assert sorted(queue.running) == running
        assert [turn.task for turn in queue.entries] == expected[len(argo.started) - 1 :]
        most = max(most, len(running))
        one = Argo(server, dice.choice(running))
        one.planned(waves={"wave-1": 1})
        one.verdict({"n": pulled()})
        one.phase("Succeeded")
    assert argo.started == ["holder", *expected]
    assert most == 3
    assert {one.status for one in tasks.list_tasks(kube, "warm")} == {"completed"}
