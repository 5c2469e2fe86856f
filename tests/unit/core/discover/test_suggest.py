"""Rank images by pull time saved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ips_flows.cli.main import run
from ips_flows.core.discover.placement import Placement
from ips_flows.core.discover.requests import images_of
from ips_flows.core.discover.suggest import Pulls, pulls_of, suggestion_json, suggestions
from ips_flows.core.plan.node import Node, read_node
from tests.fakes.apiserver import ApiServer
from tests.support import kube_objects
from tests.unit.core.discover.test_requests import use

SSD = Placement(labels=frozenset({("disk", "ssd")}))


def node(name: str, *images: tuple[str, int], **labels: str) -> Node:
    held = [kube_objects.held(image, size=size) for image, size in images]
    return read_node(kube_objects.node(name, labels=labels, images=held))


def test_events_report_pull_times() -> None:
    """Seconds and bytes of pulls are added up by image; events for present images or other texts are ignored."""
    events = [
        kube_objects.pulled("a.example/x:1", "2s", 1000),
        kube_objects.pulled("a.example/x:1", "1m", 1000),
        kube_objects.present("a.example/x:1"),
        kube_objects.event("Pulled", "Successfully pulled image of nobody in 1s"),
        kube_objects.pulled("a/B", "1s"),
        kube_objects.event("Pulled", 'Successfully pulled image "busybox" in 500ms (1s including waiting)'),
    ]
    assert pulls_of(events) == {
        "a.example/x:1": Pulls(2, 62.0, 2000),
        "docker.io/library/busybox:latest": Pulls(1, 0.5, 0),
    }


def test_what_saves_most_comes_first() -> None:
    """An image counts on eligible nodes that lack it, with its reported pull time, else a time estimated by size."""
    nodes = [
        node("n1", ("a.example/there:1", 10), disk="ssd"),
        node("n2", ("a.example/big:1", 6000), ("a.example/there:1", 10), disk="ssd"),
        node("n3"),
    ]
    uses = [
        use("a.example/unknown:1"),
        use("a.example/slow:1", SSD),
        use("a.example/big:1", Placement(labels=frozenset({("disk", "ssd")}), tolerations=None), Placement()),
        use("a.example/there:1", SSD),
    ]
    pulls = {"a.example/slow:1": Pulls(2, 20.0, 2000)}
    found = suggestions(images_of(uses), nodes, pulls)
    assert [(one.image.text, one.lacking, one.eligible, one.seconds, one.estimated) for one in found] == [
        ("a.example/big:1", ("n1", "n3"), 3, 60.0, True),
        ("a.example/slow:1", ("n1", "n2"), 2, 10.0, False),
        ("a.example/unknown:1", ("n1", "n2", "n3"), 3, None, True),
    ]
    assert suggestion_json(found[1]) == {
        "image": "a.example/slow:1",
        "eligibleNodes": 2,
        "lackingNodes": ["n1", "n2"],
        "pullSeconds": 10.0,
        "estimated": False,
        "savedSeconds": 20.0,
    }
    assert (suggestion_json(found[2])["savedSeconds"], suggestion_json(found[2])["estimated"]) == (None, None)
    assert [one.seconds for one in suggestions(images_of(uses[2:]), nodes, {})] == [None]


def pod(image: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": image}]}
    return {"kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


@pytest.mark.usefixtures("shell")
def test_suggestions_of_a_cluster(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`--suggest` ranks the images of a namespace by its nodes and the events of its pods."""
    server.put("pods", pod("a.example/x:1"))
    server.put("nodes", kube_objects.node("n1"), namespace="")
    server.put("nodes", kube_objects.node("n2", images=[kube_objects.held("a.example/x:1")]), namespace="")
    server.put("events", {"metadata": {"name": "e"}, **kube_objects.pulled("a.example/x:1", "2s")})
    assert run(["images", "--workloads", "--suggest"]) == 0
    assert capsys.readouterr().out == (
        "IMAGE           MISSING ON   PULL TIME   SAVED   USED BY\n"
        "a.example/x:1   1 of 2       2.0 s       2.0 s   Pod/warm/p\n"
    )
    assert run(["images", "-A", "--suggest", "-o", "json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["suggestions"]
    assert (one["image"], one["lackingNodes"]) == ("a.example/x:1", ["n1"])
    assert run(["images", "-A", "--suggest", "-o", "name"]) == 0
    assert capsys.readouterr().out == "a.example/x:1\n"
    many = [kube_objects.held(f"a.example/y{number}:1") for number in range(49)]
    server.put(
        "nodes", kube_objects.node("n1", images=[kube_objects.held("a.example/x:1"), *many]), namespace=""
    )
    assert run(["images", "--workloads", "--suggest"]) == 0
    assert capsys.readouterr().err == (
        "images: 1, objects read: 2\n"
        "note: 1 of 2 nodes list exactly 50 images, the kubelet's default limit; they may have more\n"
        "every node has the images of all pods that may be scheduled on it\n"
    )
    assert run(["images", "x.yaml", "--suggest"]) == 2
    assert (
        "error: --suggest requires --workloads or -A, and can't be combined with --split"
        in capsys.readouterr().err
    )
