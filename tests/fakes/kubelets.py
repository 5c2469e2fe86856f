"""Scripted Job controller, scheduler, garbage collector and kubelets behind the fake API server.

Each image has a `Play`. The simulation only acts on API objects.
"""

from __future__ import annotations

import copy
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from ips_flows.core import clock
from tests.fakes.apiserver import ApiServer

Json = dict[str, Any]

DIGEST = "sha256:" + "d" * 64
INDEX = "batch.kubernetes.io/job-completion-index"
_TERMINAL = ("Succeeded", "Failed")
_TICK_SECONDS = 0.01
_STEP_SECONDS = 0.04  # the duration of a pull, and of each state of a failing pull


class Play(StrEnum):
    """The course of a pull of an image."""

    PULLED = "pulled"
    PRESENT = "present"
    MISSING = "missing"  # the registry has no such manifest
    NO_SPACE = "no space"  # the node's disk is full
    AWAY = "away"  # the registry refuses connections until `release` is called
    SLOW = "slow"  # the pull ends when `release` is called
    NEVER = "never"  # the pull never ends


# containerd's message for a failed pull.
_WORDS = {
    Play.MISSING: (
        'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": failed to resolve '
        'reference "{image}": {image}: not found'
    ),
    Play.NO_SPACE: (
        'failed to pull and unpack image "{image}": failed to copy: write '
        "/var/lib/containerd/io.containerd.content.v1.content/ingest/4f/data: no space left on device"
    ),
    Play.AWAY: (
        'failed to pull and unpack image "{image}": failed to resolve reference "{image}": failed to do request: '
        'Head "https://{image}": dial tcp 10.0.0.1:5000: connect: connection refused'
    ),
}


@dataclass(slots=True)
class _Container:
    since: float
    image: str  # the image of its volume or its own; empty if the API server dropped the image volume
    tries: int = 0
    ended: bool = False
    waiting: tuple[str, str] = ("ContainerCreating", "")


@dataclass(slots=True)
class _Run:
    """A pod on a node."""

    since: float
    containers: dict[str, _Container] = field(default_factory=dict)


class Cluster:
    """A simulated cluster, a context manager. `on` overrides the play of an image on a node."""

    def __init__(
        self,
        server: ApiServer,
        nodes: Iterable[str],
        images: Mapping[str, Play] | None = None,
        *,
        on: Mapping[tuple[str, str], Play] | None = None,
    ) -> None:
        self.server = server
        self.images = dict(images or {})
        self.on = dict(on or {})
        self.silent: set[str] = set()  # nodes whose kubelet does nothing
        self.hanging: set[str] = set()  # nodes whose kubelet is alive but ignores the deadlines of pods
        self.unplaceable: set[str] = set()  # nodes to which the scheduler binds nothing
        self.most_pulling = 0
        self.ended: dict[str, Json] = {}  # the final state of ended pods, by node
        self._released = threading.Event()
        self._runs: dict[str, _Run] = {}
        self._indexes: dict[str, dict[int, str]] = {}  # Job's uid → index → active, Succeeded or Failed
        self._numbers = itertools.count()
        self._stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._live, daemon=True)
        for name in nodes:
            server.put("nodes", node_object(name), namespace="")

    def __enter__(self) -> Self:
        self.server.on_change = self._observe
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.on_change = None
        self._stopping = True
        with self.server.store.changed:
            self.server.store.changed.notify_all()
        self._thread.join(60)
        if self._error:
            raise self._error

    def release(self) -> None:
        """Let the slow pulls end."""
        self._released.set()

    def wait_for(self, holds: Callable[[], Any], seconds: float = 60.0) -> None:
        """Wait until a condition holds. It is checked after every change, and periodically."""
        changed = self.server.store.changed
        end = time.monotonic() + seconds
        with changed:
            while not holds():
                if self._error:
                    raise self._error
                assert time.monotonic() < end, "the condition never held"
                changed.wait(2 * _TICK_SECONDS)

    def objects(self, kind: str) -> list[Json]:
        """Return the current objects of a kind, without a copy: the store replaces objects and never changes them."""
        with self.server.store.changed:
            return [item for key, item in sorted(self.server.store.objects.items()) if key[0] == kind]

    def pulling(self) -> list[str]:
        """Return the nodes of ungated pods that have not ended."""
        return [_target(pod) for pod in self.objects("pods") if _is_let_go(pod) and not _is_ended(pod)]

    def bound(self) -> list[str]:
        """Return those of the nodes in `pulling` to which the scheduler has bound the pod."""
        waiting = [pod for pod in self.objects("pods") if _is_let_go(pod) and not _is_ended(pod)]
        return [pod["spec"]["nodeName"] for pod in waiting if "nodeName" in pod["spec"]]

    def told(self, node: str) -> list[str]:
        """Return the reasons of the events of the pods on a node."""
        there = {
            pod["metadata"]["uid"] for pod in self.objects("pods") if pod["spec"].get("nodeName") == node
        }
        return [
            event["reason"] for event in self.objects("events") if event["involvedObject"]["uid"] in there
        ]

    def pods_made(self) -> list[str]:
        """Return the names of all pull pods created so far."""
        return [
            item["metadata"]["name"]
            for _, event, kind, item in list(self.server.store.history)
            if kind == "pods" and event == "ADDED" and INDEX in item["metadata"].get("annotations", {})
        ]

    def node_lost(self, name: str, *, since: str = "2026-01-01T00:00:00Z") -> None:
        """Stop the node's kubelet."""
        self.silent.add(name)
        self._ready(name, "Unknown", since)

    def node_back(self, name: str) -> None:
        """Start the node's kubelet again."""
        self.silent.discard(name)
        self._ready(name, "True", clock.stamp(clock.now()))

    def node_gone(self, name: str) -> None:
        """Remove the node from the cluster; its pods no longer change."""
        self.silent.add(name)
        self.server.remove("nodes", name, namespace="")

    def _ready(self, name: str, status: str, since: str) -> None:
        condition = {"type": "Ready", "status": status, "lastTransitionTime": since}
        self.server.change("nodes", name, {"status": {"conditions": [condition]}}, namespace="")

    # -- controllers

    def _observe(self, kind: str, item: Json) -> None:
        if kind == "pods":
            with self.server.store.changed:
                self.most_pulling = max(self.most_pulling, len(self.pulling()))
                if _is_ended(item) and _is_let_go(item):
                    self.ended[_target(item)] = item

    def _live(self) -> None:
        changed = self.server.store.changed
        try:
            while not self._stopping:
                with changed:
                    self._tick()
                    changed.wait(_TICK_SECONDS)
        except BaseException as error:  # noqa: BLE001  (the test's own thread raises it)
            self._error = error

    def _tick(self) -> None:
        for job in self.objects("jobs"):
            if job["spec"].get("completionMode") == "Indexed":  # other Jobs do not run on these nodes
                self._control(job)
        for pod in self.objects("pods"):
            if not _is_ended(pod) and _is_let_go(pod):
                self._schedule(pod)
        for pod in self.objects("pods"):
            if not _is_ended(pod) and pod["spec"].get("nodeName", "") not in {"", *self.silent}:
                self._keep(pod)
        self._collect()

    def _control(self, job: Json) -> None:
        metadata, spec = job["metadata"], job["spec"]
        known = self._indexes.setdefault(metadata["uid"], {})
        there = {int(pod["metadata"]["annotations"][INDEX]): pod for pod in self._pods_of(job)}
        for index, state in known.items():
            if index in there and _is_ended(there[index]):
                known[index] = there[index]["status"]["phase"]
            elif state == "active" and index not in there:
                known[index] = "Failed"
        active = sum(state == "active" for state in known.values())
        for index in range(spec["completions"]):
            if index not in known and active < spec["parallelism"]:
                known[index] = "active"
                active += 1
                self._create_pod(job, index)
        status = {
            "active": active,
            "completedIndexes": ranges(one for one, state in known.items() if state == "Succeeded"),
            "failedIndexes": ranges(one for one, state in known.items() if state == "Failed"),
        }
        if job.get("status") != status:
            self.server.change("jobs", metadata["name"], {"status": status}, metadata["namespace"])

    def _pods_of(self, job: Json) -> list[Json]:
        uid = job["metadata"]["uid"]
        return [pod for pod in self.objects("pods") if _owner(pod) == uid]

    def _create_pod(self, job: Json, index: int) -> None:
        name, template = job["metadata"]["name"], copy.deepcopy(job["spec"]["template"])
        metadata = template["metadata"]
        metadata["name"] = f"{name}-{index}-{next(self._numbers):05}"
        metadata["labels"] = {**metadata["labels"], "batch.kubernetes.io/job-name": name}
        metadata["annotations"] = {**metadata["annotations"], INDEX: str(index)}
        metadata["ownerReferences"] = [{"kind": "Job", "name": name, "uid": job["metadata"]["uid"]}]
        pod = {**template, "status": {"phase": "Pending"}}
        self.server.put("pods", pod, job["metadata"]["namespace"])

    def _schedule(self, pod: Json) -> None:
        if pod["spec"].get("nodeName") or pod["status"].get("conditions"):
            return
        node = _target(pod)
        if node in self.unplaceable:
            condition = {"type": "PodScheduled", "status": "False", "message": f"{node} has no room"}
            self._change(pod, {"status": {"conditions": [condition]}})
        else:
            self._change(pod, {"spec": {"nodeName": node}})

    def _collect(self) -> None:
        """Delete the objects whose owner no longer exists."""
        items = list(self.server.store.objects.items())
        alive = {item["metadata"]["uid"] for _, item in items}
        for (kind, namespace, name), item in items:
            if _owner(item) and _owner(item) not in alive:
                self.server.remove(kind, name, namespace)

    # -- a kubelet

    def _keep(self, pod: Json) -> None:
        now = time.monotonic()
        uid, spec = pod["metadata"]["uid"], pod["spec"]
        run = self._runs.get(uid)
        if run is None:
            run = self._runs[uid] = _Run(now)
            self._change(pod, {"status": {"startTime": clock.stamp(clock.now())}})
        limit = spec["activeDeadlineSeconds"]
        if spec["nodeName"] not in self.hanging and (limit <= 1 or now - run.since > limit):
            self._end(pod, "Failed", _unknown)
            return
        for entry in [*spec.get("initContainers", ()), *spec["containers"]]:
            container = run.containers.setdefault(entry["name"], _Container(now, _image_of(pod, entry)))
            if not container.ended:
                self._advance(pod, container, now)
                if entry["name"] == "worker" and not container.ended:
                    break
        statuses = self._statuses(pod, run)
        if all(run.containers.get(entry["name"], _Container(0, "")).ended for entry in spec["containers"]):
            self._change(pod, {"status": {"phase": "Succeeded", **statuses}})
        elif any(pod["status"].get(key) != value for key, value in statuses.items()):
            self._change(pod, {"status": statuses})

    def _advance(self, pod: Json, container: _Container, now: float) -> None:
        image, node = container.image, pod["spec"]["nodeName"]
        play = self.on.get((node, image)) or self.images.get(image, Play.PULLED)
        took = now - container.since
        if not image:  # an image volume that was dropped is an empty folder
            container.ended = True
        elif play is Play.PRESENT:
            self._event(pod, "Pulled", f'Container image "{image}" already present on machine')
            container.ended = True
        elif play in _WORDS and not (play is Play.AWAY and self._released.is_set()):
            self._fail(pod, container, _WORDS[play].format(image=image), took)
        elif (play is Play.PULLED and took > _STEP_SECONDS) or (
            play in (Play.SLOW, Play.AWAY) and self._released.is_set()
        ):
            text = f'Successfully pulled image "{image}" in 70ms (70ms including waiting). Image size: 4196390 bytes.'
            self._event(pod, "Pulled", text)
            container.ended = True

    def _fail(self, pod: Json, container: _Container, words: str, took: float) -> None:
        """Alternate between ErrImagePull and ImagePullBackOff until the pod ends."""
        image = container.image
        turn = int(took / _STEP_SECONDS)
        if turn % 2:
            container.waiting = (
                "ImagePullBackOff",
                f'Back-off pulling image "{image}": ErrImagePull: {words}',
            )
            return
        container.waiting = ("ErrImagePull", words)
        if turn // 2 + 1 > container.tries:
            container.tries = turn // 2 + 1
            self._event(pod, "Failed", f'Failed to pull image "{image}": {words}')

    def _statuses(self, pod: Json, run: _Run) -> Json:
        def status(entry: Json) -> Json:
            container = run.containers.get(entry["name"])
            if container is None:
                return _waiting(entry, "PodInitializing", "")
            if not container.ended:
                return _waiting(entry, *container.waiting)
            ended = {"exitCode": 0, "reason": "Completed", "startedAt": "2026-01-01T00:00:05Z"}
            digest = f"{entry['image'].rpartition(':')[0]}@{DIGEST}"
            return {"name": entry["name"], "imageID": digest, "state": {"terminated": ended}}

        spec = pod["spec"]
        return {
            "initContainerStatuses": [status(entry) for entry in spec.get("initContainers", ())],
            "containerStatuses": [status(entry) for entry in spec["containers"]],
        }

    def _end(self, pod: Json, phase: str, overwrite: Callable[[Json], Json]) -> None:
        status = {
            key: [overwrite(entry) for entry in pod["status"].get(key, ())]
            for key in ("initContainerStatuses", "containerStatuses")
        }
        text = "Pod was active on the node longer than the specified deadline"
        self._change(
            pod, {"status": {"phase": phase, "reason": "DeadlineExceeded", "message": text, **status}}
        )

    def _event(self, pod: Json, reason: str, message: str) -> None:
        metadata = pod["metadata"]
        event = {
            "metadata": {"name": f"{metadata['name']}.{next(self._numbers)}"},
            "involvedObject": {"kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
            "source": {"component": "kubelet", "host": pod["spec"].get("nodeName", "")},
            "reason": reason,
            "message": message,
            "firstTimestamp": clock.stamp(clock.now()),
            "count": 1,
        }
        self.server.put("events", event, metadata["namespace"])

    def _change(self, pod: Json, patch: Json) -> None:
        self.server.change("pods", pod["metadata"]["name"], patch, pod["metadata"]["namespace"])


def node_object(name: str) -> Json:
    """Return a ready node that supports image volumes."""
    info = {"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://2.3.7"}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {"conditions": [ready], "nodeInfo": info, "images": []},
    }


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as in a Job's status: 1, 3, 4, 5 → `1,3-5`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _image_of(pod: Json, container: Json) -> str:
    """Return the image that a container pulls: that of its volume of the same name, else its own."""
    for volume in pod["spec"]["volumes"]:
        if volume["name"] == container["name"] and container["name"] != "worker":
            return str((volume.get("image") or {}).get("reference") or "")
    return str(container["image"])


def _waiting(entry: Json, reason: str, message: str) -> Json:
    return {
        "name": entry["name"],
        "imageID": "",
        "state": {"waiting": {"reason": reason, "message": message}},
    }


def _unknown(entry: Json) -> Json:
    """Return a container's status in a pod that the kubelet ended: the reason for which it waited is gone."""
    if "terminated" in entry["state"]:
        return entry
    return {**entry, "state": {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}}


def _owner(item: Json) -> str:
    references = item["metadata"].get("ownerReferences") or ()
    return str(references[0]["uid"]) if references else ""


def _is_ended(pod: Json) -> bool:
    return pod["status"]["phase"] in _TERMINAL


def _is_let_go(pod: Json) -> bool:
    """Return whether it is an ungated pull pod; other pods have no affinity."""
    return "affinity" in pod["spec"] and not pod["spec"].get("schedulingGates")


def _target(pod: Json) -> str:
    """Return the node to which a pod is pinned."""
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])
