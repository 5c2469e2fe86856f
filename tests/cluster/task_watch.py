"""A test's own watches of a task: its pull pods and its verdicts, as the API server reported them."""

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
    """A selection of objects: the pods of a task by labels, or its Workflow by a field."""

    path: str
    labels: str = ""
    fields: str = ""


@dataclass
class TaskWatch:
    """Every state of a task's pull pods, and every verdict and webhook record of its Workflow.

    `breaks` counts interruptions of the watch. Changes during one are only seen in the new list.
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
        """Return the names of all pull pods seen so far."""
        return {pod["metadata"]["name"] for pod in self.seen}

    def story(self) -> str:
        """Return a line per reported state of a pull pod; `+` marks pods that pulled."""
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
            except ApiError:  # the API server is unavailable, perhaps by the test's own fault
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
            # Stays in the set: a late kubelet may briefly overwrite the final status that the driver wrote.
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
