"""The objects of one attempt: the Indexed Job of gated pull pods, its index map, and the patches for its pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ips_flows.core.constants import (
    ANNOTATION_ENDED,
    ANNOTATION_EPOCH,
    ANNOTATION_HOLDER,
    LABEL_ATTEMPT,
    LABEL_GROUP,
    LABEL_KIND,
    LABEL_TASK_NAME,
    LABEL_WORKFLOW_UID,
    PRIORITY_CLASS,
    SCHEDULING_GATE,
    SERVICE_ACCOUNT_PULL,
    UNTRACKED,
    label_value,
)
from ips_flows.core.k8s.objects import Json, owner_reference
from ips_flows.core.plan.plan import GroupPlan, PlannedImage
from ips_flows.core.plan.window import job_parallelism
from ips_flows.core.pods.container_state import WORKER_CONTAINER, container_name, ended_note
from ips_flows.core.results.results import Chunk
from ips_flows.core.results.stored_results import encode, pack, unpack

USER = 65532
# Added to `nodeTimeout` as the deadline of a pod that no driver ends.
POD_SLACK_SECONDS = 60
_JOB_KEPT_SECONDS = 3600
_SHARED = "/ips"
_CONTAINER_SECURITY: Json = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# For service meshes and autoscalers: pull pods are short-lived and may be evicted at any time.
_POD_ANNOTATIONS = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",
}
_INDEX_KEY = "index.json.gz"
_EPOCH_POINTER = "/metadata/annotations/" + ANNOTATION_EPOCH.replace("/", "~1")


def task_labels(task: str, uid: str, kind: str, group: int | None = None, attempt: int | None = None) -> Json:
    """Return the labels of an object that belongs to a task."""
    labels = {LABEL_WORKFLOW_UID: uid, LABEL_TASK_NAME: label_value(task), LABEL_KIND: kind}
    if group is not None:
        labels[LABEL_GROUP] = str(group)
    if attempt is not None:
        labels[LABEL_ATTEMPT] = str(attempt)
    return labels


def workflow_owner(task: str, uid: str) -> Json:
    """Return the owner reference to a task's Workflow, for objects that belong to the whole task."""
    return owner_reference("argoproj.io/v1alpha1", "Workflow", task, uid)


def config_map(
    name: str,
    *,
    labels: Json,
    owner: Json,
    binary: Mapping[str, str] | None = None,
    data: Json | None = None,
) -> Json:
    """Return an immutable ConfigMap with an owner."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "immutable": True,
        **({"binaryData": dict(binary)} if binary else {}),
        **({"data": data} if data else {}),
    }


def results_map(name: str, task: str, uid: str, chunk: Chunk) -> Json:
    """Return the ConfigMap of a chunk of results. It exists as long as the Workflow."""
    return config_map(
        name,
        labels=task_labels(task, uid, "results"),
        owner=workflow_owner(task, uid),
        binary=encode(chunk),
    )


def pull_job(
    plan: GroupPlan,
    name: str,
    *,
    labels: Json,
    owner: Json,
    nodes: int,
    seconds_left: int,
    holder: str,
    window: int,
) -> Json:
    """Return the Indexed Job of an attempt: one gated pod per node, never retried by the Job controller."""
    pod = pull_pod(plan)
    pod["metadata"]["labels"] = labels
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {ANNOTATION_HOLDER: holder, ANNOTATION_EPOCH: "1"},
            "ownerReferences": [owner],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": nodes,
            "parallelism": job_parallelism(window, nodes),
            "backoffLimitPerIndex": 0,
            "maxFailedIndexes": nodes,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": max(1, seconds_left),
            "ttlSecondsAfterFinished": _JOB_KEPT_SECONDS,
            "template": pod,
        },
    }


def pull_pod(plan: GroupPlan) -> Json:
    """Return the template of a pull pod. It complies with Pod Security Standard `restricted`."""
    volume_mode = plan.mode == "volume"
    build = _volume_container if volume_mode else _image_container
    spec: Json = {
        "restartPolicy": "Never",
        "schedulingGates": [{"name": SCHEDULING_GATE}],
        "serviceAccountName": SERVICE_ACCOUNT_PULL,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": PRIORITY_CLASS,
        "activeDeadlineSeconds": plan.node_timeout + POD_SLACK_SECONDS,
        # A kubelet never aborts a pull, so a pulling pod would stay Terminating until its registry responds.
        "terminationGracePeriodSeconds": 0,
        "tolerations": list(plan.tolerations),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [build(plan, index, image) for index, image in enumerate(plan.images)],
        "volumes": [_image_volume(index, image) for index, image in enumerate(plan.images)]
        if volume_mode
        else [{"name": WORKER_CONTAINER, "emptyDir": {"sizeLimit": "16Mi"}}],
    }
    if not volume_mode:
        spec["initContainers"] = [_worker_container(plan.worker_image)]
    if plan.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in plan.pull_secrets]
    return {"metadata": {"annotations": {ANNOTATION_EPOCH: "0", **_POD_ANNOTATIONS}}, "spec": spec}


def probe_job(image: str, worker_image: str) -> Json:
    """Return a Job with an image volume. A dry run shows whether the API server keeps the field."""
    container = {
        "name": "probe",
        "image": worker_image,
        "volumeMounts": [{"name": "probe", "mountPath": "/image"}],
        "securityContext": _CONTAINER_SECURITY,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "ips-flow-probe-"},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [container],
                    "volumes": [
                        {"name": "probe", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}
                    ],
                }
            }
        },
    }


def keeps_image_volume(job: Mapping[str, Any]) -> bool:
    """Return whether a stored Job still has its image volume."""
    return all(
        (volume.get("image") or {}).get("reference") for volume in job["spec"]["template"]["spec"]["volumes"]
    )


def completion_index(pod: Mapping[str, Any]) -> int:
    """Return the completion index of a pull pod."""
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def is_gated(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod still has our scheduling gate."""
    return any(gate["name"] == SCHEDULING_GATE for gate in pod["spec"].get("schedulingGates") or ())


def pod_epoch(pod: Mapping[str, Any]) -> str:
    """Return the epoch in a pod's annotation."""
    return str(pod["metadata"]["annotations"][ANNOTATION_EPOCH])


def ungate_patch(pod: Mapping[str, Any], node: str) -> list[Json]:
    """Return the JSON patch that ungates a pod and pins it to its node.

    The patch fails with 422 if another driver took over the pod.
    """
    pinned = {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
            ]
        }
    }
    gates = [gate for gate in pod["spec"]["schedulingGates"] if gate["name"] != SCHEDULING_GATE]
    return [
        {"op": "test", "path": _EPOCH_POINTER, "value": pod_epoch(pod)},
        {"op": "add", "path": "/spec/affinity", "value": {"nodeAffinity": pinned}},
        {"op": "replace", "path": "/spec/schedulingGates", "value": gates},
        {"op": "add", "path": "/metadata/managedFields", "value": UNTRACKED},
    ]


def epoch_patch(pod: Mapping[str, Any], epoch: str) -> list[Json]:
    """Return the JSON patch with which a new driver takes over a gated pod."""
    return [
        {"op": "test", "path": _EPOCH_POINTER, "value": pod_epoch(pod)},
        {"op": "replace", "path": _EPOCH_POINTER, "value": epoch},
    ]


def deadline_patch(pod: Mapping[str, Any], why: str) -> Json:
    """Return the merge patch that records a pod's container states and makes the kubelet end it within seconds."""
    return {
        "metadata": {"annotations": {ANNOTATION_ENDED: ended_note(pod, why)}},
        "spec": {"activeDeadlineSeconds": 1},
    }


def failed_status_patch(reason: str, message: str) -> Json:
    """Return the merge patch on `pods/status` that marks a pod Failed, for a pod that no kubelet would end."""
    return {"status": {"phase": "Failed", "reason": reason, "message": message}}


def index_data(nodes: Sequence[str]) -> dict[str, str]:
    """Return the `binaryData` that maps completion indexes to nodes. It is stored before the Job is created.

    The data is compressed, since the names of about 20,000 nodes do not fit into a ConfigMap otherwise.
    """
    return pack(_INDEX_KEY, {"nodes": list(nodes)})


def read_index(config_map: Mapping[str, Any]) -> list[str]:
    """Return the nodes by completion index, as `index_data` stored them."""
    nodes: list[str] = unpack(_INDEX_KEY, config_map["binaryData"])["nodes"]
    return nodes


def _resources(index: int) -> Json:
    # The first container has the request of the whole pod. The others request 0, since some quotas require a value.
    return {"requests": {"cpu": "1m", "memory": "8Mi"} if index == 0 else {"cpu": "0", "memory": "0"}}


def _volume_container(plan: GroupPlan, index: int, _image: PlannedImage) -> Json:
    return {
        "name": container_name(index),
        "image": plan.worker_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/busybox", "true"],
        "resources": _resources(index),
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [{"name": container_name(index), "mountPath": "/image", "readOnly": True}],
    }


def _image_volume(index: int, image: PlannedImage) -> Json:
    return {
        "name": container_name(index),
        "image": {"reference": image.image, "pullPolicy": image.pull_policy},
    }


def _image_container(_plan: GroupPlan, index: int, image: PlannedImage) -> Json:
    return {
        "name": container_name(index),
        "image": image.image,
        "imagePullPolicy": image.pull_policy,
        "command": [f"{_SHARED}/busybox", "true"],
        "workingDir": "/",
        "resources": _resources(index),
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [{"name": WORKER_CONTAINER, "mountPath": _SHARED, "readOnly": True}],
    }


def _worker_container(image: str) -> Json:
    return {
        "name": WORKER_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/busybox", "cp", "/bin/busybox", f"{_SHARED}/busybox"],
        "resources": _resources(0),
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [{"name": WORKER_CONTAINER, "mountPath": _SHARED}],
    }
