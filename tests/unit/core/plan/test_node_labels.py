"""Sets of images and the labels of nodes that hold them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from ips_flows.controller.node_labels import label_nodes
from ips_flows.core.plan.node_labels import ImageSets, label_changes, read_sets, trim_node
from ips_flows.kube.client import Kube
from ips_flows.operations.install.manifests import load_manifests
from tests.fakes.apiserver import ApiServer
from tests.support.paths import ROOT
from tests.support.rbac import needed

WEB = "- r.example/web:1\n- r.example/side:2\n"


def node(*images: str, name: str = "n1", **labels: str) -> Any:
    """A node that lists these images."""
    return {
        "metadata": {
            "name": name,
            "labels": {key.replace("__", "/"): value for key, value in labels.items()},
        },
        "status": {"images": [{"names": [image], "sizeBytes": 1} for image in images]},
    }


def label(sets: ImageSets, name: str = "web") -> str:
    """The value that a set's label has."""
    return next(one.digest for one in sets.sets if one.name == name)


# -- reading


def test_a_set_is_its_references_in_any_order() -> None:
    """Other references are another value; a short and a long name are one reference."""
    first = read_sets({"web": WEB})
    assert label(first) == label(read_sets({"web": '{"images": ["r.example/side:2", "r.example/web:1"]}'}))
    assert label(first) != label(read_sets({"web": "- r.example/web:1\n"}))
    assert label(read_sets({"web": "- redis\n"})) == label(
        read_sets({"web": "- docker.io/library/redis:latest\n"})
    )
    assert len(label(first)) == 16


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("-web", WEB, "can't be a label's name"),
        ("w" * 64, WEB, "can't be a label's name"),
        ("web", "", "web: got an empty text"),
        ("web", "- A\n", "web:1:3: images[0]"),
        ("web", "- a:{{x}}\n", "web:1:3"),
    ],
)
def test_what_is_no_set_is_told_and_keeps_no_other_from_being_one(name: str, text: str, words: str) -> None:
    """With the name of the set, and the place."""
    found = read_sets({name: text, "good": WEB})
    assert [one.name for one in found.sets] == ["good"]
    assert words in found.problems[name]


def test_a_node_that_holds_all_is_labelled_and_one_that_lost_one_no_more() -> None:
    """Labels of other prefixes are nobody's business here."""
    sets = read_sets({"web": WEB})
    whole = node("r.example/web:1", "r.example/side:2", other="x")
    assert label_changes(whole, sets) == {"ips-flow.io/web": label(sets)}
    labelled = node("r.example/web:1", "r.example/side:2", **{"ips-flow.io__web": label(sets)})
    assert label_changes(labelled, sets) == {}
    part = node("r.example/web:1", other="x", **{"ips-flow.io__web": label(sets), "ips-flow.io__gone": "y"})
    assert label_changes(part, sets) == {"ips-flow.io/web": None, "ips-flow.io/gone": None}
    old = node("r.example/web:1", "r.example/side:2", **{"ips-flow.io__web": "before"})
    assert label_changes(old, sets) == {"ips-flow.io/web": label(sets)}


def test_labels_of_a_set_that_can_not_be_read_stay() -> None:
    """Someone is editing it, perhaps."""
    sets = read_sets({"web": "- A\n"})
    assert label_changes(node(**{"ips-flow.io__web": "before", "ips-flow.io__gone": "x"}), sets) == {
        "ips-flow.io/gone": None
    }


def test_what_is_kept_of_a_node_is_enough() -> None:
    """And little."""
    sets = read_sets({"web": WEB})
    whole = node("r.example/web:1", "r.example/side:2") | {"spec": {"podCIDR": "x"}}
    assert label_changes(trim_node(whole), sets) == label_changes(whole, sets)
    assert "spec" not in trim_node(whole)
    assert trim_node({"metadata": {"name": "bare"}}) == {
        "metadata": {"name": "bare"},
        "status": {"images": []},
    }


# -- labelling


@contextmanager
def labelling(kube: Kube) -> Iterator[None]:
    """The labeller, in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=label_nodes, args=(kube, "warm", stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def await_label(server: ApiServer, name: str, value: str | None) -> None:
    """Until a node has that value of the set's label."""

    def there() -> bool:
        return (server.get("nodes", name, "")["metadata"].get("labels") or {}).get("ips-flow.io/web") == value

    with server.store.changed:
        assert server.store.changed.wait_for(there, 30)


def test_nodes_are_labelled_as_they_change_and_as_the_sets_do(server: ApiServer, kube: Kube) -> None:
    """A pull, a removal, another list of images, no list at all; and nothing is written where nothing changes."""
    server.put("nodes", node("r.example/web:1", "r.example/side:2", name="n1"), "")
    server.put("nodes", node("r.example/web:1", name="n2"), "")
    server.put("configmaps", {"metadata": {"name": "ips-sets"}, "data": {"web": WEB}})
    first, second = label(read_sets({"web": WEB})), label(read_sets({"web": "- r.example/web:1\n"}))
    with labelling(kube):
        await_label(server, "n1", first)
        server.change("nodes", "n2", {"status": node("r.example/web:1", "r.example/side:2")["status"]}, "")
        await_label(server, "n2", first)
        server.change("nodes", "n1", {"status": node("r.example/web:1")["status"]}, "")
        await_label(server, "n1", None)
        server.change("configmaps", "ips-sets", {"data": {"web": "- r.example/web:1\n"}})
        await_label(server, "n1", second)
        await_label(server, "n2", second)
        server.remove("configmaps", "ips-sets")
        await_label(server, "n1", None)
        await_label(server, "n2", None)
    patches = [call for call in server.calls if call.startswith("PATCH")]
    assert len(patches) == 7


def test_a_node_that_can_not_be_labelled_keeps_no_other_from_it(server: ApiServer, kube: Kube) -> None:
    """A policy that refuses, a version that is old: they come again."""
    server.put("configmaps", {"metadata": {"name": "ips-sets"}, "data": {"web": WEB}})
    for name in ("n1", "n2"):
        server.put("nodes", node("r.example/web:1", "r.example/side:2", name=name), "")
    server.fail("PATCH .*/nodes/n1", 403, "Forbidden", "policy says no", times=1)
    value = label(read_sets({"web": WEB}))
    with labelling(kube):
        await_label(server, "n2", value)
        server.change("nodes", "n1", {"metadata": {"annotations": {"a": "b"}}}, "")
        await_label(server, "n1", value)


def test_its_roles_grant_what_it_does_and_no_more(server: ApiServer, kube: Kube) -> None:
    """By the files of the component, which `install` leaves out."""
    server.put("configmaps", {"metadata": {"name": "ips-sets"}, "data": {"web": WEB}})
    server.put("nodes", node("r.example/web:1", "r.example/side:2"), "")
    with labelling(kube):
        await_label(server, "n1", label(read_sets({"web": WEB})))
        server.await_call("GET .*/nodes.*watch=true")
    folder = ROOT / "deploy" / "components" / "labels"
    documents = [
        yaml.safe_load(file.read_text(encoding="utf-8")) for file in folder.glob("*role-labels.yaml")
    ]
    granted = {
        (group, resource, verb)
        for role in documents
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert needed(server.calls) == granted
    assert not [one for one in load_manifests("warm") if one["metadata"]["name"] == "ips-flow-labels"]


def test_the_component_is_whole() -> None:
    """Every file is in its kustomization."""
    folder = ROOT / "deploy" / "components" / "labels"
    named = set(yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"])
    assert named | {"kustomization.yaml"} == {file.name for file in folder.iterdir()}
