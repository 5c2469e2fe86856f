"""Forecast of a task from observations: missing images, sizes, and issues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from ips_flows.core.forecast.as_json import forecast_json
from ips_flows.core.forecast.checks import forecast_of
from ips_flows.core.forecast.disk import Disk
from ips_flows.core.forecast.duration import Bandwidth
from ips_flows.core.forecast.forecast import Forecast, ForecastInputs
from ips_flows.core.forecast.issues import Issue, IssueKind
from ips_flows.core.forecast.node_info import read_node_info
from ips_flows.core.forecast.resolve import PlatformImage, Resolved, Unresolved
from ips_flows.core.images.platform import Platform
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.eligibility import references
from ips_flows.core.plan.node import read_node
from ips_flows.core.plan.plan import make_plan
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.core.results.reasons import FailureReason
from tests.support import kube_objects
from tests.support.kube_objects import GOOD, OTHER, WORKER, held, node

AMD = Platform("linux", "amd64")
ARM = Platform("linux", "arm64")
GONE = Unresolved(FailureReason.NOT_FOUND, "HTTP 404", certain=True)
SILENT = Unresolved(FailureReason.REGISTRY_UNAVAILABLE, "not there", certain=False)
MB = 1_000_000


def resolved_image(digest: str = kube_objects.DIGEST, **sizes: int) -> Resolved:
    """Return an image for amd64 whose layers have these names and sizes."""
    content = PlatformImage("sha256:c", sizes or {"base": 60 * MB, "top": 40 * MB}, max(1, len(sizes)))
    return Resolved(digest, [AMD], {"amd64": content, "arm64": None})


def machine(name: str, *, room: str = "", pressure: bool = False, arch: str = "amd64", **more: Any) -> Any:
    """Return a node that has the worker image."""
    images = [held(WORKER), *more.pop("images", ())]
    raw = node(name, images=images, labels={"kubernetes.io/arch": arch}, **more)
    raw["status"]["allocatable"] = {"ephemeral-storage": room}
    if pressure:
        raw["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    return raw


def forecast(
    nodes: Iterable[Any],
    *resolutions: Resolved | Unresolved | None,
    images: Sequence[Any] = (GOOD,),
    worker: Resolved | Unresolved | None = None,
    disks: Mapping[str, Disk | None] | None = None,
    bandwidth: Bandwidth | None = None,
    notes: Sequence[Issue] = (),
    **fields: Any,
) -> Forecast:
    request = PrewarmRequest.model_validate({"images": images, **fields})
    raws = list(nodes)
    wanted, tool = references(request), parse_reference(WORKER)
    plan = make_plan(
        request,
        map(read_node, raws),
        worker_image=WORKER,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        image_volumes_kept=lambda: True,
    )
    node_info = {raw["metadata"]["name"]: read_node_info(raw, read_node(raw), wanted, tool) for raw in raws}
    return forecast_of(
        ForecastInputs(
            request,
            plan,
            node_info,
            resolutions,
            WORKER,
            worker,
            bandwidth or Bandwidth(100 * MB),
            disks,
            notes,
        )
    )


def told(found: Forecast) -> list[tuple[str, str, str, int, str]]:
    return [(one.level, one.kind, one.image, one.nodes, one.node) for one in found.issues]


def test_present_and_missing_pairs() -> None:
    """The forecast lists every pair of node and image; shared layers are pulled once."""
    nodes = [
        machine("a", images=[held(GOOD), held(OTHER)]),
        machine("b", images=[held(GOOD)]),
        machine("c"),
        machine("d", cordoned=True),
    ]
    found = forecast(
        nodes,
        resolved_image(base=60 * MB, top=40 * MB),
        resolved_image(base=60 * MB, tool=5 * MB),
        images=(GOOD, OTHER),
    )
    assert [
        (one.name, one.state, one.reason, one.held, one.missing, one.bytes, one.saved) for one in found.nodes
    ] == [
        ("a", "warm", "", (0, 1), (), 0, 0),
        ("b", "to do", "", (0,), (1,), 65 * MB, 0),
        ("c", "to do", "", (), (0, 1), 105 * MB, 60 * MB),
        ("d", "skipped", "Cordoned", (), (), 0, 0),
    ]
    assert [(one.held, one.missing) for one in found.images] == [(2, 1), (1, 2)]
    assert (found.bytes, found.whole, found.fails, found.issues) == (170 * MB, True, False, [])
    assert found.seconds == pytest.approx(0.1 + 1 + 1.05)


def test_everything_warm() -> None:
    """If every node has every image, nothing is pulled and there is no issue."""
    found = forecast([machine("a", images=[held(GOOD)])], None)
    assert (found.seconds, found.bytes, found.issues) == (None, 0, [])


def test_an_image_that_does_not_exist() -> None:
    """A missing image is an error if a node needs it."""
    found = forecast([machine("a", images=[held(GOOD)]), machine("b"), machine("c")], GONE)
    assert told(found) == [("error", "NotFound", GOOD, 2, "b")]
    assert found.issues[0].hint == "Check the reference."
    assert found.fails
    assert (found.bytes, found.whole) == (0, True)


def test_allowed_failures() -> None:
    """By the verdict's rule, failures that maxFailedNodes allows are a warning, unless a whole wave fails."""
    nodes = [machine("a", arch="arm64"), machine("b"), machine("c"), machine("d")]
    found = forecast(nodes, resolved_image(), maxFailedNodes=1)
    assert told(found) == [("warning", "WrongPlatform", GOOD, 1, "a")]
    assert found.issues[0].message == "no image for linux/arm64; available: linux/amd64"
    found = forecast(nodes, resolved_image(), maxFailedNodes=1, waves=[1, "100%"])
    assert told(found) == [("error", "WrongPlatform", GOOD, 1, "a")]
    assert told(forecast(nodes, resolved_image()))[0][0] == "error"


def test_an_index_for_nothing() -> None:
    """An index without an image is reported as one for no platform."""
    found = forecast([machine("a")], Resolved("sha256:0", [], {"amd64": None}))
    assert found.issues[0].message == "no image for linux/amd64; available: no platform"


def test_the_worker_image() -> None:
    """Nodes that lack the worker image pull it too, and fail without it."""
    bare = node("b", labels={"kubernetes.io/arch": "amd64"})
    found = forecast([machine("a"), bare], resolved_image(base=10), worker=resolved_image(worker=5))
    assert [one.bytes for one in found.nodes] == [10, 15]
    assert not found.issues
    found = forecast([machine("a"), bare], resolved_image(base=10), worker=GONE)
    assert told(found) == [("error", "WorkerImage", WORKER, 1, "b")]
    assert found.issues[0].message == "the worker image: HTTP 404"
    found = forecast([machine("a"), bare], resolved_image(base=10), worker=SILENT)
    assert told(found) == [("warning", "Unverified", WORKER, 1, "b")]


def test_an_unreachable_registry() -> None:
    """A registry that can't be reached from here is a warning, and does not fail the task."""
    found = forecast([machine("a")], SILENT)
    assert told(found) == [("warning", "Unverified", GOOD, 1, "a")]
    assert found.issues[0].message == "RegistryUnavailable when checked from this host: not there"
    assert not found.fails
    assert not found.whole


def test_images_with_pull_policy_always() -> None:
    """A node that has the registry's content pulls nothing; a node with other content pulls."""
    nodes = [machine("a", images=[held(GOOD)]), machine("b", images=[held(GOOD, "sha256:" + "b" * 64)])]
    found = forecast(nodes, resolved_image(), pullPolicy="Always")
    assert [(one.state, one.asked, one.missing) for one in found.nodes] == [
        ("to do", (0,), ()),
        ("to do", (0,), (0,)),
    ]
    assert not found.issues
    assert told(forecast(nodes, GONE, pullPolicy="Always")) == [("error", "NotFound", GOOD, 2, "a")]


def test_a_tag_that_moved() -> None:
    """With IfNotPresent nodes keep old content; the digest of a platform's image does not count as old."""
    nodes = [
        machine("a", images=[held(GOOD, "sha256:" + "b" * 64), held(OTHER)]),
        machine("b", images=[held(GOOD)]),
        machine("c"),
        machine("d", images=[held(GOOD, "sha256:c")]),
    ]
    found = forecast(nodes, resolved_image(), resolved_image(), images=(GOOD, OTHER))
    assert told(found) == [("warning", "Stale", GOOD, 1, "a")]
    pinned = f"{GOOD}@{kube_objects.DIGEST}"
    assert not forecast(
        [machine("a", images=[held(GOOD)]), machine("b")], resolved_image("sha256:x"), images=(pinned,)
    ).issues


def test_content_for_an_architecture_that_was_not_resolved() -> None:
    """It is not reported as stale: it may be the registry's, under its platform's unknown digest."""
    content = PlatformImage("sha256:c", {"base": 1}, 1)
    nodes = [machine("a", arch="arm64", images=[held(GOOD, "sha256:" + "b" * 64)]), machine("b")]
    assert not forecast(nodes, Resolved(kube_objects.DIGEST, [AMD, ARM], {"amd64": content})).issues
    both = {"amd64": content, "arm64": content}
    assert told(forecast(nodes, Resolved(kube_objects.DIGEST, [AMD, ARM], both))) == [
        ("warning", "Stale", GOOD, 1, "a")
    ]


def test_an_image_for_another_platform_without_an_index() -> None:
    """Nodes can pull it, so it is a warning."""
    alone = Resolved("sha256:0", [ARM], {"amd64": PlatformImage("sha256:0", {"l": 1}, 1, made_for=ARM)})
    found = forecast([machine("a")], alone)
    assert told(found) == [("warning", "Unsuited", GOOD, 1, "a")]
    assert found.issues[0].message == (
        "the image is built only for linux/arm64: nodes can pull it, but not run it"
    )


def test_artifacts_and_layers_from_elsewhere() -> None:
    """Both are warnings; neither fails the task."""
    chart = Resolved("sha256:0", [], {"amd64": PlatformImage("sha256:0", {"l": 1}, 1, foreign=1)})
    assert told(forecast([machine("a")], chart)) == [
        ("warning", "Elsewhere", GOOD, 1, "a"),
        ("warning", "NoImage", GOOD, 1, "a"),
    ]


def test_disks_that_are_too_small() -> None:
    """Too little space for compressed images, or DiskPressure, fails; too little for unpacked images is a warning."""
    found = forecast(
        [machine("a", room="99M"), machine("b", room="299M"), machine("c", room="300M"), machine("d")],
        resolved_image(),
        maxFailedNodes=1,
    )
    assert told(found) == [("warning", "NoSpace", "", 1, "a"), ("warning", "DiskTight", "", 1, "b")]
    found = forecast([machine("a", pressure=True), machine("b")], resolved_image())
    assert told(found) == [("error", "NoSpace", "", 1, "a")]
    assert "DiskPressure" in found.issues[0].message


def test_disks_as_kubelets_report_them() -> None:
    """Free bytes take precedence over allocatable bytes; a kubelet without a report is a warning."""
    gb = 1000 * MB
    disks = {
        "a": Disk(99 * MB, gb),
        "b": Disk(400 * MB, gb),
        "c": Disk(900 * MB, gb),
        "d": None,
    }
    nodes = [machine(name, room="299M") for name in "abcd"]
    found = forecast(nodes, resolved_image(), disks=disks)
    assert told(found) == [
        ("error", "NoSpace", "", 1, "a"),
        ("warning", "DiskUnknown", "", 1, "d"),
        ("warning", "ImageCollection", "", 1, "b"),
        ("warning", "DiskTight", "", 1, "d"),
    ]


def test_disks_with_room() -> None:
    """If every kubelet reports enough space, there is no issue."""
    assert not forecast(
        [machine("a", room="299M")], resolved_image(), disks={"a": Disk(900 * MB, 1000 * MB)}
    ).issues


def test_times_that_are_too_short() -> None:
    """At a low bandwidth a node exceeds nodeTimeout, and the task its timeout."""
    found = forecast(
        [machine("a"), machine("b")],
        resolved_image(),
        bandwidth=Bandwidth(MB),
        nodeTimeout="1m",
        timeout="2m",
        batchSize=1,
    )
    assert told(found) == [("warning", "NodeTimeout", "", 2, "a"), ("warning", "TaskTimeout", "", 0, "")]
    assert found.issues[0].message == "at this bandwidth the node needs more time than nodeTimeout (1m)"


def test_a_window_that_can_not_be_filled() -> None:
    """It is a warning if enough nodes are pending to fill the window, and all sizes are known."""
    many = [machine(f"n{number:02}") for number in range(40)]
    found = forecast(many, resolved_image(), batchSize=40)
    assert told(found) == [("warning", "Window", "", 0, "")]
    assert "keeps about 20 nodes pulling at the same time" in found.issues[0].message
    assert not forecast(many, resolved_image(), batchSize=20).issues
    assert not forecast(many[:20], resolved_image(), batchSize=40).issues
    assert told(forecast(many, SILENT, batchSize=40)) == [("warning", "Unverified", GOOD, 40, "n00")]


def test_errors_come_first() -> None:
    """Errors come before warnings, and `notes` are among the warnings."""
    note = Issue("warning", IssueKind.PULL_SECRET, "it is not there")
    found = forecast([machine("a")], GONE, notes=[note])
    assert told(found) == [("error", "NotFound", GOOD, 1, "a"), ("warning", "PullSecret", "", 0, "")]


def test_kinds_are_no_classes_of_failure() -> None:
    """No kind of warning has the name of a class of failure."""
    assert not {failure.value for failure in FailureReason} & {kind.value for kind in IssueKind}


def test_the_document() -> None:
    """The JSON has every pair of node and image, and null for unknown values."""
    nodes = [machine("a", images=[held(GOOD)]), machine("b"), machine("c", cordoned=True)]
    both = Resolved(
        kube_objects.DIGEST, [AMD, ARM], {"amd64": PlatformImage("sha256:c", {"l": 7}, 1), "arm64": None}
    )
    found = forecast_json(forecast(nodes, both, SILENT, images=(GOOD, OTHER), batchSize=1))
    assert found == {
        "ok": True,
        "problems": [
            {
                "level": "warning",
                "kind": "Unverified",
                "image": OTHER,
                "nodes": 2,
                "firstNode": "a",
                "message": "RegistryUnavailable when checked from this host: not there",
                "mend": None,
            }
        ],
        "totalNodes": 2,
        "warmNodes": 0,
        "toDoNodes": 2,
        "skippedNodes": {"Cordoned": 1},
        "mode": "volume",
        "modeReason": "every eligible node mounts image volumes",
        "window": 1,
        "order": "rolling",
        "waves": [{"name": "wave-1", "nodes": 2}],
        "maxFailedNodes": 0,
        "images": [
            {
                "image": GOOD,
                "presentNodes": 1,
                "missingNodes": 1,
                "exists": True,
                "reason": None,
                "message": None,
                "digest": kube_objects.DIGEST,
                "platforms": ["linux/amd64", "linux/arm64"],
                "contents": {
                    "linux/amd64": {"digest": "sha256:c", "bytes": 7, "layers": 1},
                    "linux/arm64": None,
                },
            },
            {
                "image": OTHER,
                "presentNodes": 0,
                "missingNodes": 2,
                "exists": None,
                "reason": "RegistryUnavailable",
                "message": "not there",
                "digest": None,
                "platforms": None,
                "contents": {},
            },
        ],
        "nodes": {
            "a": _node("to do", [GOOD], [OTHER]),
            "b": _node("to do", [], [GOOD, OTHER]),
            "c": _node("skipped", [], [], reason="Cordoned", size=0),
        },
        "estimate": {
            "bytes": 7,
            "complete": False,
            "seconds": 2.0,
            "bandwidth": 100 * MB,
            "registryBandwidth": None,
        },
    }
    assert forecast_json(forecast(nodes, GONE))["images"][0]["exists"] is False


def _node(
    state: str,
    present: Sequence[str],
    missing: Sequence[str],
    *,
    reason: str | None = None,
    size: int | None = None,
) -> dict[str, Any]:
    return {
        "state": state,
        "reason": reason,
        "present": list(present),
        "missing": list(missing),
        "bytes": size,
        "sharedBytes": size,
    }
