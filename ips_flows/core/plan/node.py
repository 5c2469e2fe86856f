"""The fields of a Node object that plan and results depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ips_flows.core.images.reference import Reference
from ips_flows.core.k8s.objects import true_condition


@dataclass(frozen=True, slots=True)
class NodeImage:
    """An image in a node's image list. `digest` is the digest of its manifest or index, if known."""

    digest: str | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `images` maps every name in the node's image list to its image."""

    name: str
    labels: Mapping[str, str]
    ready: bool
    cordoned: bool
    taints: Sequence[Mapping[str, str]]
    os: str
    kubelet: str
    runtime: str
    images: Mapping[str, NodeImage]

    def image(self, reference: Reference) -> NodeImage | None:
        """Find an image in the node's image list by any of its names."""
        return next((self.images[name] for name in reference.names() if name in self.images), None)


def read_node(node: Mapping[str, Any]) -> Node:
    """Convert a Node object of the API."""
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    info = status.get("nodeInfo") or {}
    labels = metadata.get("labels") or {}
    return Node(
        name=metadata["name"],
        labels=labels,
        ready=is_ready(node),
        cordoned=bool(spec.get("unschedulable")),
        taints=spec.get("taints") or (),
        os=labels.get("kubernetes.io/os") or info.get("operatingSystem") or "linux",
        kubelet=info.get("kubeletVersion") or "",
        runtime=info.get("containerRuntimeVersion") or "",
        images=_images(status.get("images") or ()),
    )


def is_ready(node: Mapping[str, Any]) -> bool:
    """Return whether the node's Ready condition is True."""
    return true_condition(node, "Ready") is not None


def _images(entries: Sequence[Mapping[str, Any]]) -> dict[str, NodeImage]:
    found: dict[str, NodeImage] = {}
    for entry in entries:
        names = entry.get("names") or ()
        digests = {name.partition("@")[0]: name.partition("@")[2] for name in names if "@" in name}
        size = int(entry.get("sizeBytes") or 0)
        for name in names:
            repository, _, digest = name.partition("@")
            if not digest:
                # `host:5000/app:1` → `host:5000/app`: a tag follows the last slash
                head, slash, tail = name.rpartition("/")
                repository = head + slash + tail.partition(":")[0]
            found[name] = NodeImage(digest or digests.get(repository), size)
    return found
