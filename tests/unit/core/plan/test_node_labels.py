"""Image sets, and the labels of nodes that have their images."""

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
    """Return a Node object that lists these images."""
    return {
        "metadata": {
            "name": name,
            "labels": {key.replace("__", "/"): value for key, value in labels.items()},
        },
        "status": {"images": [{"names": [image], "sizeBytes": 1} for image in images]},
    }


def label(sets: ImageSets, name: str = "web") -> str:
    """Return the label value of a set."""
    return next(one.digest for one in sets.sets if one.name == name)


# -- reading


def test_a_label_value_depends_on_the_references_in_any_order() -> None:
    """Other references give another value. A short and a full name are the same reference."""
    first = read_sets({"web": WEB})
    assert label(first) == label(read_sets({"web": '{"images": ["r.example/side:2", "r.example/web:1"]}'}))
    assert label(first) != label(read_sets({"web": "- r.example/web:1\n"}))
    assert label(read_sets({"web": "- redis\n"})) == label(
        read_sets({"web": "- docker.io/library/redis:latest\n"})
    )
    assert len(label(first)) == 16


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("-web", WEB, "is not a valid label name"),
        ("w" * 64, WEB, "is not a valid label name"),
        ("web", "", "web: got an empty text"),
        ("web", "- A\n", "web:1:3: images[0]"),
        ("web", "- a:{{x}}\n", "web:1:3"),
    ],
)
def test_an_invalid_set_is_reported_and_other_sets_are_read(name: str, text: str, message: str) -> None:
    """The problem has the set's name and the position."""
    found = read_sets({name: text, "good": WEB})
    assert [one.name for one in found.sets] == ["good"]
    assert message in found.problems[name]


def test_only_a_node_with_all_images_keeps_the_label() -> None:
    """A label is set, updated or removed. Labels with other prefixes are ignored."""
    sets = read_sets({"web": WEB})
    whole = node("r.example/web:1", "r.example/side:2", other="x")
    assert label_changes(whole, sets) == {"ips-flow.io/web": label(sets)}
    labelled = node("r.example/web:1", "r.example/side:2", **{"ips-flow.io__web": label(sets)})
    assert label_changes(labelled, sets) == {}
    part = node("r.example/web:1", other="x", **{"ips-flow.io__web": label(sets), "ips-flow.io__gone": "y"})
    assert label_changes(part, sets) == {"ips-flow.io/web": None, "ips-flow.io/gone": None}
    old = node("r.example/web:1", "r.example/side:2", **{"ips-flow.io__web": "before"})
    assert label_changes(old, sets) == {"ips-flow.io/web": label(sets)}


def test_labels_of_an_invalid_set_are_not_changed() -> None:
    """A user may be editing the set."""
    sets = read_sets({"web": "- A\n"})
    assert label_changes(node(**{"ips-flow.io__web": "before", "ips-flow.io__gone": "x"}), sets) == {
        "ips-flow.io/gone": None
    }


def test_a_trimmed_node_gives_the_same_changes() -> None:
    """A trimmed node has the fields for label changes and no others."""
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
    """Run the labeller in a thread."""
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
    """Wait until a node has this value of the set's label."""

    def reached() -> bool:
        return (server.get("nodes", name, "")["metadata"].get("labels") or {}).get("ips-flow.io/web") == value

    with server.store.changed:
        assert server.store.changed.wait_for(reached, 30)


def test_labels_follow_changes_of_nodes_and_sets(server: ApiServer, kube: Kube) -> None:
    """Labels follow a pull, a removal, a changed set and a deleted set; no patch is sent without a change."""
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


def test_a_node_that_can_not_be_labelled_does_not_block_others(server: ApiServer, kube: Kube) -> None:
    """After a refused patch, other nodes are labelled, and the node is retried after its next change."""
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
    """The component's roles grant exactly the used verbs. `install` does not create the component."""
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
    """The kustomization lists every file of the component."""
    folder = ROOT / "deploy" / "components" / "labels"
    named = set(yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"])
    assert named | {"kustomization.yaml"} == {file.name for file in folder.iterdir()}
