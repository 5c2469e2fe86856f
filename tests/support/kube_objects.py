"""Builders of Kubernetes objects as the API returns them, for the tests of the pure modules."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ips_flows.core.constants import ANNOTATION_EPOCH, SCHEDULING_GATE
from ips_flows.core.plan.plan import GroupPlan, PlannedImage, PlannedNode
from ips_flows.core.pods.pull_job import pull_pod
from ips_flows.core.results.records import Mode, PlanSummary, WaveSummary

REGISTRY = "registry.example:5000"
GOOD = f"{REGISTRY}/app:1"
OTHER = f"{REGISTRY}/tool:2"
WORKER = f"{REGISTRY}/worker:1"
DIGEST = "sha256:" + "a" * 64


def node(
    name: str = "n1",
    *,
    labels: Mapping[str, str] | None = None,
    ready: bool = True,
    cordoned: bool = False,
    taints: Sequence[Mapping[str, str]] = (),
    images: Sequence[Mapping[str, Any]] = (),
    kubelet: str = "v1.36.3",
    runtime: str = "containerd://2.3.7",
    os: str = "linux",
) -> dict[str, Any]:
    """Return a Node."""
    spec: dict[str, Any] = {}
    if cordoned:
        spec["unschedulable"] = True
    if taints:
        spec["taints"] = list(taints)
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": os, **(labels or {})}},
        "spec": spec,
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
            "nodeInfo": {
                "kubeletVersion": kubelet,
                "containerRuntimeVersion": runtime,
                "operatingSystem": os,
            },
            "images": list(images),
        },
    }


def held(reference: str, digest: str = DIGEST, size: int = 1000) -> dict[str, Any]:
    """Return an entry of `node.status.images`."""
    repository = reference.rpartition(":")[0]
    return {"names": [f"{repository}@{digest}", reference], "sizeBytes": size}


def group_plan(
    *images: str,
    mode: Mode = "volume",
    present: tuple[int, ...] = (),
    nodes: Sequence[str] = ("n1",),
    window: int = 10,
) -> GroupPlan:
    """Return a group's plan for some images."""
    return GroupPlan(
        group=0,
        wave="wave-1",
        mode=mode,
        window=window,
        deadline="2026-01-01T02:00:00Z",
        node_timeout=600,
        images=tuple(PlannedImage(image=image, pull_policy="IfNotPresent") for image in images or (GOOD,)),
        pull_secrets=(),
        tolerations=({"operator": "Exists"},),
        worker_image=WORKER,
        losses_allowed=0,
        nodes=tuple(PlannedNode(name=name, present=present) for name in nodes),
    )


def summary(
    *, eligible: int = 2, warm: int = 0, losses: int = 0, skipped: Mapping[str, int] | None = None
) -> PlanSummary:
    """Return the summary of a plan with one wave and the images GOOD and OTHER."""
    return PlanSummary(
        mode="volume",
        mode_reason="every eligible node mounts image volumes",
        window=10,
        eligible=eligible,
        warm=warm,
        to_do=eligible - warm,
        skipped=dict(skipped or {}),
        waves=(WaveSummary(name="wave-1", nodes=eligible - warm),),
        images=(GOOD, OTHER),
        priority=5,
        losses_allowed=losses,
        deadline="2026-01-01T02:00:00Z",
        planned_at="2026-01-01T00:00:00Z",
    )


def pod(
    plan: GroupPlan,
    statuses: Sequence[Mapping[str, Any]] = (),
    *,
    phase: str = "Running",
    annotations: Mapping[str, str] | None = None,
    init: Sequence[Mapping[str, Any]] = (),
    gated: bool = False,
    index: int = 0,
    **status: str,
) -> dict[str, Any]:
    """Return a pull pod with the container statuses given."""
    template = pull_pod(plan)
    spec = template["spec"]
    if not gated:
        spec["schedulingGates"] = []
        spec["nodeName"] = "n1"
    else:
        spec["schedulingGates"] = [{"name": SCHEDULING_GATE}]
    return {
        "metadata": {
            "name": "p",
            "uid": "pod-uid",
            "annotations": {
                ANNOTATION_EPOCH: "0",
                "batch.kubernetes.io/job-completion-index": str(index),
                **(annotations or {}),
            },
        },
        "spec": spec,
        "status": {
            "phase": phase,
            "containerStatuses": list(statuses),
            "initContainerStatuses": list(init),
            **status,
        },
    }


def done(name: str, image_id: str = "") -> dict[str, Any]:
    """Return the status of a container that has terminated."""
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": "2026-01-01T00:00:05Z"}
    return {"name": name, "imageID": image_id, "state": {"terminated": ended}}


def waiting(name: str, reason: str, message: str = "") -> dict[str, Any]:
    """Return the status of a waiting container."""
    return {"name": name, "imageID": "", "state": {"waiting": {"reason": reason, "message": message}}}


def event(reason: str, message: str, *, at: str = "2026-01-01T00:00:04Z", count: int = 1) -> dict[str, Any]:
    """Return an event of a pod."""
    return {"reason": reason, "message": message, "firstTimestamp": at, "count": count}


def pulled(image: str, took: str = "1.5s", size: int = 4196390) -> dict[str, Any]:
    """Return the kubelet's event for an image that it pulled."""
    text = (
        f'Successfully pulled image "{image}" in {took} ({took} including waiting). Image size: {size} bytes.'
    )
    return event("Pulled", text)


def present(image: str) -> dict[str, Any]:
    """Return the kubelet's event for an image that was already present."""
    return event("Pulled", f'Container image "{image}" already present on machine', at="2026-01-01T00:00:06Z")


def webhook_secret(name: str, *, label: str = "true", **values: str) -> dict[str, Any]:
    """Return a webhook Secret with these values."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"metadata": {"name": name, "labels": {"ips-flow.io/webhook": label}}, "data": data}
