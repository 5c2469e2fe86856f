"""Watches that a test keeps of its own: the pull pods and the verdicts of a task, as the API server told them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ips_flows.core.constants import ANNOTATION_NOTICE, ANNOTATION_VERDICT, LABEL_TASK_NAME
from ips_flows.core.errors import ApiError
from ips_flows.core.pods.container_state import end_reason, is_terminal
from ips_flows.core.pods.pull_job import is_gated
from ips_flows.kube.client import Kube, core, workflows

_BEAT_SECONDS = 0.5


@dataclass(frozen=True)
class _Chosen:
    """What is watched: by labels the pods of a task, by a field its Workflow."""

    path: str
    labels: str = ""
    fields: str = ""


@dataclass
class TaskWatch:
    """Every state of the pull pods of a task, and every verdict and notice that its Workflow ever had.

    `breaks` counts how often the watch itself was broken: what happened in between is seen by a new list only.
    """

    kube: Kube
    namespace: str
    task: str
    seen: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    verdicts: dict[str, None] = field(default_factory=dict)  # ordered
    notices: dict[str, None] = field(default_factory=dict)
    breaks: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _now: dict[str, dict[str, Any]] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        follow = [
            _Chosen(core(self.namespace, "pods"), labels=f"{LABEL_TASK_NAME}={self.task}"),
            _Chosen(workflows(self.namespace), fields=f"metadata.name={self.task}"),
        ]
        self._threads = [threading.Thread(target=self._run, args=(one,), daemon=True) for one in follow]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    @property
    def names(self) -> set[str]:
        """All pull pods that there ever were."""
        return {pod["metadata"]["name"] for pod in self.seen}

    def story(self) -> str:
        """Every state of the pull pods as it was told, a line each; `+` marks those that pulled."""
        return "\n".join(
            f"{'+' if _pulls(pod) else '-'} {pod['metadata']['resourceVersion']} {pod['metadata']['name']} "
            f"{pod['status']['phase']} {pod['status'].get('reason', '')} "
            f"{'ended by us' if end_reason(pod) else ''} {pod['metadata'].get('deletionTimestamp', '')}"
            for pod in self.seen
        )

    def _run(self, chosen: _Chosen) -> None:
        while not self._stop.is_set():
            try:
                self._follow(chosen)
            except ApiError:  # the API server is away, which may be the test's own fault
                self.breaks += 1
                self._stop.wait(_BEAT_SECONDS)

    def _follow(self, chosen: _Chosen) -> None:
        pages = list(self.kube.pages(chosen.path, labels=chosen.labels, fields=chosen.fields))
        version = pages[0]["metadata"]["resourceVersion"]
        items = [item for page in pages for item in page["items"]]
        if chosen.labels:
            self._now = {item["metadata"]["name"]: item for item in items}
        for item in items:
            self._take(item)
        while not self._stop.is_set():
            for event in self.kube.watch(
                chosen.path, resource_version=version, seconds=3, labels=chosen.labels, fields=chosen.fields
            ):
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._take(event["object"], gone=event["type"] == "DELETED")

    def _take(self, item: dict[str, Any], *, gone: bool = False) -> None:
        if item["metadata"]["name"] == self.task:
            self._take_workflow(item)
        else:
            self._take_pod(item, gone=gone)

    def _take_pod(self, pod: dict[str, Any], *, gone: bool) -> None:
        self.seen.append(pod)
        self._now[pod["metadata"]["name"]] = pod
        if gone:
            self._now.pop(pod["metadata"]["name"])
        if is_terminal(pod):
            # For good: a kubelet that is late takes back, for a moment, the end that the driver wrote down.
            self._ended.add(pod["metadata"]["name"])
        pulling = sum(_pulls(other) for name, other in self._now.items() if name not in self._ended)
        self.most_at_once = max(self.most_at_once, pulling)

    def _take_workflow(self, workflow: dict[str, Any]) -> None:
        annotations = workflow["metadata"].get("annotations") or {}
        for name, found in ((ANNOTATION_VERDICT, self.verdicts), (ANNOTATION_NOTICE, self.notices)):
            if name in annotations:
                found[annotations[name]] = None


def _pulls(pod: Mapping[str, Any]) -> bool:
    return not is_gated(pod) and not is_terminal(pod)
