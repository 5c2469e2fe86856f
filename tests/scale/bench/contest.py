"""A run of one way to warm nodes, with its measurements."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

from ips_flows.core.constants import ANNOTATION_CLEANED, ANNOTATION_PLAN, ANNOTATION_PROGRESS, LABEL_TASK_NAME
from ips_flows.core.k8s.objects import Json
from ips_flows.core.plan.plan import resolve_up
from ips_flows.kube.client import core, jobs, workflows
from tests.cluster import processes
from tests.cluster.conftest import Cluster
from tests.scale.bench import ideal, meters
from tests.scale.bench.kubelets import Kubelets
from tests.scale.bench.pulls import Pulls
from tests.scale.bench.samples import KINDS, Kind, Sample
from tests.scale.peers.order import LABEL, Order

Form = Literal["rolling", "batch", "waves", "barrier", "pernode", "flood"]
OURS: Sequence[Form] = ("rolling", "batch", "waves")
PEERS: Sequence[Form] = ("barrier", "pernode", "flood")
NAMESPACE = "bench"  # of the peers' Jobs

_DAEMONS = ("apiserver", "etcd", "controller-manager", "scheduler", "argo-controller")
_WAVES = ["10%", "50%", "100%"]
_LIMIT_SECONDS = 3600.0
_CLEAN_SECONDS = 600.0


@dataclass
class Run:
    """Measurements of a run. Seconds are the makespan: from the first Job to the last result."""

    form: Form
    kind: Kind
    nodes: int
    window: int
    seconds: float = 0.0
    ideal: float = 0.0
    ideal_batches: float = 0.0
    most_at_once: int = 0
    writes: dict[str, float] = field(default_factory=dict)
    writes_after: dict[str, float] = field(default_factory=dict)
    floor: float = 0.0
    usage: dict[str, dict[str, float]] = field(default_factory=dict)
    status: str = ""
    whole_seconds: float = 0.0
    workflow_bytes: int = 0  # without managedFields
    managed_fields_bytes: int = 0
    config_map_bytes: int = 0
    etcd_bytes: int = 0  # written to etcd until the end, heartbeats included
    step_pods: int = 0
    failed: list[str] = field(default_factory=list)
    get_seconds: dict[str, float] = field(default_factory=dict)  # by output format: `get` of the ended task

    @property
    def ratio(self) -> float:
        """Return makespan ÷ ideal."""
        return self.seconds / self.ideal

    def to_json(self) -> dict[str, Any]:
        """Return all measurements."""
        return {**asdict(self), "ratio": round(self.ratio, 3)}


def contend(cluster: Cluster, form: Form, kind: Kind, samples: Mapping[str, Sample], window: int) -> Run:
    """Warm all nodes that have a sample, in the order of their names."""
    images = [f"registry.example.com/bench/{kind}-{number}:1" for number in range(KINDS[kind][1])]
    nodes = sorted(samples)
    run = Run(form, kind, len(nodes), window)
    busy = [samples[node].busy(len(images)) for node in nodes]
    run.ideal = _ideal(form, busy, window)
    run.ideal_batches = ideal.batches(busy, window)
    with Kubelets(cluster.kube, samples) as kubelets:
        if form in OURS:
            _ours(cluster, run, images, kubelets)
        else:
            _peer(cluster, run, nodes, images, kubelets)
    return run


def _ideal(form: Form, busy: Sequence[float], window: int) -> float:
    """Return the ideal by list scheduling. For waves it includes the stops between them, which the user requested."""
    if form == "waves":
        ends = [0, *(resolve_up(size, len(busy)) for size in _WAVES)]
        return ideal.waves(busy, window, [end - start for start, end in pairwise(ends)])
    return ideal.rolling(busy, window)


def _ours(cluster: Cluster, run: Run, images: list[str], kubelets: Kubelets) -> None:
    name = f"bench-{uuid.uuid4().hex[:6]}"
    request = {
        "name": name,
        "images": images,
        "batchSize": run.window,
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"operator": "Exists"}],
        "timeout": "4h",
        "nodeTimeout": "1h",
        **({"order": "batch"} if run.form == "batch" else {}),
        **({"waves": _WAVES} if run.form == "waves" else {}),
        **({"maxFailedNodes": "5%"} if run.kind == "failing" else {}),
    }
    steps = {step: lambda step=step: processes.of_step(step, name) for step in ("filter", "drive", "finish")}
    pods = Pulls(cluster.kube, cluster.namespace, f"{LABEL_TASK_NAME}={name}", kubelets)
    progress = _Progress(cluster, name)
    before, etcd_before = meters.writes(cluster), meters.etcd_bytes()
    with pods, meters.Usage(_DAEMONS, steps) as usage, progress:
        submitted = time.monotonic()
        cluster.submit(json.dumps(request))
        progress.await_end()
        at_end, etcd_at_end = meters.writes(cluster), meters.etcd_bytes()
        cluster.await_that(lambda: ANNOTATION_CLEANED in _annotations(cluster, name), _CLEAN_SECONDS)
        run.whole_seconds = round(time.monotonic() - submitted, 1)
        workflow = cluster.ended_workflow(name)
    after = meters.writes(cluster)
    task = cluster.task(name)
    run.get_seconds = {output: _get(cluster, name, output) for output in ("table", "json")}
    run.usage = usage.result()
    run.seconds = round(progress.last - progress.first, 2)
    run.most_at_once = pods.most_at_once
    run.floor = round(meters.floor_share(at_end - before, run.nodes), 3)
    run.writes = meters.per_node(at_end - before, run.nodes)
    run.writes_after = meters.per_node(after - at_end, run.nodes)
    run.status = task["status"]
    run.failed = sorted({one["nodeName"] for one in task["failedNodeDetails"]})
    run.etcd_bytes = etcd_at_end - etcd_before
    run.managed_fields_bytes = _size(workflow["metadata"].pop("managedFields", []))
    run.workflow_bytes = _size(workflow)
    run.step_pods = sum(node["type"] == "Pod" for node in workflow["status"]["nodes"].values())
    maps = cluster.kube.list(core(cluster.namespace, "configmaps"), labels=f"{LABEL_TASK_NAME}={name}")
    run.config_map_bytes = sum(map(_size, maps))
    cluster.kube.delete(workflows(cluster.namespace, name))
    _await_none(cluster, cluster.namespace, f"{LABEL_TASK_NAME}={name}")


class _Progress:
    """Follow the Jobs of a task: the time of the first Job, and of the last result of the last wave."""

    def __init__(self, cluster: Cluster, task: str) -> None:
        self._cluster, self._task = cluster, task
        self._total: int | None = None
        self._done: dict[str, int] = {}
        self._end = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.first = self.last = 0.0

    def __enter__(self) -> None:
        self._version = self._cluster.kube.get(jobs(self._cluster.namespace), limit=1)["metadata"][
            "resourceVersion"
        ]
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def await_end(self) -> None:
        """Wait until every node of the plan has a result; raise an error if the task ends before."""
        end = time.monotonic() + _LIMIT_SECONDS
        while not self._end.wait(1):
            if time.monotonic() > end:
                raise TimeoutError(f"{self._task} has not ended")
            if "finishedAt" in self._cluster.workflow(self._task).get("status", {}):
                if self._end.wait(10):
                    return
                raise RuntimeError(f"{self._task} ended before its Jobs did: {self._done}")

    def _run(self) -> None:
        path, labels = jobs(self._cluster.namespace), f"{LABEL_TASK_NAME}={self._task}"
        while not self._stop.is_set():
            for event in self._cluster.kube.watch(
                path, resource_version=self._version, seconds=2, labels=labels
            ):
                self._version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._take(event["object"])

    def _take(self, job: Json) -> None:
        at = time.monotonic()
        self.first = self.first or at
        text = job["metadata"]["annotations"].get(ANNOTATION_PROGRESS)
        if text is None:
            return
        if self._total is None:
            plan = json.loads(_annotations(self._cluster, self._task)[ANNOTATION_PLAN])
            self._total = sum(wave["nodes"] for wave in plan["waves"])
        progress = json.loads(text)
        self._done[job["metadata"]["name"]] = progress["done"] + progress["failed"]
        if sum(self._done.values()) >= self._total and not self._end.is_set():
            self.last = at
            self._end.set()


def _peer(cluster: Cluster, run: Run, nodes: list[str], images: list[str], kubelets: Kubelets) -> None:
    name = f"{run.form}-{uuid.uuid4().hex[:6]}"
    order = Order(name, NAMESPACE, nodes, images, run.window)
    pods = Pulls(cluster.kube, NAMESPACE, f"{LABEL}={name}", kubelets)
    before = meters.writes(cluster)
    command = [sys.executable, "-m", f"tests.scale.peers.{run.form}"]
    driver = subprocess.Popen(command, stdin=subprocess.PIPE, env=cluster.environment, text=True)
    with pods, meters.Usage(_DAEMONS, {"drive": lambda: [driver.pid]}) as usage:
        driver.communicate(order.to_json(), timeout=_LIMIT_SECONDS)
    if driver.returncode:
        raise RuntimeError(f"{run.form} exited with {driver.returncode}")
    after = meters.writes(cluster)
    if pods.first is None or pods.last is None:
        raise RuntimeError(f"{run.form} had no pods")
    run.seconds = round(pods.last - pods.first, 2)
    run.most_at_once = pods.most_at_once
    run.floor = round(meters.floor_share(after - before, run.nodes), 3)
    run.writes = meters.per_node(after - before, run.nodes)
    run.usage = usage.result()
    expected = len(nodes) * (len(images) if run.form == "flood" else 1)
    run.status = "completed" if pods.succeeded == expected else "failed"
    cluster.kube.delete_all(jobs(NAMESPACE), labels=f"{LABEL}={name}")
    cluster.kube.delete_all(core(NAMESPACE, "pods"), labels=f"{LABEL}={name}")
    _await_none(cluster, NAMESPACE, f"{LABEL}={name}")


def _await_none(cluster: Cluster, namespace: str, labels: str) -> None:
    """Wait until no such pod is left, so that the deletions do not slow down the next run.

    A Job controller at its limit removes the finalizers of pods long after the deletion of their Job.
    """
    path = core(namespace, "pods")
    cluster.await_that(
        lambda: not list(cluster.kube.list(path, labels=labels, metadata_only=True)), _CLEAN_SECONDS
    )


def _size(document: Any) -> int:
    return len(json.dumps(document, separators=(",", ":")))


def _get(cluster: Cluster, name: str, output: str) -> float:
    """Return the seconds that `ips-flow get` takes."""
    began = time.monotonic()
    command = ["ips-flow", "get", name, "-o", output]
    subprocess.run(command, env=cluster.environment, check=True, capture_output=True)
    return round(time.monotonic() - began, 2)


def _annotations(cluster: Cluster, name: str) -> dict[str, str]:
    return cluster.workflow(name)["metadata"].get("annotations") or {}
