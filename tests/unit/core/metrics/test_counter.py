"""The samples from lists and changes of the watched collections. Each event is counted once."""

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
    """Return a counter that has seen the first list of each collection, empty by default."""
    one = EventCounter()
    for collection in ALL_LISTED:
        assert one.listed(collection, lists.get(collection, ())) == []
    return one


def totals(samples: list[Sample]) -> dict[str, float]:
    """Return the sum of the samples by `name{values}`."""
    found: Counter[str] = Counter()
    for one in samples:
        found[f"{one.family.name}{{{','.join(one.labels)}}}" if one.labels else one.family.name] += one.value  # type: ignore[assignment]
    return dict(found)


def test_an_end_counts_all_values_of_the_verdict() -> None:
    """They are nodes and images by result, failures by class, bytes, duration and waiting time."""
    one = counting()
    assert totals(one.changed(DONE, done("a", "failed", summary=counts()))) == {
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


def test_a_class_of_a_newer_version_is_unknown() -> None:
    """Label values stay bounded. Zero counts have no sample."""
    samples = counting().changed(
        DONE, done("a", summary=counts(failures={"Haunted": 2, "Timeout": 0}, bytes=0))
    )
    assert {one.labels: one.value for one in samples if one.family is families.FAILED} == {("Unknown",): 2}
    assert families.BYTES not in {one.family for one in samples}


MOVES = (  # the events of a task that ends: it leaves one collection and comes into the other
    ("changed", LIVE, "left"),
    ("changed", DONE, "came"),
    ("changed", DONE, "came"),
    ("listed", LIVE, "left"),
    ("listed", DONE, "came"),
    ("listed", DONE, "came"),
)


@pytest.mark.parametrize("order", sorted(set(permutations(MOVES, 3))))
@pytest.mark.parametrize("known", ["from the first list", "by a change"])
def test_an_end_counts_once_from_any_collection(order: tuple[Any, ...], known: str) -> None:
    """An end counts once for each order of collections, and for watches and lists. The task is active until then."""
    task = live("a")
    one = counting(live=[task]) if known == "from the first list" else counting()
    if known == "by a change":
        one.changed(LIVE, live("a", "Pending"))
        one.changed(LIVE, task)
    assert one.active == 1
    samples: list[Sample] = []
    for how, collection, what in order:
        item = done("a") if what == "came" else task
        if how == "changed":
            samples += one.changed(collection, item, gone=what == "left")
        else:
            samples += one.listed(collection, [item] if what == "came" else [])
    came = any(what == "came" for _, _, what in order)
    assert totals(samples).get("ips_tasks_total{completed}", 0) == came
    assert one.active == 0


def test_the_first_list_is_history() -> None:
    """Ends, starts, Jobs and notifications in the first list are not counted, also not when they are seen again."""
    ended, runs = done("a", told=notice("undelivered", 2)), live("b")
    one = counting(done=[ended], live=[runs], jobs=[job("j", "b")], results=[stored("r", "b")])
    assert one.changed(DONE, ended) + one.listed(DONE, [ended]) == []
    assert one.changed(LIVE, runs) + one.listed(LIVE, [runs]) == []
    assert one.changed(JOBS, job("j", "b")) + one.listed(JOBS, [job("j", "b")]) == []
    assert one.changed(RESULTS, stored("r", "b")) + one.listed(RESULTS, [stored("r", "b")]) == []
    assert one.unread() == []
    assert totals(one.changed(DONE, done("a", told=notice("delivered", 3)))) == {
        "ips_webhook_deliveries_total{task.completed,delivered}": 1
    }
    assert "ips_queue_wait_seconds{5}" not in totals(one.changed(DONE, done("b")))


def test_a_task_that_was_seen_live_is_no_history() -> None:
    """The task ended between the first lists of the two collections."""
    one = EventCounter()
    assert one.listed(LIVE, [live("a")]) == []
    assert totals(one.listed(DONE, [done("a", told=notice()), done("b")])) == {
        "ips_tasks_total{completed}": 1,
        "ips_task_duration_seconds{completed}": 300,
        "ips_webhook_deliveries_total{task.completed,delivered}": 1,
    }
    assert one.listed(LIVE, []) == []
    assert one.active == 0


def test_a_task_that_was_never_seen_live_counts() -> None:
    """The task was created, ran and ended while the watches were broken."""
    one = counting()
    assert totals(one.listed(DONE, [done("a")]))["ips_tasks_total{completed}"] == 1


def test_the_same_name_with_another_uid_is_another_task() -> None:
    """The task was deleted and created again."""
    one = counting(done=[done("a", name="warm")])
    one.changed(DONE, done("a", name="warm"), gone=True)
    samples = one.changed(DONE, done("b", name="warm"))
    assert totals(samples)["ips_tasks_total{completed}"] == 1


def test_a_task_deleted_before_its_verdict_is_not_counted() -> None:
    """The task is no longer active, and its state is dropped after both collections are listed."""
    one = counting()
    one.changed(LIVE, live("a"))
    assert one.changed(LIVE, live("a"), gone=True) == []
    assert one.active == 0
    assert set(one._tasks) == {"a"}
    one.listed(LIVE, [])
    assert set(one._tasks) == {"a"}  # "done" may still show its end
    one.listed(DONE, [])
    assert one._tasks == {}
    assert one.changed(LIVE, live("a"), gone=True) == []


def test_a_verdict_that_is_removed_and_restored_counts_once() -> None:
    """A user who edits labels moves a task between the collections."""
    one = counting()
    one.changed(DONE, done("a"))
    for _ in range(3):
        assert one.changed(DONE, done("a"), gone=True) == []
        assert [sample.family for sample in one.changed(LIVE, live("a", "Succeeded"))] == []
        one.changed(LIVE, live("a"), gone=True)
        assert one.changed(DONE, done("a")) == []


@pytest.mark.parametrize(
    ("workflow", "active", "pending"),
    [
        (live("a", ""), 0, 1),
        (live("a", "Pending"), 0, 1),
        (live("a", "Pending", shutdown="Terminate"), 0, 0),
        (live("a", "Running"), 1, 0),
        (live("a", "Running", shutdown="Stop"), 1, 0),  # it holds its slot until it ends
        (live("a", "Failed"), 0, 0),  # it has no verdict yet
    ],
)
def test_active_and_pending_tasks(workflow: Any, active: int, pending: int) -> None:
    """Argo's phase decides, since it also decides about the slots of the queue."""
    one = counting(live=[workflow])
    assert (one.active, one.pending) == (active, pending)


@pytest.mark.parametrize(
    ("priority", "label"), [(9, "9"), (1, "1"), (None, "0"), (0, "0"), (99, "10"), (-4, "0")]
)
def test_the_wait_counts_when_argo_starts_a_task(priority: int | None, label: str) -> None:
    """The wait counts once, with the priority by which Argo queued the task, limited to 0 to 10."""
    one = counting()
    assert one.changed(LIVE, live("a", "Pending", priority=priority)) == []
    samples = one.changed(LIVE, live("a", priority=priority))
    assert totals(samples) == {f"ips_queue_wait_seconds{{{label}}}": 40}
    assert one.changed(LIVE, live("a", priority=priority)) == []
    assert "ips_queue_wait_seconds" not in str(totals(one.changed(DONE, done("a"))))


def test_an_invalid_priority_counts_as_0() -> None:
    """Without a plan the priority is that of the columns, or 0 if it can't be read."""
    item = done("a")
    item["metadata"]["annotations"].pop(ANNOTATION_PLAN)
    assert "ips_queue_wait_seconds{5}" in totals(counting().changed(DONE, item))
    item["metadata"]["annotations"][ANNOTATION_COLUMNS] = '{"priority": "urgent"}'
    assert "ips_queue_wait_seconds{0}" in totals(counting().changed(DONE, item))


def test_a_task_that_never_ran_has_no_wait() -> None:
    """Argo sets the start of a task that is terminated in the queue to the time of its end."""
    one = counting()
    one.changed(LIVE, live("a", "Pending"))
    assert one.changed(LIVE, live("a", "Succeeded", shutdown="Terminate")) == []
    assert totals(one.changed(DONE, done("a", "cancelled"))) == {
        "ips_tasks_total{cancelled}": 1,
        "ips_task_duration_seconds{cancelled}": 300,
    }


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-01-01T00:00:00"])
def test_an_invalid_timestamp_gives_no_duration(stamp: str) -> None:
    """The end of the task is counted."""
    samples = counting().changed(DONE, done("a", started=stamp))
    assert totals(samples) == {"ips_tasks_total{completed}": 1}


def test_a_verdict_of_a_newer_version_counts_by_its_label() -> None:
    """Its other values can't be read. A label with an unknown value is not a status."""
    item = done("a")
    item["metadata"]["annotations"][ANNOTATION_VERDICT] = '{"v": 99, "needs": "99.0"}'
    assert totals(counting().changed(DONE, item)) == {"ips_tasks_total{completed}": 1}
    item["metadata"]["labels"][LABEL_VERDICT] = "splendid"
    assert counting().changed(DONE, item) == []


def test_each_round_of_a_notification_counts() -> None:
    """Rounds that were not seen count as undelivered, since none of them was final."""
    one = counting()
    one.changed(DONE, done("a"))
    assert one.changed(DONE, done("a")) == []
    rounds_seen = [
        totals(one.changed(DONE, done("a", told=notice(outcome, rounds))))  # type: ignore[arg-type]
        for outcome, rounds in (("undelivered", 1), ("undelivered", 1), ("delivered", 4), ("delivered", 4))
    ]
    base = "ips_webhook_deliveries_total"
    assert rounds_seen == [
        {f"{base}{{task.completed,undelivered}}": 1},
        {},
        {f"{base}{{task.completed,undelivered}}": 2, f"{base}{{task.completed,delivered}}": 1},
        {},
    ]
    assert (
        one.changed(DONE, done("b", told=notice(event="task.haunted")))[-1].family is not families.DELIVERIES
    )


def test_each_job_counts() -> None:
    """A Job counts once, from a watch or a list. The same name with another UID is another Job."""
    one = counting()
    made = {"ips_job_creation_total{success}": 1}
    assert totals(one.changed(JOBS, job("j", "a"))) == made
    assert one.changed(JOBS, job("j", "a")) == []
    assert totals(one.listed(JOBS, [job("j", "a"), job("k", "a", attempt=1)])) == made
    assert one.changed(JOBS, job("j", "a"), gone=True) == []
    assert one.listed(JOBS, []) == []
    assert totals(one.changed(JOBS, job("l", "a"))) == made


@pytest.mark.parametrize(
    ("node", "jobs", "failures"),
    [
        (driver("d"), [], 1),
        (driver("d", "Error", None), [], 1),  # its pod failed
        (driver("d", "Failed", "1"), [], 0),  # it finished its Job
        (driver("d", "Running", None), [], 0),
        (driver("d", "Succeeded", "0"), [], 0),
        (driver("d"), [job("j", "a")], 0),  # it had its Job
        (driver("d", attempt=1), [job("j", "a")], 1),  # the Job is of the previous attempt
        (driver("d", wave="wave-2"), [job("j", "a")], 1),
        (driver("d", wave="elsewhere"), [], 0),
        ({"d": {"type": "Retry", "templateName": "drive", "phase": "Failed"}}, [], 0),
        ({"d": {"type": "Pod", "templateName": "filter", "phase": "Failed"}}, [], 0),
    ],
)
def test_a_driver_that_failed_before_its_job_existed_is_a_failure(
    node: Any, jobs: Any, failures: int
) -> None:
    """It counts once. A driver that had its Job, or whose attempt failed, does not count."""
    one = counting()
    for found in jobs:
        one.changed(JOBS, found)
    one.changed(LIVE, live("a", window=5, waves=(2, 2)))
    workflow = live("a", window=5, waves=(2, 2), nodes=node)
    assert totals(one.changed(LIVE, workflow)).get("ips_job_creation_total{failure}", 0) == failures
    assert one.changed(LIVE, workflow) == []
    assert counting(live=[workflow]).changed(LIVE, workflow) == []  # history


def test_results_are_read_once_and_in_order() -> None:
    """The order is that of creation, also for several results in a list: the tenth comes after the ninth."""
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


def test_pulls_and_batches_are_counted_from_results() -> None:
    """Each pull with a reported duration counts, each batch of the current window, and the rest of a wave."""
    one = counting()
    one.changed(LIVE, live("a", window=9, waves=(3,), batch_size="2"))
    nodes = {"n1": node(10, pulled(4), pulled(None)), "n2": node(12, failed()), "n3": node(17, pulled(2))}
    samples = one.read(UnreadResults("r", "1", "a"), Chunk(0, 0, nodes, STARTED))
    assert [(found.family.name, found.value) for found in samples] == [
        ("ips_image_pull_duration_seconds", 4),
        ("ips_image_pull_duration_seconds", 2),
        ("ips_batch_execution_duration_seconds", 12),
        ("ips_batch_execution_duration_seconds", 5),
    ]


@pytest.mark.parametrize("batch_size", ["0", "", "many"])
def test_the_planned_window_counts_without_a_valid_other(batch_size: str) -> None:
    """A window of 0 is ignored, since no node of a paused task ends."""
    one = counting()
    one.changed(LIVE, live("a", window=2, waves=(9,), batch_size=batch_size))
    samples = one.read(UnreadResults("r", "1", "a"), Chunk(0, 0, {"n1": node(1), "n2": node(2)}, STARTED))
    assert [found.value for found in samples if found.family is families.BATCH_SECONDS] == [2]


def test_an_unknown_task_has_no_batches() -> None:
    """A task with an unreadable plan has none either, nor has a wave that is missing in the plan."""
    chunk = Chunk(3, 0, {"n1": node(1, pulled(None))}, STARTED)
    one = counting()
    assert one.read(UnreadResults("r", "1", "a"), chunk) == []
    workflow = live("a", window=5, waves=(1,))
    workflow["metadata"]["annotations"]["ips-flow.io/plan"] = "{}"
    one.changed(LIVE, workflow)
    assert one.read(UnreadResults("r", "1", "a"), chunk) == []
    one.changed(LIVE, live("a", window=5, waves=(1,)))
    assert one.read(UnreadResults("r", "1", "a"), chunk) == []


def test_after_a_restart_batches_begin_with_the_first_end_seen() -> None:
    """Existing results are not read again, so the start of the first batch is unknown."""
    one = counting(results=[stored("r", "a")], live=[live("a", window=1, waves=(3,))])
    samples = one.read(UnreadResults("s", "2", "a"), Chunk(0, 0, {"n2": node(50), "n3": node(55)}, STARTED))
    assert [found.value for found in samples if found.family is families.BATCH_SECONDS] == [5]


def test_no_state_is_kept_of_deleted_objects() -> None:
    """After thousands of tasks are created and deleted with their objects, the state is empty."""
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
    """The tasks in etcd, and two watches that lag, break and list again."""

    def __init__(self) -> None:
        self.tasks: dict[str, str] = {}  # uid → the collection it is in
        self.log: dict[str, list[tuple[str, bool]]] = {
            LIVE: [],
            DONE: [],
        }  # events not received yet: uid, gone
        self.listed: set[str] = set()
        self.counting = EventCounter()
        self.made = self.counted = 0
        self.alive: set[str] = set()  # received in "live"
        self.heard_done: set[str] = set()
        self.history: set[str] = set()

    def make(self) -> None:
        """Create a task."""
        self.made += 1
        self._put(str(self.made), LIVE)

    def end(self) -> None:
        """Give the oldest live task its verdict."""
        for uid in [uid for uid, where in self.tasks.items() if where == LIVE][:1]:
            self.log[LIVE].append((uid, True))
            self._put(uid, DONE)

    def delete(self) -> None:
        """Delete the oldest task."""
        for uid in list(self.tasks)[:1]:
            self.log[self.tasks.pop(uid)].append((uid, True))

    def hear(self, collection: str) -> None:
        """Receive the next change of a collection, if there is one."""
        if collection not in self.listed:
            return
        for uid, gone in self.log[collection][:1]:
            del self.log[collection][0]
            self._heard(collection, [] if gone else [uid])
            self._count(self.counting.changed(collection, self._item(collection, uid), gone=gone))

    def relist(self, collection: str) -> None:
        """Break the watch, drop its pending changes, and list the collection."""
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

    def _count(self, samples: list[Sample]) -> None:
        self.counted += sum(one.family is families.TASKS for one in samples)


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
def test_each_received_end_counts_once(steps: list[Any]) -> None:
    """This holds for lists, changes, lags and breaks in any order. At the end only live tasks are active."""
    world = World()
    for step in steps:
        step(world)
        assert world.counted == len(world.heard_done - world.history)
    for collection in (LIVE, DONE, LIVE, DONE):
        world.relist(collection)
    assert world.counted == len(world.heard_done - world.history)
    assert world.counting.active == sum(where == LIVE for where in world.tasks.values())
    assert set(world.counting._tasks) == set(world.tasks)
