"""The objects that the keeper and `steps.finish` share.

These are the finish Job, the copy of a deleted Workflow's metadata, and the records of its notifications.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ips_flows.core.constants import (
    ANNOTATION_CLEANED,
    ANNOTATION_NOTICE,
    ANNOTATION_VERDICT,
    ANNOTATION_WEBHOOK,
    LABEL_KIND,
    LABEL_STEP,
    LABEL_WORKFLOW_UID,
    PREFIX,
)
from ips_flows.core.k8s.objects import Json, owner_reference
from ips_flows.core.notice.notice import Notice, recorded_notice
from ips_flows.core.pods.pull_job import USER, config_map, workflow_owner
from ips_flows.core.reconcile.decide import ANNOTATION_TRY

KIND_FINISH = "finish"
KIND_DELETED = "deleted"
KIND_NOTICE = "notice"
ANNOTATION_DELETED = PREFIX + "deleted"  # on copies: when the deletion of the Workflow was detected
COPY_CHARACTERS = 64_000

_COMMAND = ["python", "-m", "steps.finish"]
_LIFE_SECONDS = 600
# Longer than the longest pause between two tries of a notification: the previous Job must still exist when the next
# one is due, since its number is read.
_KEPT_SECONDS = 2700
# The annotations that the notification of a task needs. All others are kept if there is room.
_NEEDED = (ANNOTATION_WEBHOOK, ANNOTATION_VERDICT, ANNOTATION_CLEANED, ANNOTATION_NOTICE)
_TEMPORARY = "/tmp"  # noqa: S108  (an emptyDir: the root is read-only)


def job_name(uid: str) -> str:
    """Return the name of a task's finish Job. A fixed name prevents a second Job at the same time."""
    return f"ips-finish-{uid}"


def copy_name(uid: str) -> str:
    """Return the name of the ConfigMap that keeps the metadata of a deleted Workflow."""
    return f"ips-deleted-{uid}"


def finish_image(*specs: Mapping[str, Any] | None) -> str | None:
    """Return the image of the step `finish`, from the first of the Workflow or template specs that has one."""
    for spec in specs:
        for template in (spec or {}).get("templates") or ():
            container = template.get("container") or {}
            if container.get("command") == _COMMAND and container.get("image"):
                return str(container["image"])
    return None


def finish_job(task: str, uid: str, *, image: str, number: int, owner: Json) -> Json:
    """Return the Job that finishes a task. It has no label with the UID: `finish` deletes every Job with that label."""
    labels = {"app.kubernetes.io/part-of": "ips-flow", LABEL_KIND: KIND_FINISH}
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": _COMMAND,
        "args": [task, uid],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": _TEMPORARY}],
    }
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": "ips-flow-finish",
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{key}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 30,
            }
            for key in ("not-ready", "unreachable")
        ],
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(uid),
            "labels": labels,
            "annotations": {ANNOTATION_TRY: str(number)},
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 0,  # another try is the keeper's decision
            "activeDeadlineSeconds": _LIFE_SECONDS,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": {**labels, LABEL_STEP: KIND_FINISH}}, "spec": pod},
        },
    }


def task_owner(metadata: Json) -> Json:
    """Return the owner of the finish Job of a task whose Workflow exists."""
    return workflow_owner(metadata["name"], metadata["uid"])


def copy_owner(copy: Json) -> Json:
    """Return the owner of the finish Job of a deleted task. The Job is deleted with the copy."""
    return owner_reference("v1", "ConfigMap", copy["metadata"]["name"], copy["metadata"]["uid"])


def copy_of(metadata: Json, at: str) -> Json:
    """Return the ConfigMap with the metadata of a deleted Workflow, as much as fits. It has no owner."""
    kept: Json = {
        key: metadata[key] for key in ("name", "namespace", "uid", "creationTimestamp") if key in metadata
    }
    annotations = metadata.get("annotations") or {}
    needed = {key: annotations[key] for key in _NEEDED if key in annotations}
    for more in (
        {"annotations": needed},
        {"labels": metadata.get("labels") or {}},
        {"annotations": annotations},
    ):
        if len(json.dumps(kept | more)) <= COPY_CHARACTERS:
            kept |= more
    uid = metadata["uid"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": copy_name(uid),
            "labels": {LABEL_KIND: KIND_DELETED, LABEL_WORKFLOW_UID: uid},
            "annotations": {ANNOTATION_DELETED: at},
        },
        "data": {"metadata.json": json.dumps(kept, separators=(",", ":"))},
    }


def read_copy(copy: Json) -> tuple[Json, str]:
    """Return the metadata in a copy, and when the deletion of its Workflow was detected."""
    metadata: Json = json.loads(copy["data"]["metadata.json"])
    return metadata, str(copy["metadata"]["annotations"][ANNOTATION_DELETED])


def notice_map(uid: str, made: Notice, owner: Json) -> Json:
    """Return the ConfigMap that records one round of a deleted task's notification. It is deleted with the copy."""
    return config_map(
        f"ips-notice-{uid}-{made.rounds}",
        labels={LABEL_KIND: KIND_NOTICE, LABEL_WORKFLOW_UID: uid},
        owner=owner,
        data={"notice.json": made.to_json()},
    )


def latest_notice(maps: Iterable[Json]) -> dict[str, str]:
    """Return the recorded notifications of deleted tasks by UID, as stored: the final round, else the last one."""
    found: dict[str, tuple[tuple[bool, int], str]] = {}
    for one in maps:
        uid, text = one["metadata"]["labels"][LABEL_WORKFLOW_UID], str(one["data"]["notice.json"])
        known = recorded_notice({ANNOTATION_NOTICE: text})
        rank = (known is None or known.final, known.rounds if known else 0)
        if uid not in found or rank > found[uid][0]:
            found[uid] = (rank, text)
    return {uid: text for uid, (_, text) in found.items()}
