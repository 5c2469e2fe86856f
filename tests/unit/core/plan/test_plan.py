from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from ips_flows.core.errors import PlanError
from ips_flows.core.plan.node import read_node
from ips_flows.core.plan.plan import (
    GroupPlan,
    Plan,
    PlannedNode,
    cut_waves,
    make_plan,
    resolve_down,
    resolve_up,
)
from ips_flows.core.request.model import PrewarmRequest, merge_overrides
from ips_flows.core.results.reasons import Result, SkipReason
from ips_flows.core.results.results import FILTER_GROUP, ImageResult
from tests.support.kube_objects import DIGEST, GOOD, OTHER, WORKER, group_plan, held, node

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def request(*images: Any, **fields: Any) -> PrewarmRequest:
    return merge_overrides(None, "flags", {"images": list(images) or [GOOD], **fields})


def plan(asked: PrewarmRequest, nodes: Iterable[dict[str, Any]], *, kept: bool = True) -> Plan:
    return make_plan(
        asked,
        (read_node(one) for one in nodes),
        worker_image=WORKER,
        started=STARTED,
        image_volumes_kept=lambda: kept,
    )


def names(made: Plan) -> list[list[str]]:
    return [[one.name for one in group.nodes] for group in made.groups]


@pytest.mark.parametrize(
    ("size", "total", "up", "down"),
    [
        (10, 5, 10, 10),
        ("10%", 5, 1, 0),
        ("10%", 10, 1, 1),
        ("10%", 11, 2, 1),
        ("100%", 7, 7, 7),
        ("1%", 10_000, 100, 100),
        ("7%", 10_000, 700, 700),
        ("33%", 10, 4, 3),
        ("0%", 10, 1, 0),
    ],
)
def test_percentages(size: int | str, total: int, up: int, down: int) -> None:
    """Windows and waves round up and are at least 1; allowed failures round down."""
    assert (resolve_up(size, total), resolve_down(size, total)) == (up, down)


@pytest.mark.parametrize(
    ("waves", "total", "sizes"),
    [
        ((), 5, [5]),
        ((), 0, []),
        ((1,), 5, [1, 4]),
        ((1, "40%", "100%"), 10, [1, 3, 6]),
        ((1, "10%", "100%"), 10, [1, 9]),
        ((2, 20), 5, [2, 3]),
        ((1, 2, 3), 9, [1, 1, 1, 6]),
        (("50%",), 3, [2, 1]),
        (("10%", "100%"), 1, [1]),
        ((1,), 0, []),
    ],
)
def test_waves(waves: tuple[int | str, ...], total: int, sizes: list[int]) -> None:
    """Sizes are cumulative; the other nodes are one more wave; empty waves are removed."""
    nodes = [PlannedNode(name=f"n{number}") for number in range(total)]
    cut = cut_waves(nodes, waves)
    assert [len(wave) for wave in cut] == sizes
    assert [one for wave in cut for one in wave] == nodes


def test_groups() -> None:
    """Groups are numbered without gaps, nodes are sorted by name, and each group has all data for its driver."""
    asked = request(
        GOOD,
        {"image": OTHER, "pullPolicy": "Always"},
        waves=[1],
        batchSize="50%",
        timeout="1h",
        nodeTimeout="90s",
        pullSecrets=["s"],
    )
    made = plan(asked, [node("n3"), node("n1"), node("n2")])
    assert names(made) == [["n1"], ["n2", "n3"]]
    assert [(group.group, group.wave) for group in made.groups] == [(0, "wave-1"), (1, "wave-2")]
    first = made.groups[0]
    assert (first.window, first.deadline, first.node_timeout) == (2, "2026-01-01T01:00:00Z", 90)
    assert [(image.image, image.pull_policy) for image in first.images] == [
        (GOOD, "IfNotPresent"),
        (OTHER, "Always"),
    ]
    assert (first.pull_secrets, first.worker_image) == (("s",), WORKER)


def test_the_summary_adds_up() -> None:
    """Eligible nodes are the warm nodes and the nodes to do. Skipped nodes are counted by reason."""
    nodes = [
        node("n1"),
        node("n2", images=[held(GOOD)]),
        node("n3", cordoned=True),
        node("n4", ready=False),
        node("n5", ready=False),
    ]
    made = plan(request(), nodes)
    summary = made.summary
    assert (summary.eligible, summary.warm, summary.to_do) == (2, 1, 1)
    assert summary.skipped == {"Cordoned": 1, "NotReady": 2}
    assert sum(wave.nodes for wave in summary.waves) == summary.to_do
    assert made.known.group == FILTER_GROUP
    assert set(made.known.nodes) == {"n2", "n3", "n4", "n5"}
    assert made.known.nodes["n2"].images == (ImageResult(Result.PRESENT, digest=DIGEST),)
    assert made.known.nodes["n3"].images == (ImageResult(Result.SKIPPED, SkipReason.CORDONED),)


@pytest.mark.parametrize(
    ("images", "warm"),
    [
        ((GOOD,), True),
        ((f"{GOOD}@{DIGEST}",), True),
        ((f"{GOOD}@sha256:{'b' * 64}",), False),
        ((GOOD, OTHER), False),
        (({"image": GOOD, "pullPolicy": "Always"},), False),
    ],
)
def test_a_warm_node_holds_every_image(images: tuple[Any, ...], *, warm: bool) -> None:
    """A node is warm if it has all images by tag or digest, and never with the pull policy Always."""
    made = plan(request(*images), [node(images=[held(GOOD)])])
    assert (made.summary.warm, len(made.groups)) == ((1, 0) if warm else (0, 1))


def test_present_images_of_a_node_are_stored() -> None:
    """A node to do stores its present images. Without an event they do not count as pulled."""
    (group,) = plan(request(GOOD, OTHER), [node(images=[held(OTHER)])]).groups
    assert group.nodes == (PlannedNode(name="n1", present=(1,)),)


def test_percentages_are_of_the_eligible_nodes() -> None:
    """The window is a percentage of the eligible nodes, waves are percentages of the nodes to do."""
    nodes = [
        *(node(f"a{number}") for number in range(4)),
        *(node(f"w{number}", images=[held(GOOD)]) for number in range(6)),
        *(node(f"s{number}", cordoned=True) for number in range(10)),
    ]
    made = plan(request(batchSize="30%", waves=["25%"]), nodes)
    assert made.summary.window == 3
    assert [len(group) for group in names(made)] == [1, 3]


OLD_KUBELET = node("n2", kubelet="v1.34.0")
OLD_RUNTIME = node("n2", runtime="containerd://1.7.27")


@pytest.mark.parametrize(
    ("asked", "nodes", "kept", "mode", "why"),
    [
        (request(), [node()], True, "volume", "every eligible node mounts image volumes"),
        (request(), [node()], False, "container", "the API server does not store image volumes"),
        (
            request(),
            [node(), OLD_KUBELET],
            True,
            "container",
            "n2 runs kubelet v1.34.0; needed: 1.35 or later",
        ),
        (
            request(),
            [node(), OLD_RUNTIME],
            True,
            "container",
            "n2 runs containerd://1.7.27; needed: containerd ≥ 2.1 or cri-o ≥ 1.31",
        ),
        (request(nodes=["n1"]), [node(), OLD_KUBELET], True, "volume", None),
        (request(pullPolicy="Always"), [node()], True, "container", f"{GOOD} has the pull policy Always"),
        (
            request(GOOD, {"image": OTHER, "pullPolicy": "Always"}),
            [node()],
            True,
            "container",
            f"{OTHER} has the pull policy Always",
        ),
    ],
)
def test_the_mode(
    asked: PrewarmRequest, nodes: list[dict[str, Any]], kept: bool, mode: str, why: str | None
) -> None:
    """Image volumes are used only if nodes, API server and pull policies allow them; else the plan has the reason."""
    summary = plan(asked, nodes, kept=kept).summary
    assert summary.mode == mode
    if why is not None:
        assert summary.mode_reason == why


def test_the_api_server_is_checked_only_if_needed() -> None:
    """If a node does not support image volumes, no dry run is made."""

    def never() -> bool:
        raise AssertionError("the API server was checked")

    made = make_plan(
        request(),
        [read_node(OLD_KUBELET)],
        worker_image=WORKER,
        started=STARTED,
        image_volumes_kept=never,
    )
    assert made.summary.mode == "container"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "no eligible node: the cluster has no nodes"),
        (
            [node("n1", cordoned=True), node("n2", ready=False), node("n3", ready=False)],
            "no eligible node among 3: 1 Cordoned, 2 NotReady",
        ),
    ],
)
def test_no_eligible_node(nodes: list[dict[str, Any]], message: str) -> None:
    """The error counts the skipped nodes by reason."""
    with pytest.raises(PlanError) as caught:
        plan(request(), nodes)
    assert caught.value.message == message


def test_a_plan_survives_its_storage() -> None:
    """A stored plan is read back unchanged."""
    made = group_plan(GOOD, OTHER, present=(1,), nodes=[f"n{number}" for number in range(100)])
    assert GroupPlan.decode(made.encode()) == made


def test_five_thousand_nodes_fit_into_a_config_map() -> None:
    """A group's plan stays far below the API's limit of 1 MiB."""
    long = [f"ip-10-{number:05}.eu-central-1.compute.internal" for number in range(5000)]
    assert len(group_plan(GOOD, nodes=long).encode()["plan.json.gz"]) < 100_000
