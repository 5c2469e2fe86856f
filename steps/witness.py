"""Gathers the evidence for a pod from the API: its events, its node; and the results stored so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ips_flows import clock
from ips_flows.conventions import LABEL_KIND, LABEL_WORKFLOW_UID
from ips_flows.errors import NotFoundError
from ips_flows.evidence import image_results, lacks_word, shows_image
from ips_flows.kube import Json, core
from ips_flows.nodes import Node, is_ready, read_node
from ips_flows.plan import GroupPlan, PlannedNode
from ips_flows.results import Chunk, ImageResult, decode
from steps.footing import Footing
from steps.words import Words

_WORD_SECONDS = 3.0  # how long the kubelet's word on an image is awaited after its pod has ended
_SILENT_SECONDS = 30.0


def stored_chunks(footing: Footing) -> list[Chunk]:
    """The results of a task that are stored so far."""
    labels = f"{LABEL_WORKFLOW_UID}={footing.uid},{LABEL_KIND}=results"
    path = core(footing.namespace, "configmaps")
    return [decode(entry["binaryData"]) for entry in footing.kube.list(path, labels=labels)]


class PodWitness:
    """Judges the pods of one group; by `words`, where someone hears them, else by a list for each pod."""

    def __init__(self, footing: Footing, plan: GroupPlan, words: Words | None = None) -> None:
        self._footing = footing
        self._plan = plan
        self._words = words
        self._ended: dict[str, float] = {}

    @property
    def expecting(self) -> bool:
        """Whether some pod has ended whose events are still awaited."""
        return bool(self._ended)

    def results(
        self, planned: PlannedNode, pod: Mapping[str, Any], *, why: str = ""
    ) -> tuple[ImageResult, ...] | None:
        """The results of a pod that has ended; None while the kubelet's word on them may still come."""
        events = self.events(pod)
        uid = pod["metadata"]["uid"]
        if lacks_word(self._plan, pod, events):
            since = self._ended.setdefault(uid, time.monotonic())
            if time.monotonic() - since < _WORD_SECONDS:
                return None
            if self._words is not None:
                if not self._words.ask(since + _WORD_SECONDS):
                    return None
                events = self.events(pod)
        self._ended.pop(uid, None)
        if self._words is not None:
            self._words.forget(uid)
        return image_results(self._plan, planned, pod, events, self._node(planned.name), why=why)

    def now(self, planned: PlannedNode, pod: Mapping[str, Any], *, why: str) -> tuple[ImageResult, ...]:
        """The results of a pod that is given up, by what can be seen at this moment."""
        return image_results(self._plan, planned, pod, self._listed(pod), self._node(planned.name), why=why)

    def has_image(self, pod: Mapping[str, Any]) -> bool:
        """Whether a pod by itself shows that its node holds an image, whatever is still to be said of it."""
        return shows_image(self._plan, pod)

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

    def events(self, pod: Mapping[str, Any]) -> list[Json]:
        """What was told of a pod so far."""
        return self._listed(pod) if self._words is None else self._words.of(pod["metadata"]["uid"])

    def _listed(self, pod: Mapping[str, Any]) -> list[Json]:
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
