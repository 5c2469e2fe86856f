"""Requests from uses of images: no image is lost, and every printed request is valid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ips_flows.core.discover.image_uses import ImageUse, SourceLocation
from ips_flows.core.discover.placement import Placement
from ips_flows.core.discover.requests import (
    by_placement,
    everywhere,
    findings_json,
    images_of,
    pods_text,
    request_text,
)
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.node import Node
from ips_flows.core.request.limits import IMAGES
from ips_flows.core.request.model import parse_request
from tests.support.paths import MANIFESTS
from tests.unit.core.discover.test_finder import read, read_file
from tests.unit.core.discover.test_placement import eligible, nodes, specs

NODES = [f"{file.stem}" for file in sorted(MANIFESTS.glob("*.yaml"))]

texts = st.one_of(
    st.from_regex(
        r"([a-z]{1,3}\.io(:5000)?/)?[a-z]{1,3}(/[a-z0-9]{1,3})?(:[A-Za-z0-9]{1,3})?", fullmatch=True
    ),
    st.sampled_from(
        ("busybox", "docker.io/library/busybox:latest", "auto", "{{ x }}", "A/b", "a b", "true", "7")
    ),
    st.text(max_size=6),
)
containers = st.fixed_dictionaries(
    {"name": st.sampled_from(("a", "b")), "image": texts},
    optional={"imagePullPolicy": st.sampled_from(("Always", "Never", "IfNotPresent", "x"))},
)
pod_specs = st.builds(
    lambda spec, several, first, volumes, secrets: {
        **spec,
        "containers": several,
        "initContainers": first,
        "volumes": [{"name": "v", "image": {"reference": text}} for text in volumes],
        "imagePullSecrets": [{"name": name} for name in secrets],
    },
    specs,
    st.lists(containers, min_size=1, max_size=3),
    st.lists(containers, max_size=2),
    st.lists(texts, max_size=1),
    st.lists(st.sampled_from(("one", "two", "N o")), max_size=2),
)
nested = st.recursive(
    pod_specs,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(
            st.sampled_from(("spec", "template", "jobs", "replicas")), inner, min_size=1, max_size=2
        )
    ),
    max_leaves=3,
)
objects = st.fixed_dictionaries(
    {
        "apiVersion": st.sampled_from(("v1", "apps/v1", "example.com/v1")),
        "kind": st.sampled_from(("Pod", "Deployment", "DaemonSet", "Job", "Thing")),
        "metadata": st.just({"name": "x"}),
        "spec": nested,
    }
)


def images_in(value: Any) -> list[str]:
    """Return every image of a container or volume."""
    if isinstance(value, list):
        return [image for item in value for image in images_in(item)]
    if not isinstance(value, dict):
        return []
    own = [value[key] for key in ("image", "reference") if isinstance(value.get(key), str)]
    return own + [image for item in value.values() for image in images_in(item)]


@given(st.lists(objects, min_size=1, max_size=3))
def test_nothing_is_lost(several: list[dict[str, Any]]) -> None:
    """Every image is a valid reference in the result, or in a note, or its pods can run on no node."""
    for one in several:
        found = read(json.dumps(one), "f")
        taken = {use.image for use in found.uses}
        said = " ".join(note.text for note in found.notes)
        nowhere = "no node matches" in said or "Linux" in said or "no term" in said
        for image in images_in(one):
            told = json.dumps(image)[1:-1] in said or (not image and "it has no image" in said)
            assert image in taken or told or nowhere, (image, said)
        for image in taken:
            assert parse_reference(image).text == image


@given(st.lists(objects, min_size=1, max_size=3))
def test_what_is_printed_can_be_run(several: list[dict[str, Any]]) -> None:
    """Requests are valid, keep their content in a round trip, and have each image once, with all its uses."""
    found = read(json.dumps(several), "f")
    whole = everywhere(found.uses)
    requests = by_placement(found.uses)
    for draft in [*requests, *([whole] if whole else [])]:
        read_back = parse_request(request_text(draft, ["a note\n{{"]))
        assert read_back == parse_request(json.dumps(draft.fields()))
        assert [spec.image for spec in read_back.images] == [image.text for image in draft.images]
    for use in found.uses:
        for placement in use.placements:
            holders = [
                one
                for one in requests
                if one.placement.covers(placement)
                and any(use in image.uses and image.canonical for image in one.images)
            ]
            assert len(holders) >= 1
            assert all(set(use.secrets) <= set(one.secrets) for one in holders)


@given(st.lists(objects, min_size=1, max_size=2), st.lists(nodes, min_size=1, max_size=4))
def test_images_go_where_their_pods_may_land(several: list[dict[str, Any]], places: list[Node]) -> None:
    """The requests warm an image on a node if, and only if, one of its pods may run there."""
    uses = read(json.dumps(several), "f").uses
    requests = by_placement(uses)
    for image in images_of(uses):
        mine = [one.placement for one in requests if image.canonical in {it.canonical for it in one.images}]
        for at in places:
            draft = any(eligible(one, at) for one in image.placements)
            assert any(eligible(one, at) for one in mine) == draft


def test_named_nodes_go_together() -> None:
    """Pods that name their nodes, such as static pods, result in one request for all those nodes."""
    uses = [use(image, Placement(nodes=frozenset({name}))) for image in ("a", "b") for name in ("n1", "n2")]
    (draft,) = by_placement(uses)
    assert (draft.fields()["nodes"], draft.fields()["images"]) == (["n1", "n2"], ["a", "b"])


@pytest.mark.parametrize("name", NODES)
def test_the_files_make_requests(name: str) -> None:
    """Each manifest results in one request for all nodes, and in split requests with the same images in total."""
    found = read_file(name)
    whole = everywhere(found.uses)
    assert whole is not None
    parse_request(request_text(whole))
    parts = by_placement(found.uses)
    assert {image.canonical for one in parts for image in one.images} == {
        one.canonical for one in whole.images
    }
    for one in parts:
        parse_request(request_text(one))
        assert whole.placement.covers(one.placement)


def use(
    image: str,
    *placements: Placement,
    policy: str = "IfNotPresent",
    pods: Any = 1,
    secrets: tuple[str, ...] = (),
    name: str = "d",
) -> ImageUse:
    location = SourceLocation("f", 3, "", "Deployment", name, "container c")
    return ImageUse(parse_reference(image), policy, pods, location, placements or (Placement(),), secrets)


def test_a_request_as_text() -> None:
    """Comments list the uses of each image; every type of field keeps its value in a round trip."""
    odd = Placement(
        labels=frozenset({("disk", "true"), ("a.example/b", "")}),
        requirements=frozenset({"!gpu", "zone in (a,b)"}),
        nodes=frozenset({"n1", "7"}),
        excluded=frozenset({"n2"}),
    )
    uses = [
        use("busybox", odd, policy="Always", pods=3, secrets=("one",)),
        use("docker.io/library/busybox:latest", odd, pods="each node", name="e"),
        use("7:x", odd, policy="Never", pods=None),
        *(use("no", odd, pods=number, name=f"f{number}") for number in range(5)),
    ]
    (draft,) = by_placement(uses)
    assert request_text(draft, ["A note."]) == (
        "# A note.\n"
        "images:\n"
        "  # Deployment/d, container c (f:3); 3 pods\n"
        "  # Deployment/e, container c (f:3); on each node\n"
        "  - image: busybox\n"
        "    pullPolicy: Always\n"
        "  # Deployment/d, container c (f:3); pull policy Never\n"
        '  - "7:x"\n'
        "  # Deployment/f0, container c (f:3); 0 pods\n"
        "  # Deployment/f1, container c (f:3); 1 pod\n"
        "  # Deployment/f2, container c (f:3); 2 pods\n"
        "  # and 2 more\n"
        '  - "no"\n'
        "# These Secrets must be in the task's namespace; missing Secrets are ignored.\n"
        "pullSecrets:\n"
        "  - one\n"
        "nodeSelector:\n"
        '  a.example/b: ""\n'
        '  disk: "true"\n'
        'selector: "!gpu,zone in (a,b)"\n'
        "nodes:\n"
        '  - "7"\n'
        "  - n1\n"
        "excludeNodes:\n"
        "  - n2\n"
        "tolerations: [] # nodes with taints are excluded\n"
    )
    request = parse_request(request_text(draft))
    assert (request.nodes, request.node_selector) == (("7", "n1"), {"a.example/b": "", "disk": "true"})


def test_a_pinned_image_has_no_policy_always() -> None:
    """A digest's content can't change, so a pinned image is not written with pull policy Always."""
    (draft,) = by_placement([use("a@sha256:" + "b" * 64, policy="Always")])
    assert draft.fields()["images"] == ["a@sha256:" + "b" * 64]


def test_a_wider_placement_includes_a_narrower_one() -> None:
    """An image for all nodes is not repeated in the request for some of them; another image is."""
    ssd, everywhere_ = Placement(labels=frozenset({("disk", "ssd")})), Placement()
    parts = by_placement([use("a", ssd), use("a", everywhere_, name="e"), use("b", ssd)])
    assert [(str(one.placement), [image.text for image in one.images]) for one in parts] == [
        ("any", ["a"]),
        ("disk=ssd", ["b"]),
    ]
    assert len(parts[0].images[0].uses) == 2


def test_more_images_than_a_request_allows() -> None:
    """More than 50 images are split into requests of at most 50 images."""
    parts = by_placement([use(f"a{number}") for number in range(IMAGES.high * 2 + 1)])
    assert [len(one.images) for one in parts] == [50, 50, 1]
    assert (by_placement([]), everywhere([])) == ([], None)


@pytest.mark.parametrize(
    ("pods", "text"),
    [
        ([1, 2], "3"),
        ([0], "0"),
        (["each node"], "each node"),
        ([2, "each node"], "2 + each node"),
        ([None, 2], "–"),
        ([None, "each node"], "– + each node"),
    ],
)
def test_how_many_pods_in_words(pods: list[Any], text: str) -> None:
    """Numbers of pods are added up; an unknown number makes the sum unknown."""
    (image,) = images_of([use("a", pods=count) for count in pods])
    assert pods_text(image) == text


def test_pods_are_counted_once() -> None:
    """Pods with an image in two containers count once for the image."""
    containers = [
        {"name": name, "image": image} for name, image in (("a", "x:1"), ("b", "docker.io/library/x:1"))
    ]
    pod = {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}
    (image,) = images_of(read(json.dumps([pod, pod]), "f").uses)
    assert (image.pods, len(image.uses)) == (2, 2)


def test_findings_as_json() -> None:
    """Images refer to their placements by index; notes state whether an image is missing."""
    text = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {
                "nodeSelector": {"disk": "ssd"},
                "containers": [{"name": "a", "image": "busybox:1"}, {"name": "b", "image": "B"}],
            },
        }
    )
    assert findings_json(read(text, "f")) == {
        "images": [
            {
                "image": "busybox:1",
                "reference": "docker.io/library/busybox:1",
                "pullPolicy": "IfNotPresent",
                "pods": 1,
                "eachNode": False,
                "pullSecrets": [],
                "placements": [0],
                "usedBy": [
                    {
                        "source": "f",
                        "kind": "Pod",
                        "name": "p",
                        "part": "container a",
                        "image": "busybox:1",
                        "pods": 1,
                        "pullPolicy": "IfNotPresent",
                        "pullSecrets": [],
                        "placements": [0],
                    }
                ],
            }
        ],
        "placements": [{"nodeSelector": {"disk": "ssd"}, "tolerations": []}],
        "remarks": [
            {
                "source": "f",
                "kind": "Pod",
                "name": "p",
                "part": "container b",
                "message": 'image: got "B"; allowed: a repository in lower case: "b"',
                "imageMissing": True,
            }
        ],
        "objects": 1,
        "leftOut": {},
    }
