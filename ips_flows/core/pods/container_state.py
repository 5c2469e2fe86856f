"""Container states of a pull pod, and the annotation that records them before a driver ends the pod."""

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
ENDED_SETTLED = "settled"  # no further image could be pulled
ENDED_TIMEOUT = "timeout"
ENDED_CANCELLED = "cancelled"  # the task was stopped

# Waiting reasons of a container that waits for its image.
PULL_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "InvalidImageName",
    "ErrImageNeverPull",
)
# Waiting reasons of a container that can't run although its image is on the node.
NOT_RUNNABLE_REASONS = (
    "CreateContainerError",
    "CreateContainerConfigError",
    "RunContainerError",
    "StartError",
)


@dataclass(frozen=True, slots=True)
class ContainerState:
    """State of one container. `reason` and `message` are set while the container waits."""

    reason: str = ""
    message: str = ""
    started: bool = False
    ended: bool = False
    image_id: str = ""
    digest: str = ""  # of the image volume, if the kubelet reports it


def container_name(index: int) -> str:
    """Return the name of the container that pulls the image with this index."""
    return f"image-{index}"


def container_states(pod: Mapping[str, Any]) -> dict[str, ContainerState]:
    """Return the states of a pod's containers by name, including init containers.

    States recorded in the annotation before the pod was ended take precedence over the status, which the kubelet
    overwrites with `ContainerStatusUnknown`.
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
    """Return the annotation value that records the container states of a pod before it is ended."""
    containers = {
        name: {key: getattr(seen, key) for key in ContainerState.__slots__ if getattr(seen, key)}
        for name, seen in container_states(pod).items()
    }
    return json.dumps({"why": why, "containers": containers}, separators=(",", ":"))


def end_reason(pod: Mapping[str, Any]) -> str | None:
    """Return why a driver ended a pod, one of ENDED_*; None if no driver ended it."""
    noted = objects.annotations(pod).get(ANNOTATION_ENDED)
    return str(json.loads(noted)["why"]) if noted else None


def waiting_message(seen: ContainerState) -> str:
    """Return the message of a waiting container, without the kubelet's text before the registry's message."""
    text = seen.message
    if text.startswith("Back-off pulling image") and "ErrImagePull: " in text:
        text = text.split("ErrImagePull: ", 1)[1]
    return text or seen.reason


def is_terminal(pod: Mapping[str, Any]) -> bool:
    """Return whether no container of the pod will run any more."""
    return (pod.get("status") or {}).get("phase") in TERMINAL_PHASES


def _state(entry: Mapping[str, Any]) -> ContainerState:
    state = entry.get("state") or {}
    waiting = state.get("waiting") or {}
    terminated = state.get("terminated") or {}
    # The kubelet writes this reason when it no longer knows the container.
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
    """Return the image of a container's image volume; '' if the kubelet does not report it."""
    for mount in entry.get("volumeMounts") or ():
        image = (mount.get("volumeStatus") or {}).get("image") or {}
        if image.get("imageRef"):
            return str(image["imageRef"])
    return ""


def digest_of(image_id: str) -> str | None:
    """Return the digest in the image ID of a container's status; None if the ID has no digest."""
    digest = image_id.rpartition("@")[2]
    return digest if "@" in image_id and digest.startswith("sha256:") else None
