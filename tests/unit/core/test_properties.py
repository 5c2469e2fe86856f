"""Properties of results, waves, the window and the names of objects, over generated ones."""

from __future__ import annotations

import uuid
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from ips_flows.core.constants import attempt_name, base_name, group_name
from ips_flows.core.k8s.names import is_dns_label, is_dns_name, is_label_value
from ips_flows.core.plan.plan import PlannedNode, cut_waves, resolve_down, resolve_up
from ips_flows.core.plan.window import WindowState, breaker_open, job_parallelism, ungatable
from ips_flows.core.pods.pull_job import task_labels
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.results import FINISH_GROUP, MESSAGE_LIMIT, Chunk, ImageResult, NodeResult, fold
from ips_flows.core.results.stored_results import decode, encode, split

AT = "2026-01-01T00:00:00Z"

# -- results -----------------------------------------------------------------------------------------------

images = st.builds(
    ImageResult,
    result=st.sampled_from(Result),
    reason=st.sampled_from(["", *(failure.value for failure in FailureReason)]),
    message=st.text(max_size=40),
    seconds=st.none() | st.floats(0, 1e6),
    bytes=st.none() | st.integers(0, 2**50),
    digest=st.none() | st.just("sha256:" + "a" * 64),
    tries=st.integers(0, 100),
)
node_results = st.builds(NodeResult, st.lists(images, min_size=1, max_size=4).map(tuple), st.just(AT))
node_names = st.integers(0, 9).map("n{}".format)
chunks = st.builds(
    Chunk,
    group=st.sampled_from([-1, 0, 1, 19, FINISH_GROUP]),
    attempt=st.integers(0, 5),
    nodes=st.dictionaries(node_names, node_results, max_size=8),
)


@given(chunks)
def test_what_is_stored_is_read(chunk: Chunk) -> None:
    """A chunk is read as it was written, whatever the registries said; its bytes depend on nothing else."""
    assert decode(encode(chunk)) == chunk
    assert encode(decode(encode(chunk))) == encode(chunk)


@given(chunks, st.text(min_size=MESSAGE_LIMIT, max_size=MESSAGE_LIMIT + 50))
def test_messages_are_cut_when_they_are_stored(chunk: Chunk, message: str) -> None:
    """A message of any length is stored up to the limit, and nothing but the message is changed."""
    result = ImageResult(Result.FAILED, message=message)
    stored = decode(encode(replace(chunk, nodes={"n": NodeResult((result,), AT)})))
    assert stored.nodes["n"].images == (replace(result, message=message[:MESSAGE_LIMIT]),)


@given(chunks, st.integers(150, 2000))
def test_pieces_hold_the_same(chunk: Chunk, limit: int) -> None:
    """Pieces are within the limit, or of one node; together they are the chunk, each node in one of them, in order."""
    pieces = split(chunk, limit)
    assert [name for piece in pieces for name in piece.nodes] == list(chunk.nodes)
    assert fold(pieces) == fold([chunk])
    for piece in pieces:
        assert (piece.group, piece.attempt) == (chunk.group, chunk.attempt)
        assert len(piece.nodes) <= 1 or sum(map(len, encode(piece).values())) <= limit


told = st.builds(
    lambda word: NodeResult((ImageResult(Result.FAILED, message=word),), AT), st.sampled_from("abcdef")
)
short_chunks = st.builds(
    Chunk,
    group=st.sampled_from([-1, 0, 1, FINISH_GROUP]),
    attempt=st.integers(0, 2),
    nodes=st.dictionaries(st.sampled_from(["n1", "n2"]), told),
)


@given(st.lists(short_chunks, max_size=5), st.randoms(use_true_random=False))
def test_folding_knows_the_latest(stored: list[Chunk], chance: object) -> None:
    """One result a node: that of the latest attempt; that of finish only where there is no other."""
    stored = list({(one.group, one.attempt): one for one in stored}.values())
    shuffled = stored[:]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    folded = fold(shuffled)
    assert folded == fold(stored)
    for name in {name for one in stored for name in one.nodes}:
        said = [one for one in stored if name in one.nodes]
        tried = [one for one in said if one.group != FINISH_GROUP]
        latest = max(tried, key=lambda one: (one.group, one.attempt), default=None)
        candidates = [latest] if latest else said
        assert folded[name] in [one.nodes[name] for one in candidates]


# -- waves -------------------------------------------------------------------------------------------------

sizes = st.integers(1, 60) | st.integers(1, 100).map("{}%".format)


@given(st.integers(0, 50), st.lists(sizes, max_size=20))
def test_waves_hold_every_node_once(count: int, waves: list[int | str]) -> None:
    """Every node is in exactly one wave, in order; no wave is empty, and there is at most one more than was asked."""
    nodes = [PlannedNode(name=f"n{number:02}") for number in range(count)]
    groups = cut_waves(nodes, waves)
    assert [node for group in groups for node in group] == nodes
    assert all(groups)
    assert len(groups) <= len(waves) + 1


@given(sizes, st.integers(1, 10_000))
def test_percentages(size: int | str, total: int) -> None:
    """Windows and waves round up to at least one, losses down to at most all that a percentage allows."""
    up, down = resolve_up(size, total), resolve_down(size, total)
    assert up >= 1
    assert 0 <= down <= up
    if isinstance(size, str):
        assert up <= total
        assert up - down <= 1


# -- the window --------------------------------------------------------------------------------------------


@st.composite
def standings(draw: st.DrawFn) -> WindowState:
    """Any state of an attempt, shrunk windows and pauses included."""
    pulling, ended = draw(st.integers(0, 30)), draw(st.integers(0, 30))
    return WindowState(
        window=draw(st.integers(0, 30)),
        pulling=pulling,
        gated=draw(st.lists(st.integers(0, 99), max_size=40, unique=True)),
        ended=ended,
        reached=draw(st.integers(0, ended)),
        barrier=draw(st.none() | st.integers(0, ended + pulling)),
    )


@given(standings())
def test_the_window_is_never_exceeded(standing: WindowState) -> None:
    """What may start fits into the window beside what pulls; it comes from the gate, the lowest first."""
    started = list(ungatable(standing))
    assert standing.pulling + len(started) <= max(standing.window, standing.pulling)
    assert started == sorted(standing.gated)[: len(started)]
    if breaker_open(standing):
        assert not started
    if not standing.reached:
        assert standing.ended + standing.pulling + len(started) <= max(
            standing.window, standing.ended + standing.pulling
        )


@given(st.integers(1, 8), st.integers(1, 40), st.booleans(), st.data())
def test_every_node_gets_its_turn(window: int, nodes: int, batches: bool, data: st.DataObject) -> None:
    """Whatever ends first, all nodes start, never more at once than the window, and in batches none across a barrier."""
    gated, pulling, ended = list(range(nodes)), set[int](), set[int]()
    while len(ended) < nodes:
        standing = WindowState(window, len(pulling), gated, len(ended), len(ended), 0 if batches else None)
        started = ungatable(standing)
        pulling |= set(started)
        gated = [index for index in gated if index not in pulling]
        assert pulling, "nothing pulls and nothing may start"
        assert len(pulling) <= window
        if batches:
            assert len({index // window for index in pulling}) == 1
        done = data.draw(st.sampled_from(sorted(pulling)))
        pulling.remove(done)
        ended.add(done)


@given(st.integers(1, 1000), st.integers(1, 5000))
def test_a_job_holds_a_reserve(window: int, nodes: int) -> None:
    """A Job holds more pods than may pull, unless there are no more, and never more than nodes."""
    held = job_parallelism(window, nodes)
    assert held <= nodes
    assert held == nodes or held > window


# -- names -------------------------------------------------------------------------------------------------

task_names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True)
foreign_names = st.from_regex(
    r"([a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?\.){0,3}[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?", fullmatch=True
)
long_names = st.from_regex(r"[a-z0-9][-a-z0-9]{50}[a-z0-9]", fullmatch=True)
tasks = task_names | foreign_names | long_names
uids = st.uuids(version=4).map(str)
groups, attempts = st.integers(0, 20) | st.just(20), st.integers(0, 5) | st.just(5)


def pod_name(job: str, index: int) -> str:
    """As the Job controller (podGenerateNameWithIndex) and the API server (SimpleNameGenerator) make it."""
    behind = f"-{index}-"
    stem = (job + behind if len(job + behind) <= 58 else job[: 58 - len(behind)] + behind)[:58]
    return f"{stem}abcde"


def objects(task: str, uid: str, group: int, attempt: int, number: int) -> list[str]:
    """The names of all that a task makes, one of each kind."""
    job = attempt_name(task, uid, group, attempt)
    base = base_name(task, uid)
    return [
        group_name(task, uid, group),
        job,
        f"{job}-r{number}",
        f"{base}-filter-r{number}",
        f"{base}-finish-r{number}",
    ]


@given(tasks, uids, groups, attempts, st.integers(0, 4999) | st.just(4999), st.integers(0, 999))
def test_names_are_valid(task: str, uid: str, group: int, attempt: int, index: int, number: int) -> None:
    """Names of Jobs, their pods' host names, pods, ConfigMaps, and label values are valid for any task."""
    assume(is_dns_name(task))
    job = attempt_name(task, uid, group, attempt)
    assert is_dns_label(f"{job}-{index}")
    assert is_dns_label(pod_name(job, index))
    made = objects(task, uid, group, attempt, number)
    assert all(is_dns_name(name) for name in made)
    assert len(set(made)) == len(made)
    values = [*task_labels(task, uid, "results", group, attempt).values(), job]
    assert all(is_label_value(value) for value in values)


@given(tasks, uids, st.tuples(groups, attempts), st.tuples(groups, attempts))
def test_attempts_have_names_of_their_own(
    task: str, uid: str, one: tuple[int, int], other: tuple[int, int]
) -> None:
    """Two attempts of a task share no name, however long it is."""
    assume(one != other)
    first, second = (attempt_name(task, uid, *which) for which in (one, other))
    assert first != second
    assert not first.startswith(f"{second}-")


@given(long_names, st.text("abcdefghij", max_size=12), uids, uids, groups, attempts)
def test_tasks_have_names_of_their_own(
    task: str, end: str, uid: str, later: str, group: int, attempt: int
) -> None:
    """Tasks alike in their first 40 characters, or made anew under one name, share no object's name and no label.

    Even where their uids begin alike, as of many tasks some will.
    """
    later = uid[:6] + later[6:]
    assume(uid[:18] != later[:18])
    alike = task[:40] + end
    assume(is_dns_label(alike))
    first = set(objects(task, uid, group, attempt, 0))
    for name in (alike, task):
        assert not first & set(objects(name, later, group, attempt, 0))
    assert task_labels(task, uid, "pull") != task_labels(task, later, "pull")


def test_uids_are_told_apart_by_their_first_digits() -> None:
    """The six hex digits in a name are those that are random in a uid of the API server."""
    seen = {base_name("a", str(uuid.uuid4())) for _ in range(200)}
    assert len(seen) >= 199
