"""Gathers the evidence for a pod from the API: its events, its node; and the results stored so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from ips_flows.core import clock
from ips_flows.core.constants import LABEL_KIND, LABEL_WORKFLOW_UID
from ips_flows.core.errors import NotFoundError
from ips_flows.core.k8s.objects import Json
from ips_flows.core.plan.eligibility import Node, is_ready, read_node
from ips_flows.core.plan.plan import GroupPlan, PlannedNode
from ips_flows.core.pods.evidence import image_results, lacks_word
from ips_flows.core.results.results import Chunk, ImageResult, decode
from ips_flows.kube.client import core
from steps.context import Footing
from steps.drive.pod_events import Words

_WORD_SECONDS = 3.0  # how long the kubelet's word on an image is awaited after its pod has ended
_SILENT_SECONDS = 30.0


def stored_chunks(footing: Footing) -> list[Chunk]:
    """The results of a task that are stored so far."""
    labels = f"{LABEL_WORKFLOW_UID}={footing.uid},{LABEL_KIND}=results"
    path = core(footing.namespace, "configmaps")
    return [decode(entry["binaryData"]) for entry in footing.kube.list(path, labels=labels)]


class PodWitness:
    """Judges the pods of one group."""

    def __init__(self, footing: Footing, plan: GroupPlan) -> None:
        self._footing = footing
        self._plan = plan
        self._ended: dict[str, float] = {}

    def results(
        self, planned: PlannedNode, pod: Mapping[str, Any], words: Words
    ) -> tuple[ImageResult, ...] | None:
        """The results of a pod that has ended; None while the kubelet's word on them may still come."""
        uid = pod["metadata"]["uid"]
        events = words.of(uid)
        if lacks_word(self._plan, pod, events):
            due = self._ended.setdefault(uid, time.monotonic()) + _WORD_SECONDS
            if time.monotonic() < due or not words.ask(due):
                return None
            events = words.of(uid)
        self._ended.pop(uid, None)
        words.forget(uid)
        return image_results(self._plan, planned, pod, events, partial(self._node, planned.name))

    def now(self, planned: PlannedNode, pod: Mapping[str, Any], *, why: str) -> tuple[ImageResult, ...]:
        """The results of a pod that is given up, by what can be seen at this moment."""
        node = partial(self._node, planned.name)
        return image_results(self._plan, planned, pod, self._events(pod), node, why=why)

    def silent(self, name: str) -> str:
        """Why the node's kubelet counts as silent, or an empty text."""
        try:
            node = self._footing.kube.get(f"/api/v1/nodes/{name}")
        except NotFoundError:
            return f"node {name} is gone"
        if is_ready(node):
            return ""
        since = _not_ready_since(node)
        if since is not None and since < _SILENT_SECONDS:
            return ""
        return f"node {name} is not ready: its kubelet is silent"

    def _events(self, pod: Mapping[str, Any]) -> list[Json]:
        """What was told of a pod, read at this moment."""
        path = core(self._footing.namespace, "events")
        return list(self._footing.kube.list(path, fields=f"involvedObject.uid={pod['metadata']['uid']}"))

    def _node(self, name: str) -> Node | None:
        try:
            return read_node(self._footing.kube.get(f"/api/v1/nodes/{name}"))
        except NotFoundError:
            return None


def _not_ready_since(node: Mapping[str, Any]) -> float | None:
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready":
            return (clock.now() - clock.parse(condition["lastTransitionTime"])).total_seconds()
    return None
