"""Placements of pods, compared with the rules of the Kubernetes scheduler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ips_flows.core.discover.placement import Placement, Tolerated, joined, placements_of
from ips_flows.core.plan.eligibility import Eligibility
from ips_flows.core.plan.node import Node, read_node
from ips_flows.core.request.model import PrewarmRequest, parse_request
from tests.support.kube_objects import node

Json = dict[str, Any]

KEYS = ("disk", "zone", "example.com/gpu")
VALUES = ("", "a", "b", "c")
TAINTS = ("dedicated", "example.com/gpu")
NAMES = ("n1", "n2", "n3")

keys = st.sampled_from((*KEYS, "kubernetes.io/os"))
values = st.sampled_from((*VALUES, "linux", "windows"))
some_values = st.lists(values, min_size=1, max_size=3)
expressions = st.one_of(
    st.fixed_dictionaries({"key": keys, "operator": st.sampled_from(("In", "NotIn")), "values": some_values}),
    st.fixed_dictionaries({"key": keys, "operator": st.sampled_from(("Exists", "DoesNotExist"))}),
)
names = st.fixed_dictionaries(
    {
        "key": st.just("metadata.name"),
        "operator": st.sampled_from(("In", "NotIn")),
        "values": st.lists(st.sampled_from(NAMES), min_size=1, max_size=1),
    }
)
terms = st.fixed_dictionaries(
    {},
    optional={
        "matchExpressions": st.lists(expressions, max_size=2),
        "matchFields": st.lists(names, max_size=2),
    },
)
tolerations = st.one_of(
    st.fixed_dictionaries(
        {"key": st.sampled_from(TAINTS), "operator": st.just("Exists")},
        optional={"effect": st.sampled_from(("NoSchedule", "NoExecute", "PreferNoSchedule"))},
    ),
    st.fixed_dictionaries(
        {"key": st.sampled_from(TAINTS), "value": st.sampled_from(("x", ""))},
        optional={
            "operator": st.just("Equal"),
            "effect": st.sampled_from(("NoSchedule", "NoExecute")),
            "tolerationSeconds": st.just(300),
        },
    ),
    st.fixed_dictionaries(
        {"operator": st.just("Exists")}, optional={"effect": st.sampled_from(("NoSchedule", "NoExecute"))}
    ),
)
affinities = st.lists(terms, max_size=3).map(
    lambda several: {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": several}}
    }
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "nodeSelector": st.dictionaries(keys, values, max_size=2),
        "affinity": affinities,
        "tolerations": st.lists(tolerations, max_size=3),
    },
)
nodes = st.builds(
    lambda name, labels, taints: read_node(node(name, labels=labels, taints=taints)),
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3),
    st.lists(
        st.fixed_dictionaries(
            {
                "key": st.sampled_from(TAINTS),
                "value": st.sampled_from(("x", "y", "")),
                "effect": st.sampled_from(("NoSchedule", "NoExecute", "PreferNoSchedule")),
            }
        ),
        max_size=2,
    ),
)


def request(placement: Placement) -> PrewarmRequest:
    return parse_request(json.dumps({"images": ["a"], **placement.fields()}))


def eligible(placement: Placement, at: Node) -> bool:
    return Eligibility(request(placement)).skip_reason(at) is None


def fits(spec: Mapping[str, Any], at: Node) -> bool:
    """Return whether the scheduler would place a pod on the node, by an independent copy of its rules."""
    if any(at.labels.get(key) != value for key, value in spec.get("nodeSelector", {}).items()):
        return False
    if "affinity" in spec:
        required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        if not any(term_fits(term, at) for term in required["nodeSelectorTerms"]):
            return False
    strict = [taint for taint in at.taints if taint["effect"] != "PreferNoSchedule"]
    return all(any(tolerated(one, taint) for one in spec.get("tolerations", ())) for taint in strict)


def term_fits(term: Mapping[str, Any], at: Node) -> bool:
    labels, fields = term.get("matchExpressions", []), term.get("matchFields", [])
    return bool(labels or fields) and all(
        expression_fits(one, values)
        for entries, values in ((labels, at.labels), (fields, {"metadata.name": at.name}))
        for one in entries
    )


def expression_fits(one: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    there = one["key"] in labels
    match one["operator"]:
        case "Exists":
            return there
        case "DoesNotExist":
            return not there
        case "In":
            return there and labels[one["key"]] in one["values"]
        case _:
            return not there or labels[one["key"]] not in one["values"]


def tolerated(one: Mapping[str, Any], taint: Mapping[str, str]) -> bool:
    return (
        one.get("effect") in (None, taint["effect"])
        and one.get("key") in (None, taint["key"])
        and (one.get("operator") == "Exists" or one.get("value", "") == taint["value"])
    )


@given(specs, st.lists(nodes, min_size=1, max_size=5))
def test_pods_are_warmed_exactly_where_they_may_land(spec: Json, places: list[Node]) -> None:
    """A node is eligible for a request of one of the placements if, and only if, a pod may run on it."""
    found, _ = placements_of(spec)
    for at in places:
        assert any(eligible(one, at) for one in found) == fits(spec, at), (spec, at, found)


@given(st.lists(specs, min_size=1, max_size=4), st.lists(nodes, min_size=1, max_size=5))
def test_what_covers_has_every_node(several: list[Json], places: list[Node]) -> None:
    """A placement that covers another one, and the union of several, has each of their nodes."""
    found = [placement for spec in several for placement in placements_of(spec)[0]]
    for one in found:
        assert one.covers(one)
        for other in found:
            if one.covers(other):
                assert not [at for at in places if eligible(other, at) and not eligible(one, at)]
    if found:
        whole = joined(found)
        assert all(whole.covers(one) for one in found)
        assert not [
            at for at in places if any(eligible(one, at) for one in found) and not eligible(whole, at)
        ]


def labels(**pairs: str) -> Placement:
    return Placement(labels=frozenset(pairs.items()))


@pytest.mark.parametrize(
    ("spec", "text", "fields"),
    [
        ({}, "any", {"tolerations": []}),
        ({"tolerations": [{"operator": "Exists"}]}, "any (tolerates all)", {}),
        (
            {"nodeSelector": {"kubernetes.io/os": "linux", "disk": "ssd"}},
            "disk=ssd",
            {"nodeSelector": {"disk": "ssd"}, "tolerations": []},
        ),
        (
            {"nodeName": "n1", "tolerations": [{"operator": "Exists", "effect": "NoExecute"}]},
            "name in (n1) (tolerates all)",
            {"nodes": ["n1"]},
        ),
        (
            {"tolerations": [{"key": "node.kubernetes.io/disk-pressure", "operator": "Exists"}]},
            "any",
            {"tolerations": []},
        ),
        (
            {
                "tolerations": [
                    {"key": "a", "value": "x", "effect": "NoSchedule"},
                    {"key": "a", "operator": "Exists"},
                    {"key": "b", "value": "y"},
                ]
            },
            "any (tolerates a,b=y)",
            {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "value": "y"}]},
        ),
    ],
)
def test_a_placement_in_words_and_fields(spec: Json, text: str, fields: Json) -> None:
    """Deciding conditions are kept in canonical form; conditions that every request implies are left out."""
    (one,), notes = placements_of(spec)
    assert (str(one), one.fields(), notes) == (text, fields, [])


def test_two_values_of_one_label() -> None:
    """The selector expresses a second value of a label, which a mapping can't."""
    both = Placement(labels=frozenset({("disk", "a"), ("disk", "b")}), tolerations=None)
    assert both.fields() == {"nodeSelector": {"disk": "a"}, "selector": "disk=b"}
    assert not eligible(both, read_node(node(labels={"disk": "b"})))


def test_names_join_only_with_names() -> None:
    """Node names join with node names; with a label they join to the conditions in common."""
    first, second = (Placement(nodes=frozenset({name})) for name in ("n1", "n2"))
    assert str(joined([first, second])) == "name in (n1,n2)"
    assert str(joined([first, labels(disk="ssd")])) == "any"
    assert str(
        joined([Placement(excluded=frozenset({"n1", "n2"})), Placement(excluded=frozenset({"n2"}))])
    ) == ("name notin (n2)")


def test_tolerations_join() -> None:
    """The union has the tolerations of all; tolerating both strict effects of any key is tolerating all taints."""
    gpu = frozenset({Tolerated("gpu", "Exists", "", "")})
    first, second = (
        Placement(tolerations=gpu | {Tolerated("", "Exists", "", effect)})
        for effect in ("NoSchedule", "NoExecute")
    )
    assert joined([first, second]).tolerations is None
    assert joined([Placement(), Placement(tolerations=gpu)]).tolerations == gpu
    assert not Placement().covers(Placement(tolerations=None))
    assert Placement(tolerations=None).covers(Placement(tolerations=gpu))


@pytest.mark.parametrize(
    ("spec", "note"),
    [
        ({"os": {"name": "windows"}}, "its pods run on Windows, and only Linux nodes are warmed"),
        (
            {"nodeSelector": {"kubernetes.io/os": "windows"}},
            "node selector: kubernetes.io/os In windows: only Linux nodes are warmed",
        ),
        (
            {"os": {"name": "windows"}, "nodeSelector": {"disk": "ssd"}, "nodeName": "n1"},
            "its pods run on Windows, and only Linux nodes are warmed",
        ),
    ],
)
def test_nodes_that_are_never_warmed(spec: Json, note: str) -> None:
    """Pods that can't run on a Linux node have no placement, and a note states the reason."""
    assert placements_of(spec) == ((), [note])


def test_no_node_has_two_names() -> None:
    """A pod that requires two different node names has no placement."""
    fields = [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]
    required = {"nodeSelectorTerms": [{"matchFields": fields}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    assert placements_of({"nodeName": "n1", "affinity": affinity}) == (
        (),
        ["node affinity: no node matches, since a node can't have two names"],
    )


ODD: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(("", "a", "{{x}}", "In", "Exists", "metadata.name")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("key", "operator", "values", "value", "effect", "nodeSelectorTerms", "a b")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ODD, ODD, ODD, ODD)
def test_invalid_fields_still_result_in_a_valid_request(
    selector: Any, terms: Any, tolerations: Any, name: Any
) -> None:
    """Invalid fields of a manifest raise no error, and never get into a request."""
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    spec = {"nodeSelector": selector, "affinity": affinity, "tolerations": tolerations, "nodeName": name}
    found, notes = placements_of(spec)
    assert found or notes
    for one in found:
        request(one)
