"""Container states of a pull pod, and the note that a driver leaves before it ends the pod."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ips_flows.core.constants import ANNOTATION_ENDED
from ips_flows.core.k8s import objects

WORKER_CONTAINER = "worker"
TERMINAL_PHASES = ("Succeeded", "Failed")
# Why a driver ended a pod.
ENDED_SETTLED = "settled"  # no further image could come
ENDED_TIMEOUT = "timeout"
ENDED_CANCELLED = "cancelled"  # the task was stopped

# Reasons of a container that waits for its image.
PULL_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "InvalidImageName",
    "ErrImageNeverPull",
)
# Reasons of a container that can't run although its image is on the node.
NOT_RUNNABLE_REASONS = (
    "CreateContainerError",
    "CreateContainerConfigError",
    "RunContainerError",
    "StartError",
)


@dataclass(frozen=True, slots=True)
class ContainerState:
    """State of one container. `reason` and `message` are set while it waits."""

    reason: str = ""
    message: str = ""
    started: bool = False
    ended: bool = False
    image_id: str = ""
    digest: str = ""  # of the image volume, where the kubelet reports it


def container_name(index: int) -> str:
    """Name of the container that pulls the image with this index."""
    return f"image-{index}"


def container_states(pod: Mapping[str, Any]) -> dict[str, ContainerState]:
    """The states of a pod's containers by name, init containers included.

    A note that was written before the pod was ended wins over the status, which the kubelet overwrites with
    `ContainerStatusUnknown`.
    """
    status = pod.get("status") or {}
    now = {
        entry["name"]: _state(entry)
        for key in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(key) or ()
    }
    noted = objects.annotations(pod).get(ANNOTATION_ENDED)
    return (
        now | {name: ContainerState(**entry) for name, entry in json.loads(noted)["containers"].items()}
        if noted
        else now
    )


def ended_note(pod: Mapping[str, Any], why: str) -> str:
    """The value of the annotation that keeps the container states of a pod that is about to be ended."""
    containers = {
        name: {key: getattr(seen, key) for key in ContainerState.__slots__ if getattr(seen, key)}
        for name, seen in container_states(pod).items()
    }
    return json.dumps({"why": why, "containers": containers}, separators=(",", ":"))


def end_reason(pod: Mapping[str, Any]) -> str | None:
    """Why a driver ended a pod, one of ENDED_*; None if none did."""
    noted = objects.annotations(pod).get(ANNOTATION_ENDED)
    return str(json.loads(noted)["why"]) if noted else None


def waiting_message(seen: ContainerState) -> str:
    """The message of a waiting container, without the text that the kubelet puts before the registry's."""
    text = seen.message
    if text.startswith("Back-off pulling image") and "ErrImagePull: " in text:
        text = text.split("ErrImagePull: ", 1)[1]
    return text or seen.reason


def is_terminal(pod: Mapping[str, Any]) -> bool:
    """Whether no container of the pod will run any more."""
    return (pod.get("status") or {}).get("phase") in TERMINAL_PHASES


def _state(entry: Mapping[str, Any]) -> ContainerState:
    state = entry.get("state") or {}
    waiting = state.get("waiting") or {}
    terminated = state.get("terminated") or {}
    # What the kubelet writes when it no longer knows the container.
    known = terminated.get("reason") != "ContainerStatusUnknown"
    return ContainerState(
        reason=waiting.get("reason") or "",
        message=waiting.get("message") or "",
        started="running" in state or bool(known and terminated.get("startedAt")),
        ended=bool(terminated),
        image_id=entry.get("imageID") or "",
        digest=digest_of(_volume_image(entry)) or "",
    )


def _volume_image(entry: Mapping[str, Any]) -> str:
    """The image behind a container's image volume, where the kubelet reports it."""
    for mount in entry.get("volumeMounts") or ():
        image = (mount.get("volumeStatus") or {}).get("image") or {}
        if image.get("imageRef"):
            return str(image["imageRef"])
    return ""


def digest_of(image_id: str) -> str | None:
    """The digest in an image ID of a container's status; None if it has none."""
    digest = image_id.rpartition("@")[2]
    return digest if "@" in image_id and digest.startswith("sha256:") else None
