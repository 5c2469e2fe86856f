"""The queue: its order, what a task waits for, and its output."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from ips_flows.cli.output.tables import queue_table
from ips_flows.core.task.queue import (
    Queue,
    QueueEntry,
    queue_json,
    queue_positions,
    read_queue,
    task_limit,
    waits_for,
)

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LIMIT = 3


def workflow(
    name: str,
    priority: int | None = 5,
    at: str = "11:59:00",
    *,
    phase: str = "Pending",
    namespace: str = "warm",
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": f"2026-01-31T{at}Z"},
        "spec": {} if priority is None else {"priority": priority},
        "status": {"phase": phase},
    }


def names(queue: Queue) -> list[str]:
    return [entry.task for entry in queue.entries]


def test_the_queue_is_ordered_by_priority_then_age() -> None:
    """Priority 10 is first, then the older task. A task without a priority has Argo's 0 and is last."""
    known = [
        workflow("none", None, "09:00:00"),
        workflow("old", 5, "11:00:00"),
        workflow("new", 5, "11:30:00"),
        workflow("urgent", 9, "11:50:00"),
        workflow("without-phase", 7, "11:59:59", phase=""),
        workflow("running", 10, "10:00:00", phase="Running"),
        workflow("ended", 10, "10:00:00", phase="Succeeded"),
    ]
    queue = read_queue(known, LIMIT)
    assert names(queue) == ["urgent", "without-phase", "old", "new", "none"]
    assert queue.running == ("running",)
    assert queue.entries[0] == QueueEntry(1, "urgent", 9, "2026-01-31T11:50:00Z")


def test_each_namespace_has_its_own_queue() -> None:
    """A position counts only the tasks of the same namespace."""
    known = [workflow("a", 5), workflow("b", 9), workflow("c", 1, namespace="cold")]
    assert queue_positions(known) == {("warm", "b"): 1, ("warm", "a"): 2, ("cold", "c"): 1}


def test_twenty_tasks_of_mixed_priorities_start_in_order_each_once() -> None:
    """Starting the first task whenever a slot is free starts every task once, by priority and then by age."""
    dice = random.Random(7)  # noqa: S311  (a shuffle that is the same each time)
    known = [workflow(f"t{number:02}", dice.randint(1, 10), f"11:00:{number:02}") for number in range(20)]
    expected = [
        one["metadata"]["name"]
        for one in sorted(known, key=lambda one: (-one["spec"]["priority"], one["metadata"]["name"]))
    ]
    dice.shuffle(known)
    by_name = {one["metadata"]["name"]: one for one in known}
    started = []
    while (queue := read_queue(known, LIMIT)).entries:
        if queue.free:
            assert waits_for(queue, queue.entries[0]) == "nothing: Argo starts it now"
            started.append(queue.entries[0].task)
            by_name[started[-1]]["status"]["phase"] = "Running"
        else:
            assert len(queue.running) == 3
            by_name[dice.choice(queue.running)]["status"]["phase"] = "Succeeded"
    assert started == expected


@pytest.mark.parametrize(
    ("text", "limit"),
    [("3", 3), ("03", 3), ("0", None), ("", None), ("-1", None), (" 3", None), ("three", None), ("٣", None)],
)
def test_only_what_argo_reads_as_a_number_is_a_limit(text: str, limit: int | None) -> None:
    """Argo reads plain decimal digits; with 0 no task would ever start."""
    assert task_limit({"max-concurrent-tasks": text}) == limit
    assert task_limit({}) is None


@pytest.mark.parametrize(
    ("limit", "running", "position", "words"),
    [
        (3, "abc", 1, "a free slot (running: a, b, c)"),
        (3, "abc", 3, "a free slot, behind 2 tasks (running: a, b, c)"),
        (3, "ab", 1, "nothing: Argo starts it now"),
        (3, "ab", 2, "a free slot, behind 1 task (running: a, b)"),
        (1, "abc", 1, "a free slot (running: a, b, c)"),
        (9, "abcdefgh", 2, "a free slot, behind 1 task (running: a, b, c, d, e and 3 more)"),
        (1, "", 2, "a free slot, behind 1 task"),
        (None, "a", 1, "a valid max-concurrent-tasks in ConfigMap ips-config"),
    ],
)
def test_what_a_task_waits_for(limit: int | None, running: str, position: int, words: str) -> None:
    """It names the running tasks, the number of tasks that start before, or the problem with the limit."""
    queue = Queue(limit, tuple(running), ())
    assert waits_for(queue, QueueEntry(position, "x", 5, "")) == words


def test_the_table_and_the_json() -> None:
    """The table and the JSON have position, priority, waiting time and what the task waits for."""
    known = [workflow("a", phase="Running"), workflow("b", 5), workflow("c", 9, "11:50:00")]
    queue = read_queue(known, 1)
    assert queue_table(queue, NOW).splitlines() == [
        "POSITION   NAME   PRIORITY   WAITING   WAITS FOR",
        "1          c      9          10m       a free slot (running: a)",
        "2          b      5          60s       a free slot, behind 1 task (running: a)",
    ]
    assert queue_json(queue, NOW) == {
        "limit": 1,
        "running": ["a"],
        "tasks": [
            {
                "position": 1,
                "taskId": "c",
                "priority": 9,
                "createdAt": "2026-01-31T11:50:00Z",
                "waitingSeconds": 600,
                "waitsFor": ["a"],
                "ahead": 0,
            },
            {
                "position": 2,
                "taskId": "b",
                "priority": 5,
                "createdAt": "2026-01-31T11:59:00Z",
                "waitingSeconds": 60,
                "waitsFor": ["a"],
                "ahead": 1,
            },
        ],
        "total": 2,
    }
