"""An example of a forecast: three nodes and two images, one of which is missing in the registry."""

from __future__ import annotations

from ips_flows.core.forecast.checks import forecast_of
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
from ips_flows.core.results.reasons import FailureReason
from tests.contracts.examples import APP, DIGEST, NOW, TOOL, WORKER, cluster_node, small_request


def forecast() -> Forecast:
    """Return the forecast of a task that would fail."""
    request = small_request(images=[APP, TOOL], maxFailedNodes=1)
    nodes = [cluster_node("n1", images=(APP,)), cluster_node("n2"), cluster_node("n3", cordoned=True)]
    plan = make_plan(
        request, map(read_node, nodes), worker_image=WORKER, started=NOW, image_volumes_kept=lambda: True
    )
    amd, arm = Platform("linux", "amd64"), Platform("linux", "arm64", "v8")
    layers = {"sha256:config": 1000, "sha256:layer": 60_000_000}
    resolution = Resolved(
        DIGEST, [amd, arm], {"amd64": PlatformImage("sha256:manifest", layers, 1), "arm64": None}
    )
    unresolved = Unresolved(FailureReason.NOT_FOUND, "HTTP 404", certain=True)
    wanted, worker = references(request), parse_reference(WORKER)
    node_info = {
        node["metadata"]["name"]: read_node_info(node, read_node(node), wanted, worker) for node in nodes
    }
    note = Issue("warning", IssueKind.MODE, "m", nodes=1, node="n1", hint="m")
    bandwidth = Bandwidth(100_000_000, 1_000_000_000)
    return forecast_of(
        ForecastInputs(
            request, plan, node_info, (resolution, unresolved), WORKER, resolution, bandwidth, None, (note,)
        )
    )
