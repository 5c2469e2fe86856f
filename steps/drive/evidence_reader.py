"""Gathers the evidence for a pod from the API: its events and its node."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from ips_flows.core import clock
from ips_flows.core.errors import NotFoundError
from ips_flows.core.k8s.objects import Json, condition
from ips_flows.core.plan.node import Node, is_ready, read_node
from ips_flows.core.plan.plan import GroupPlan, PlannedNode
from ips_flows.core.pods.evidence import awaits_pull_event, image_results
from ips_flows.core.results.results import ImageResult
from ips_flows.kube.client import core
from steps.context import StepContext
from steps.drive.pod_events import PodEvents
from steps.drive.timings import DriverTimings


class EvidenceReader:
    """Reads the evidence for the pods of one group, and derives their results."""

    def __init__(self, context: StepContext, plan: GroupPlan, timings: DriverTimings | None = None) -> None:
        self._context = context
        self._plan = plan
        self._timings = timings or DriverTimings()
        self._ended: dict[str, float] = {}

    def final_results(
        self, planned: PlannedNode, pod: Mapping[str, Any], pod_events: PodEvents
    ) -> tuple[ImageResult, ...] | None:
        """Return the results of a pod that has ended; None while a pull event may still arrive."""
        uid = pod["metadata"]["uid"]
        events = pod_events.for_pod(uid)
        if awaits_pull_event(self._plan, pod, events):
            due = self._ended.setdefault(uid, time.monotonic()) + self._timings.pull_event
            if time.monotonic() < due or not pod_events.relist(due):
                return None
            events = pod_events.for_pod(uid)
        self._ended.pop(uid, None)
        pod_events.forget(uid)
        return image_results(self._plan, planned, pod, events, partial(self._get_node, planned.name))

    def current_results(
        self, planned: PlannedNode, pod: Mapping[str, Any], *, why: str | None
    ) -> tuple[ImageResult, ...]:
        """Return the results of a pod from the current evidence, whether or not it has ended."""
        node = partial(self._get_node, planned.name)
        return image_results(self._plan, planned, pod, self._list_events(pod), node, why=why)

    def silence_reason(self, name: str) -> str | None:
        """Return why the node's kubelet will not report any more; None if it may."""
        try:
            node = self._context.kube.get(f"/api/v1/nodes/{name}")
        except NotFoundError:
            return f"node {name} was deleted"
        if is_ready(node):
            return None
        since = _not_ready_since(node)
        if since is not None and since < self._timings.not_ready:
            return None
        return f"node {name} is not ready: its kubelet stopped reporting"

    def _list_events(self, pod: Mapping[str, Any]) -> list[Json]:
        """Read the events of a pod."""
        path = core(self._context.namespace, "events")
        return list(self._context.kube.list(path, fields=f"involvedObject.uid={pod['metadata']['uid']}"))

    def _get_node(self, name: str) -> Node | None:
        try:
            return read_node(self._context.kube.get(f"/api/v1/nodes/{name}"))
        except NotFoundError:
            return None


def _not_ready_since(node: Mapping[str, Any]) -> float | None:
    ready = condition(node, "Ready")
    return (clock.now() - clock.parse(ready["lastTransitionTime"])).total_seconds() if ready else None
