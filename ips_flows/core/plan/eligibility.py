"""Decide whether a node is eligible for a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ips_flows.core.images.reference import Reference, parse_reference
from ips_flows.core.k8s.selectors import Selector, parse_selector
from ips_flows.core.plan.node import Node
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.core.results.reasons import SkipReason

# The first releases with the required support for image volumes: kubelet 1.35 reports them per container,
# containerd 2.1 and CRI-O 1.31 mount them.
_KUBELET_WITH_IMAGE_VOLUMES = (1, 35)
_RUNTIMES_WITH_IMAGE_VOLUMES = {"containerd": (2, 1), "cri-o": (1, 31)}
_CORDON_TAINT = "node.kubernetes.io/unschedulable"
# These taints are ignored, because the Ready condition is checked.
_HEALTH_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_STRICT_EFFECTS = ("NoSchedule", "NoExecute")
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


class Eligibility:
    """The rules for skipping nodes, one per reason. The first rule that applies gives the reason."""

    def __init__(self, request: PrewarmRequest) -> None:
        self._request = request
        self._names = frozenset(request.nodes)
        self._excluded = frozenset(request.exclude_nodes)
        self._selector: Selector = parse_selector(request.selector)
        self._tolerations = pod_tolerations(request)

    def skip_reason(self, node: Node) -> SkipReason | None:
        """Return the reason why a node is skipped; None if it is eligible."""
        request = self._request
        if self._names and node.name not in self._names:
            return SkipReason.NOT_SELECTED
        if any(node.labels.get(key) != value for key, value in request.node_selector.items()):
            return SkipReason.NOT_SELECTED
        if not self._selector.matches(node.labels):
            return SkipReason.NOT_SELECTED
        if node.name in self._excluded:
            return SkipReason.EXCLUDED
        if is_virtual(node):
            return SkipReason.VIRTUAL
        if node.os != "linux":
            return SkipReason.WRONG_PLATFORM
        if not node.ready:
            return SkipReason.NOT_READY
        if node.cordoned and not request.include_cordoned:
            return SkipReason.CORDONED
        if not all(self._tolerated(taint) for taint in node.taints):
            return SkipReason.TAINT_NOT_TOLERATED
        return None

    def _tolerated(self, taint: Mapping[str, str]) -> bool:
        if taint.get("effect") not in _STRICT_EFFECTS or taint["key"] in (_CORDON_TAINT, *_HEALTH_TAINTS):
            return True
        return any(tolerates(toleration, taint) for toleration in self._tolerations)


def pod_tolerations(request: PrewarmRequest) -> list[dict[str, Any]]:
    """Return the tolerations of the pull pods. By default they tolerate all taints."""
    if request.tolerations is None:
        return [{"operator": "Exists"}]
    own = [
        toleration.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
        for toleration in request.tolerations
    ]
    cordon = {"key": _CORDON_TAINT, "operator": "Exists", "effect": "NoSchedule"}
    return [*own, cordon] if request.include_cordoned else own


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, str]) -> bool:
    """Return whether a toleration covers a taint, by the rules of the scheduler."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return (toleration.get("value") or "") == (taint.get("value") or "")


def is_virtual(node: Node) -> bool:
    """Return whether the node has no kubelet with an image store (virtual-kubelet, Fargate)."""
    return (
        node.labels.get("type") == "virtual-kubelet"
        or node.labels.get("eks.amazonaws.com/compute-type") == "fargate"
        or any(taint["key"] == "virtual-kubelet.io/provider" for taint in node.taints)
    )


def lacks_image_volumes(node: Node) -> str | None:
    """Return the reason why a node can't mount image volumes; None if it can."""
    kubelet = _version(node.kubelet)
    if kubelet is None or kubelet < _KUBELET_WITH_IMAGE_VOLUMES:
        return f"{node.name} runs kubelet {node.kubelet or '(unknown version)'}; needed: 1.35 or later"
    name, _, text = node.runtime.partition("://")
    needed = _RUNTIMES_WITH_IMAGE_VOLUMES.get(name)
    version = _version(text)
    if needed is None or version is None or version < needed:
        known = " or ".join(f"{key} ≥ {a}.{b}" for key, (a, b) in _RUNTIMES_WITH_IMAGE_VOLUMES.items())
        return f"{node.name} runs {node.runtime or 'an unknown runtime'}; needed: {known}"
    return None


def references(request: PrewarmRequest) -> list[Reference]:
    """Return the parsed image references of a request, in its order."""
    return [parse_reference(spec.image) for spec in request.images]


def _version(text: str) -> tuple[int, int] | None:
    match = _VERSION.match(text)
    return (int(match[1]), int(match[2])) if match else None
