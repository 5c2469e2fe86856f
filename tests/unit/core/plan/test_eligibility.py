from __future__ import annotations

from typing import Any

import pytest

from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.eligibility import Eligibility, lacks_image_volumes, pod_tolerations, tolerates
from ips_flows.core.plan.node import read_node
from ips_flows.core.request.model import PrewarmRequest, merge_overrides
from ips_flows.core.results.reasons import SkipReason
from tests.support.kube_objects import DIGEST, GOOD, held, node

TAINT = {"key": "gpu", "value": "a100", "effect": "NoSchedule"}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def request(**fields: Any) -> PrewarmRequest:
    return merge_overrides(None, "flags", {"images": [GOOD], **fields})


def skip(fields: dict[str, Any], **facts: Any) -> SkipReason | None:
    return Eligibility(request(**fields)).skip_reason(read_node(node(**facts)))


@pytest.mark.parametrize(
    ("fields", "facts", "expected"),
    [
        ({}, {}, None),
        ({"nodes": ["n2"]}, {}, SkipReason.NOT_SELECTED),
        ({"nodes": ["n1"]}, {}, None),
        ({"nodeSelector": {"disk": "ssd"}}, {"labels": {"disk": "hdd"}}, SkipReason.NOT_SELECTED),
        ({"nodeSelector": {"disk": "ssd"}}, {"labels": {"disk": "ssd"}}, None),
        ({"selector": "zone in (a,b)"}, {"labels": {"zone": "c"}}, SkipReason.NOT_SELECTED),
        ({"selector": "zone in (a,b)"}, {"labels": {"zone": "b"}}, None),
        ({"excludeNodes": ["n1"]}, {}, SkipReason.EXCLUDED),
        ({}, {"labels": {"type": "virtual-kubelet"}}, SkipReason.VIRTUAL),
        ({}, {"labels": {"eks.amazonaws.com/compute-type": "fargate"}}, SkipReason.VIRTUAL),
        (
            {},
            {"taints": [{"key": "virtual-kubelet.io/provider", "effect": "NoSchedule"}]},
            SkipReason.VIRTUAL,
        ),
        ({}, {"os": "windows"}, SkipReason.WRONG_PLATFORM),
        ({}, {"ready": False}, SkipReason.NOT_READY),
        ({}, {"cordoned": True, "taints": [CORDON]}, SkipReason.CORDONED),
        ({"includeCordoned": True}, {"cordoned": True, "taints": [CORDON]}, None),
        ({"includeCordoned": True, "tolerations": []}, {"cordoned": True, "taints": [CORDON]}, None),
        ({}, {"taints": [TAINT]}, None),
        ({"tolerations": []}, {"taints": [TAINT]}, SkipReason.TAINT_NOT_TOLERATED),
        ({"tolerations": []}, {"taints": [{**TAINT, "effect": "NoExecute"}]}, SkipReason.TAINT_NOT_TOLERATED),
        ({"tolerations": []}, {"taints": [{**TAINT, "effect": "PreferNoSchedule"}]}, None),
        ({"tolerations": [{"key": "gpu", "operator": "Exists"}]}, {"taints": [TAINT]}, None),
        (
            {"tolerations": [{"key": "gpu", "operator": "Exists"}]},
            {"taints": [TAINT, {"key": "x", "effect": "NoSchedule"}]},
            SkipReason.TAINT_NOT_TOLERATED,
        ),
    ],
)
def test_reasons(fields: dict[str, Any], facts: dict[str, Any], expected: SkipReason | None) -> None:
    """Each rule skips a node for its own reason, and no other node is skipped."""
    assert skip(fields, **facts) is expected


def test_the_first_reason_is_given() -> None:
    """Of several reasons, the one to fix first is given: selection before state."""
    fields: dict[str, Any] = {"nodes": ["n2"], "excludeNodes": ["n1"], "tolerations": []}
    facts: dict[str, Any] = {
        "labels": {"type": "virtual-kubelet"},
        "os": "windows",
        "ready": False,
        "cordoned": True,
        "taints": [TAINT],
    }
    fixes: list[tuple[SkipReason, dict[str, Any], dict[str, Any]]] = [
        (SkipReason.NOT_SELECTED, {"nodes": []}, {}),
        (SkipReason.EXCLUDED, {"excludeNodes": []}, {}),
        (SkipReason.VIRTUAL, {}, {"labels": {}}),
        (SkipReason.WRONG_PLATFORM, {}, {"os": "linux"}),
        (SkipReason.NOT_READY, {}, {"ready": True}),
        (SkipReason.CORDONED, {}, {"cordoned": False}),
        (SkipReason.TAINT_NOT_TOLERATED, {}, {"taints": []}),
    ]
    for reason, field, fact in fixes:
        assert skip(fields, **facts) is reason
        fields |= field
        facts |= fact
    assert skip(fields, **facts) is None


@pytest.mark.parametrize("key", ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"])
def test_the_ready_condition_counts_and_health_taints_do_not(key: str) -> None:
    """A Ready node that still has a health taint is eligible, for any tolerations."""
    assert skip({"tolerations": []}, taints=[{"key": key, "effect": "NoExecute"}]) is None


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoSchedule"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "cpu", "operator": "Exists"}, False),
        ({"key": "gpu", "value": "a100"}, True),
        ({"key": "gpu", "operator": "Equal", "value": "a100"}, True),
        ({"key": "gpu", "operator": "Equal", "value": "h100"}, False),
        ({"key": "gpu"}, False),
        ({"key": "gpu", "value": "a100", "effect": "NoExecute"}, False),
        ({}, False),
    ],
)
def test_tolerations_follow_the_rules_of_the_scheduler(toleration: dict[str, str], expected: bool) -> None:
    """Exists without a key matches all taints, no effect matches all effects, and no operator means Equal."""
    assert tolerates(toleration, TAINT) is expected


def test_a_taint_without_a_value() -> None:
    """A missing value is equal to an empty value."""
    assert tolerates({"key": "gpu", "operator": "Equal"}, {"key": "gpu", "effect": "NoSchedule"})


def test_tolerations_of_the_pods() -> None:
    """Pods tolerate all taints by default, else those of the request, and the cordon if cordoned nodes are included."""
    assert pod_tolerations(request()) == [{"operator": "Exists"}]
    asked = [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}, {"key": "a", "value": "b"}]
    assert pod_tolerations(request(tolerations=asked)) == asked
    assert pod_tolerations(request(tolerations=[], includeCordoned=True)) == [
        {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}
    ]


@pytest.mark.parametrize(
    ("kubelet", "runtime", "why"),
    [
        ("v1.36.3", "containerd://2.3.7", None),
        ("v1.35.0", "containerd://2.1.0", None),
        ("v1.35.0-eks-1", "cri-o://1.31.0", None),
        ("v1.34.9", "containerd://2.3.7", "n1 runs kubelet v1.34.9; needed: 1.35 or later"),
        ("", "containerd://2.3.7", "n1 runs kubelet (unknown version); needed: 1.35 or later"),
        (
            "v1.36.3",
            "containerd://2.0.5",
            "n1 runs containerd://2.0.5; needed: containerd ≥ 2.1 or cri-o ≥ 1.31",
        ),
        ("v1.36.3", "cri-o://1.30.1", "n1 runs cri-o://1.30.1; needed: containerd ≥ 2.1 or cri-o ≥ 1.31"),
        ("v1.36.3", "docker://28.0.0", "n1 runs docker://28.0.0; needed: containerd ≥ 2.1 or cri-o ≥ 1.31"),
        ("v1.36.3", "", "n1 runs an unknown runtime; needed: containerd ≥ 2.1 or cri-o ≥ 1.31"),
    ],
)
def test_which_nodes_mount_image_volumes(kubelet: str, runtime: str, why: str | None) -> None:
    """Kubelet and runtime must both support image volumes. The reason names the one that does not."""
    assert lacks_image_volumes(read_node(node(kubelet=kubelet, runtime=runtime))) == why


@pytest.mark.parametrize("names", [["docker.io/library/busybox:1"], ["busybox:1"], ["library/busybox:1"]])
def test_an_image_is_found_by_any_of_its_names(names: list[str]) -> None:
    """An image is found under full and short names, with the digest of the same repository."""
    entry = {"names": [f"{names[0].removesuffix(':1')}@{DIGEST}", *names], "sizeBytes": 7}
    image = read_node(node(images=[entry])).image(parse_reference("busybox:1"))
    assert image
    assert (image.digest, image.bytes) == (DIGEST, 7)


def test_a_pinned_image_is_found_by_its_digest_only() -> None:
    """The same tag with another digest is another image, because a tag may have moved."""
    one = read_node(node(images=[held(GOOD)]))
    assert one.image(parse_reference(f"{GOOD}@{DIGEST}"))
    assert one.image(parse_reference(f"{GOOD}@sha256:{'b' * 64}")) is None


def test_a_bare_node() -> None:
    """A Node object without spec and status is read, and is not ready."""
    bare = read_node({"metadata": {"name": "n1"}})
    assert (bare.ready, bare.os, bare.images) == (False, "linux", {})
    assert Eligibility(request()).skip_reason(bare) is SkipReason.NOT_READY
