"""What the lists and changes of the followed collections come to, once each."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ips_flows.core.constants import ANNOTATION_COLUMNS, ANNOTATION_PLAN, ANNOTATION_VERDICT, LABEL_VERDICT
from ips_flows.core.metrics import families
from ips_flows.core.metrics.counter import EventCounter, Sample, UnreadResults
from ips_flows.core.rest.task_store import DONE, JOBS, LIVE, RESULTS
from ips_flows.core.results.results import Chunk
from tests.support.watch_events import (
    STARTED,
    counts,
    done,
    driver,
    failed,
    job,
    live,
    node,
    notice,
    pulled,
    stored,
)

ALL_LISTED = (LIVE, DONE, JOBS, RESULTS)


def counting(**lists: Any) -> EventCounter:
    """One that has seen the first list of each collection: empty, unless given."""
    one = EventCounter()
    for collection in ALL_LISTED:
        assert one.listed(collection, lists.get(collection, ())) == []
    return one


def figures_of(told: list[Sample]) -> dict[str, float]:
    """`name{values}` → the sum of what was told."""
    found: Counter[str] = Counter()
    for one in told:
        found[f"{one.family.name}{{{','.join(one.labels)}}}" if one.labels else one.family.name] += one.value  # type: ignore[assignment]
    return dict(found)


def test_an_end_tells_all_that_the_verdict_holds() -> None:
    """Nodes and images by result, failures by class, bytes, and how long it took and waited."""
    one = counting()
    assert figures_of(one.changed(DONE, done("a", "failed", summary=counts()))) == {
        "ips_tasks_total{failed}": 1,
        "ips_task_duration_seconds{failed}": 300,
        "ips_queue_wait_seconds{5}": 40,
        "ips_nodes_processed_total{completed}": 5,
        "ips_nodes_processed_total{warm}": 3,
        "ips_nodes_processed_total{failed}": 1,
        "ips_nodes_processed_total{not_reached}": 1,
        "ips_images_pulled_total{pulled}": 5,
        "ips_images_pulled_total{present}": 4,
        "ips_images_pulled_total{failed}": 2,
        "ips_images_pulled_total{skipped}": 1,
        "ips_image_pulled_bytes_total": 5000,
        "ips_node_failures_total{NotFound}": 1,
        "ips_node_failures_total{Timeout}": 1,
    }


def test_a_class_of_a_newer_program_is_unknown() -> None:
    """The labels stay bounded; what is 0 is not told."""
    told = counting().changed(DONE, done("a", summary=counts(failures={"Haunted": 2, "Timeout": 0}, bytes=0)))
    assert {one.labels: one.value for one in told if one.family is families.FAILED} == {("Unknown",): 2}
    assert families.BYTES not in {one.family for one in told}


MOVES = (  # what is told of a task that ends: of its leaving one collection and its coming to the other
    ("changed", LIVE, "left"),
    ("changed", DONE, "came"),
    ("changed", DONE, "came"),
    ("listed", LIVE, "left"),
    ("listed", DONE, "came"),
    ("listed", DONE, "came"),
)


@pytest.mark.parametrize("order", sorted(set(permutations(MOVES, 3))))
@pytest.mark.parametrize("known", ["from the first list", "by a change"])
def test_an_end_counts_once_whoever_tells_it(order: tuple[Any, ...], known: str) -> None:
    """The two collections in any order, by watch or by list; it is active until it has ended."""
    task = live("a")
    one = counting(live=[task]) if known == "from the first list" else counting()
    if known == "by a change":
        one.changed(LIVE, live("a", "Pending"))
        one.changed(LIVE, task)
    assert one.active == 1
    told: list[Sample] = []
    for how, collection, what in order:
        item = done("a") if what == "came" else task
        if how == "changed":
            told += one.changed(collection, item, gone=what == "left")
        else:
            told += one.listed(collection, [item] if what == "came" else [])
    came = any(what == "came" for _, _, what in order)
    assert figures_of(told).get("ips_tasks_total{completed}", 0) == came
    assert one.active == 0


def test_the_first_list_is_history() -> None:
    """What had ended, had started or had been told by then does not count, and later it does not either."""
    ended, runs = done("a", told=notice("undelivered", 2)), live("b")
    one = counting(done=[ended], live=[runs], jobs=[job("j", "b")], results=[stored("r", "b")])
    assert one.changed(DONE, ended) + one.listed(DONE, [ended]) == []
    assert one.changed(LIVE, runs) + one.listed(LIVE, [runs]) == []
    assert one.changed(JOBS, job("j", "b")) + one.listed(JOBS, [job("j", "b")]) == []
    assert one.changed(RESULTS, stored("r", "b")) + one.listed(RESULTS, [stored("r", "b")]) == []
    assert one.unread() == []
    assert figures_of(one.changed(DONE, done("a", told=notice("delivered", 3)))) == {
        "ips_webhook_deliveries_total{task.completed,delivered}": 1
    }
    assert "ips_queue_wait_seconds{5}" not in figures_of(one.changed(DONE, done("b")))


def test_a_task_that_was_seen_alive_is_no_history() -> None:
    """It ended between the first list of one collection and that of the other."""
    one = EventCounter()
    assert one.listed(LIVE, [live("a")]) == []
    assert figures_of(one.listed(DONE, [done("a", told=notice()), done("b")])) == {
        "ips_tasks_total{completed}": 1,
        "ips_task_duration_seconds{completed}": 300,
        "ips_webhook_deliveries_total{task.completed,delivered}": 1,
    }
    assert one.listed(LIVE, []) == []
    assert one.active == 0


def test_a_task_that_nobody_saw_alive_counts_where_it_came_later() -> None:
    """It was made, ran and ended while the watches were broken."""
    one = counting()
    assert figures_of(one.listed(DONE, [done("a")]))["ips_tasks_total{completed}"] == 1


def test_the_same_name_with_another_uid_is_another_task() -> None:
    """It was deleted and made anew."""
    one = counting(done=[done("a", name="warm")])
    one.changed(DONE, done("a", name="warm"), gone=True)
    told = one.changed(DONE, done("b", name="warm"))
    assert figures_of(told)["ips_tasks_total{completed}"] == 1


def test_a_task_deleted_before_its_verdict_is_not_counted() -> None:
    """It is no longer active, and nothing is kept of it after two lists."""
    one = counting()
    one.changed(LIVE, live("a"))
    assert one.changed(LIVE, live("a"), gone=True) == []
    assert one.active == 0
    assert set(one._tasks) == {"a"}
    one.listed(LIVE, [])
    assert set(one._tasks) == {"a"}  # "done" may yet tell that it ended
    one.listed(DONE, [])
    assert one._tasks == {}
    assert one.changed(LIVE, live("a"), gone=True) == []


def test_a_verdict_that_is_taken_off_and_put_back_counts_once() -> None:
    """Whoever plays with labels moves a task to and fro."""
    one = counting()
    one.changed(DONE, done("a"))
    for _ in range(3):
        assert one.changed(DONE, done("a"), gone=True) == []
        assert [told.family for told in one.changed(LIVE, live("a", "Succeeded"))] == []
        one.changed(LIVE, live("a"), gone=True)
        assert one.changed(DONE, done("a")) == []


@pytest.mark.parametrize(
    ("workflow", "active", "pending"),
    [
        (live("a", ""), 0, 1),
        (live("a", "Pending"), 0, 1),
        (live("a", "Pending", shutdown="Terminate"), 0, 0),
        (live("a", "Running"), 1, 0),
        (live("a", "Running", shutdown="Stop"), 1, 0),  # it holds its slot until it has stopped
        (live("a", "Failed"), 0, 0),  # its verdict is to come
    ],
)
def test_what_runs_and_what_waits(workflow: Any, active: int, pending: int) -> None:
    """By Argo's phase, which decides about the slots of the queue."""
    one = counting(live=[workflow])
    assert (one.active, one.pending) == (active, pending)


@pytest.mark.parametrize(
    ("priority", "label"), [(9, "9"), (1, "1"), (None, "0"), (0, "0"), (99, "10"), (-4, "0")]
)
def test_the_wait_counts_when_argo_starts_a_task(priority: int | None, label: str) -> None:
    """Once, under the priority by which Argo queued it, within the bounds."""
    one = counting()
    assert one.changed(LIVE, live("a", "Pending", priority=priority)) == []
    told = one.changed(LIVE, live("a", priority=priority))
    assert figures_of(told) == {f"ips_queue_wait_seconds{{{label}}}": 40}
    assert one.changed(LIVE, live("a", priority=priority)) == []
    assert "ips_queue_wait_seconds" not in str(figures_of(one.changed(DONE, done("a"))))


def test_a_priority_by_another_hand_is_none() -> None:
    """Where neither a plan nor the columns of a task say it, as far as anyone can read them."""
    item = done("a")
    item["metadata"]["annotations"].pop(ANNOTATION_PLAN)
    assert "ips_queue_wait_seconds{5}" in figures_of(counting().changed(DONE, item))
    item["metadata"]["annotations"][ANNOTATION_COLUMNS] = '{"priority": "urgent"}'
    assert "ips_queue_wait_seconds{0}" in figures_of(counting().changed(DONE, item))


def test_a_task_that_never_ran_has_no_wait() -> None:
    """Terminated while it waited: Argo calls its end its start."""
    one = counting()
    one.changed(LIVE, live("a", "Pending"))
    assert one.changed(LIVE, live("a", "Succeeded", shutdown="Terminate")) == []
    assert figures_of(one.changed(DONE, done("a", "cancelled"))) == {
        "ips_tasks_total{cancelled}": 1,
        "ips_task_duration_seconds{cancelled}": 300,
    }


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-01-01T00:00:00"])
def test_a_stamp_by_another_hand_is_no_measure(stamp: str) -> None:
    """The end counts all the same."""
    told = counting().changed(DONE, done("a", started=stamp))
    assert figures_of(told) == {"ips_tasks_total{completed}": 1}


def test_a_verdict_of_a_newer_program_counts_by_its_label() -> None:
    """What else it says is not known; a label by another hand is no status."""
    item = done("a")
    item["metadata"]["annotations"][ANNOTATION_VERDICT] = '{"v": 99, "needs": "99.0"}'
    assert figures_of(counting().changed(DONE, item)) == {"ips_tasks_total{completed}": 1}
    item["metadata"]["labels"][LABEL_VERDICT] = "splendid"
    assert counting().changed(DONE, item) == []


def test_each_round_of_a_notice_counts() -> None:
    """Also those that nobody told of: none of them was the last, so they were undelivered."""
    one = counting()
    one.changed(DONE, done("a"))
    assert one.changed(DONE, done("a")) == []
    told = [
        figures_of(one.changed(DONE, done("a", told=notice(outcome, rounds))))  # type: ignore[arg-type]
        for outcome, rounds in (("undelivered", 1), ("undelivered", 1), ("delivered", 4), ("delivered", 4))
    ]
    base = "ips_webhook_deliveries_total"
    assert told == [
        {f"{base}{{task.completed,undelivered}}": 1},
        {},
        {f"{base}{{task.completed,undelivered}}": 2, f"{base}{{task.completed,delivered}}": 1},
        {},
    ]
    assert (
        one.changed(DONE, done("b", told=notice(event="task.haunted")))[-1].family is not families.DELIVERIES
    )


def test_each_job_counts() -> None:
    """Once, whoever tells of it; the same name with another uid is another Job."""
    one = counting()
    made = {"ips_job_creation_total{success}": 1}
    assert figures_of(one.changed(JOBS, job("j", "a"))) == made
    assert one.changed(JOBS, job("j", "a")) == []
    assert figures_of(one.listed(JOBS, [job("j", "a"), job("k", "a", attempt=1)])) == made
    assert one.changed(JOBS, job("j", "a"), gone=True) == []
    assert one.listed(JOBS, []) == []
    assert figures_of(one.changed(JOBS, job("l", "a"))) == made


@pytest.mark.parametrize(
    ("node", "jobs", "failures"),
    [
        (driver("d"), [], 1),
        (driver("d", "Error", None), [], 1),  # its pod was lost
        (driver("d", "Failed", "1"), [], 0),  # it worked its Job to the end
        (driver("d", "Running", None), [], 0),
        (driver("d", "Succeeded", "0"), [], 0),
        (driver("d"), [job("j", "a")], 0),  # it had its Job
        (driver("d", attempt=1), [job("j", "a")], 1),  # that is the Job of the attempt before
        (driver("d", wave="wave-2"), [job("j", "a")], 1),
        (driver("d", wave="elsewhere"), [], 0),
        ({"d": {"type": "Retry", "templateName": "drive", "phase": "Failed"}}, [], 0),
        ({"d": {"type": "Pod", "templateName": "filter", "phase": "Failed"}}, [], 0),
    ],
)
def test_a_driver_lost_before_its_job_was_there_is_a_failure(node: Any, jobs: Any, failures: int) -> None:
    """Once; one that was lost with its Job, or that failed its attempt, is none."""
    one = counting()
    for found in jobs:
        one.changed(JOBS, found)
    one.changed(LIVE, live("a", window=5, waves=(2, 2)))
    workflow = live("a", window=5, waves=(2, 2), nodes=node)
    assert figures_of(one.changed(LIVE, workflow)).get("ips_job_creation_total{failure}", 0) == failures
    assert one.changed(LIVE, workflow) == []
    assert counting(live=[workflow]).changed(LIVE, workflow) == []  # history


def test_results_are_to_be_read_once_and_in_order() -> None:
    """In that in which they were made, also where a list tells of several: the tenth after the ninth."""
    one = counting()
    one.changed(RESULTS, stored("1", "a", "g0-r8"))
    one.changed(RESULTS, stored("1", "a", "g0-r8"))
    one.listed(RESULTS, [stored("1", "a", "g0-r8"), stored("3", "a", "g0-r10"), stored("2", "a", "g0-r9")])
    assert [(found.name, found.uid, found.task) for found in one.unread()] == [
        ("g0-r8", "1", "a"),
        ("g0-r9", "2", "a"),
        ("g0-r10", "3", "a"),
    ]
    assert one.unread() == []


def test_pulls_and_batches_are_told_from_results() -> None:
    """Each pull whose time the kubelet told; a batch of the window in force, and the rest of a wave."""
    one = counting()
    one.changed(LIVE, live("a", window=9, waves=(3,), batch_size="2"))
    nodes = {"n1": node(10, pulled(4), pulled(None)), "n2": node(12, failed()), "n3": node(17, pulled(2))}
    told = one.read(UnreadResults("r", "1", "a"), Chunk(0, 0, nodes, STARTED))
    assert [(found.family.name, found.value) for found in told] == [
        ("ips_image_pull_duration_seconds", 4),
        ("ips_image_pull_duration_seconds", 2),
        ("ips_batch_execution_duration_seconds", 12),
        ("ips_batch_execution_duration_seconds", 5),
    ]


@pytest.mark.parametrize("batch_size", ["0", "", "many"])
def test_the_planned_window_counts_where_no_other_is_in_force(batch_size: str) -> None:
    """A paused task ends no nodes."""
    one = counting()
    one.changed(LIVE, live("a", window=2, waves=(9,), batch_size=batch_size))
    told = one.read(UnreadResults("r", "1", "a"), Chunk(0, 0, {"n1": node(1), "n2": node(2)}, STARTED))
    assert [found.value for found in told if found.family is families.BATCH_SECONDS] == [2]


def test_a_task_that_is_not_known_has_no_batches() -> None:
    """Nor has one whose plan can't be read, or a wave that is not in it whose size would be a guess."""
    chunk = Chunk(3, 0, {"n1": node(1, pulled(None))}, STARTED)
    one = counting()
    assert one.read(UnreadResults("r", "1", "a"), chunk) == []
    workflow = live("a", window=5, waves=(1,))
    workflow["metadata"]["annotations"]["ips-flow.io/plan"] = "{}"
    one.changed(LIVE, workflow)
    assert one.read(UnreadResults("r", "1", "a"), chunk) == []
    one.changed(LIVE, live("a", window=5, waves=(1,)))
    assert one.read(UnreadResults("r", "1", "a"), chunk) == []


def test_after_a_restart_batches_begin_with_what_is_seen() -> None:
    """Results that were there before are not read again, so nobody knows what belongs to the first batch."""
    one = counting(results=[stored("r", "a")], live=[live("a", window=1, waves=(3,))])
    told = one.read(UnreadResults("s", "2", "a"), Chunk(0, 0, {"n2": node(50), "n3": node(55)}, STARTED))
    assert [found.value for found in told if found.family is families.BATCH_SECONDS] == [5]


def test_nothing_stays_of_what_is_gone() -> None:
    """Thousands of tasks with all that belongs to them come and go; what is kept is empty then."""
    one = counting()
    for number in range(2000):
        uid = str(number)
        one.changed(LIVE, live(uid, window=2, waves=(2,), nodes=driver("d")))
        one.changed(JOBS, job(f"j{uid}", uid))
        one.changed(RESULTS, stored(f"r{uid}", uid))
        one.changed(DONE, done(uid))
    one.unread()
    for collection in ALL_LISTED * 2:
        one.listed(collection, [])
    assert one._tasks == {}
    assert [seen.uids for seen in one._seen.values()] == [set(), set()]


class World:
    """Tasks as etcd has them, and two watches that lag behind, break, and list again."""

    def __init__(self) -> None:
        self.tasks: dict[str, str] = {}  # uid → the collection it is in
        self.log: dict[str, list[tuple[str, bool]]] = {
            LIVE: [],
            DONE: [],
        }  # what was not heard yet: uid, gone
        self.listed: set[str] = set()
        self.counting = EventCounter()
        self.made = self.counted = 0
        self.alive: set[str] = set()  # heard of in "live"
        self.heard_done: set[str] = set()
        self.history: set[str] = set()

    def make(self) -> None:
        """A new task."""
        self.made += 1
        self._put(str(self.made), LIVE)

    def end(self) -> None:
        """The oldest task gets its verdict."""
        for uid in [uid for uid, where in self.tasks.items() if where == LIVE][:1]:
            self.log[LIVE].append((uid, True))
            self._put(uid, DONE)

    def delete(self) -> None:
        """The oldest task is deleted."""
        for uid in list(self.tasks)[:1]:
            self.log[self.tasks.pop(uid)].append((uid, True))

    def hear(self, collection: str) -> None:
        """The next change is heard; without one, the last object is told again."""
        if collection not in self.listed:
            return
        for uid, gone in self.log[collection][:1]:
            del self.log[collection][0]
            self._heard(collection, [] if gone else [uid])
            self._count(self.counting.changed(collection, self._item(collection, uid), gone=gone))

    def relist(self, collection: str) -> None:
        """The watch broke, and what it would have told is lost; the collection is listed."""
        self.log[collection].clear()
        there = [uid for uid, where in self.tasks.items() if where == collection]
        if collection == DONE and DONE not in self.listed:
            self.history = set(there) - self.alive
        self.listed.add(collection)
        self._heard(collection, there)
        self._count(self.counting.listed(collection, [self._item(collection, uid) for uid in there]))

    def _put(self, uid: str, collection: str) -> None:
        self.tasks[uid] = collection
        self.log[collection].append((uid, False))

    def _heard(self, collection: str, uids: list[str]) -> None:
        (self.alive if collection == LIVE else self.heard_done).update(uids)

    def _item(self, collection: str, uid: str) -> Any:
        return live(uid) if collection == LIVE else done(uid)

    def _count(self, told: list[Sample]) -> None:
        self.counted += sum(one.family is families.TASKS for one in told)


STEPS = st.sampled_from(
    [
        World.make,
        World.end,
        World.delete,
        *(lambda world, of=one: world.hear(of) for one in (LIVE, DONE)),
        *(lambda world, of=one: world.relist(of) for one in (LIVE, DONE)),
    ]
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=60))
def test_whatever_the_watches_do_each_end_that_was_heard_of_counts_once(steps: list[Any]) -> None:
    """Lists, changes, lags and breaks in any order; in the end nothing is active that is not alive."""
    world = World()
    for step in steps:
        step(world)
        assert world.counted == len(world.heard_done - world.history)
    for collection in (LIVE, DONE, LIVE, DONE):
        world.relist(collection)
    assert world.counted == len(world.heard_done - world.history)
    assert world.counting.active == sum(where == LIVE for where in world.tasks.values())
    assert set(world.counting._tasks) == set(world.tasks)
