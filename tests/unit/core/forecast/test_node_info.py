"""Properties of a node."""

from __future__ import annotations

from ips_flows.core.forecast.node_info import NodeInfo, read_node_info
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.node import read_node
from tests.support import kube_objects


def test_properties_of_a_node() -> None:
    """Architecture, disk, pressure and image digests are read, with defaults for a node without them."""
    raw = kube_objects.node(images=[kube_objects.held(kube_objects.GOOD)])
    raw["status"]["allocatable"] = {"ephemeral-storage": "1Ki"}
    raw["status"]["nodeInfo"]["architecture"] = "arm64"
    raw["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    wanted = [parse_reference(kube_objects.GOOD), parse_reference(kube_objects.OTHER)]
    facts = read_node_info(raw, read_node(raw), wanted, wanted[0])
    assert facts == NodeInfo("arm64", 1024, pressure=True, worker=True, digests=(kube_objects.DIGEST, None))
    bare = {"metadata": {"name": "bare"}}
    facts = read_node_info(bare, read_node(bare), wanted, wanted[1])
    assert facts == NodeInfo("amd64", None, pressure=False, worker=False, digests=(None, None))
