"""Properties of results, waves, the window and object names, tested with generated values."""

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
def test_stored_chunks_are_read_back(chunk: Chunk) -> None:
    """A chunk is read back unchanged with any message, and its bytes depend only on its content."""
    assert decode(encode(chunk)) == chunk
    assert encode(decode(encode(chunk))) == encode(chunk)


@given(chunks, st.text(min_size=MESSAGE_LIMIT, max_size=MESSAGE_LIMIT + 50))
def test_messages_are_cut_when_they_are_stored(chunk: Chunk, message: str) -> None:
    """A message is cut at the limit, and the other fields are unchanged."""
    result = ImageResult(Result.FAILED, message=message)
    stored = decode(encode(replace(chunk, nodes={"n": NodeResult((result,), AT)})))
    assert stored.nodes["n"].images == (replace(result, message=message[:MESSAGE_LIMIT]),)


@given(chunks, st.integers(150, 2000))
def test_pieces_hold_the_same(chunk: Chunk, limit: int) -> None:
    """Each piece is within the limit or has one node; together the pieces have the chunk's nodes in order."""
    pieces = split(chunk, limit)
    assert [name for piece in pieces for name in piece.nodes] == list(chunk.nodes)
    assert fold(pieces) == fold([chunk])
    for piece in pieces:
        assert (piece.group, piece.attempt) == (chunk.group, chunk.attempt)
        assert len(piece.nodes) <= 1 or sum(map(len, encode(piece).values())) <= limit


failed_nodes = st.builds(
    lambda text: NodeResult((ImageResult(Result.FAILED, message=text),), AT), st.sampled_from("abcdef")
)
short_chunks = st.builds(
    Chunk,
    group=st.sampled_from([-1, 0, 1, FINISH_GROUP]),
    attempt=st.integers(0, 2),
    nodes=st.dictionaries(st.sampled_from(["n1", "n2"]), failed_nodes),
)


@given(st.lists(short_chunks, max_size=5), st.randoms(use_true_random=False))
def test_folding_keeps_the_latest_result(stored: list[Chunk], chance: object) -> None:
    """Each node has the result of its latest attempt, or that of finish if there is no other."""
    stored = list({(one.group, one.attempt): one for one in stored}.values())
    shuffled = stored[:]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    folded = fold(shuffled)
    assert folded == fold(stored)
    for name in {name for one in stored for name in one.nodes}:
        with_node = [one for one in stored if name in one.nodes]
        tried = [one for one in with_node if one.group != FINISH_GROUP]
        latest = max(tried, key=lambda one: (one.group, one.attempt), default=None)
        candidates = [latest] if latest else with_node
        assert folded[name] in [one.nodes[name] for one in candidates]


# -- waves -------------------------------------------------------------------------------------------------

sizes = st.integers(1, 60) | st.integers(1, 100).map("{}%".format)


@given(st.integers(0, 50), st.lists(sizes, max_size=20))
def test_waves_hold_every_node_once(count: int, waves: list[int | str]) -> None:
    """Every node is in exactly one wave, in order; no wave is empty; there is at most one wave more than sizes."""
    nodes = [PlannedNode(name=f"n{number:02}") for number in range(count)]
    groups = cut_waves(nodes, waves)
    assert [node for group in groups for node in group] == nodes
    assert all(groups)
    assert len(groups) <= len(waves) + 1


@given(sizes, st.integers(1, 10_000))
def test_percentages(size: int | str, total: int) -> None:
    """Windows and waves round up and are at least 1; allowed failures round down."""
    up, down = resolve_up(size, total), resolve_down(size, total)
    assert up >= 1
    assert 0 <= down <= up
    if isinstance(size, str):
        assert up <= total
        assert up - down <= 1


# -- the window --------------------------------------------------------------------------------------------


@st.composite
def standings(draw: st.DrawFn) -> WindowState:
    """Generate states of an attempt, including reduced windows and pauses."""
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
    """Started and pulling nodes fit into the window; gated indexes start in ascending order."""
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
    """All nodes start in any order of ends, within the window and, with batches, never across a barrier."""
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
    """A Job has more pods than the window, unless that exceeds the number of nodes."""
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
    """Build a pod name as podGenerateNameWithIndex (Job controller) and SimpleNameGenerator (API server) do."""
    suffix = f"-{index}-"
    stem = (job + suffix if len(job + suffix) <= 58 else job[: 58 - len(suffix)] + suffix)[:58]
    return f"{stem}abcde"


def objects(task: str, uid: str, group: int, attempt: int, number: int) -> list[str]:
    """Return the names of a task's objects, one of each kind."""
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
    """For any task, the names of Jobs, pods, host names and ConfigMaps are valid, and so are label values."""
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
def test_attempts_have_distinct_names(
    task: str, uid: str, one: tuple[int, int], other: tuple[int, int]
) -> None:
    """Two attempts of a task never share a name, for a task name of any length."""
    assume(one != other)
    first, second = (attempt_name(task, uid, *which) for which in (one, other))
    assert first != second
    assert not first.startswith(f"{second}-")


@given(long_names, st.text("abcdefghij", max_size=12), uids, uids, groups, attempts)
def test_tasks_have_distinct_names(
    task: str, end: str, uid: str, later: str, group: int, attempt: int
) -> None:
    """Tasks with the same first 40 characters, or with the same name, share no object name and no label.

    This holds even if their uids start with the same digits, which happens with many tasks.
    """
    later = uid[:6] + later[6:]
    assume(uid[:18] != later[:18])
    alike = task[:40] + end
    assume(is_dns_label(alike))
    first = set(objects(task, uid, group, attempt, 0))
    for name in (alike, task):
        assert not first & set(objects(name, later, group, attempt, 0))
    assert task_labels(task, uid, "pull") != task_labels(task, later, "pull")


def test_uids_differ_in_their_first_digits() -> None:
    """The six hex digits in a name are random digits of the uid."""
    seen = {base_name("a", str(uuid.uuid4())) for _ in range(200)}
    assert len(seen) >= 199
