"""What a pod's status says of its containers, and the note that is kept before a driver ends the pod."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ips_flows.core.constants import ANNOTATION_ENDED
from ips_flows.core.k8s import objects

ENDED_SETTLED = "settled"  # why a driver ended a pod: nothing more could come of it,
ENDED_TIMEOUT = "timeout"  # its time was up,
ENDED_CANCELLED = "cancelled"  # or the task was stopped
TERMINAL_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What a pod's status said of one container. `reason` and `message` are those of a waiting container."""

    reason: str = ""
    message: str = ""
    started: bool = False
    ended: bool = False
    image_id: str = ""
    digest: str = ""  # of the image volume, where the kubelet reports it


def container_states(pod: Mapping[str, Any]) -> dict[str, ContainerState]:
    """What a pod's status says of its containers now, the init container included.

    What was seen before we ended the pod counts more: the kubelet overwrites it with `ContainerStatusUnknown`.
    """
    status = pod.get("status") or {}
    now = {
        entry["name"]: _seen(entry)
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
    """The text for the annotation that keeps what was seen before a pod is ended."""
    containers = {
        name: {key: getattr(seen, key) for key in ContainerState.__slots__ if getattr(seen, key)}
        for name, seen in container_states(pod).items()
    }
    return json.dumps({"why": why, "containers": containers}, separators=(",", ":"))


def end_reason(pod: Mapping[str, Any]) -> str:
    """Why a driver ended a pod, or an empty text."""
    noted = objects.annotations(pod).get(ANNOTATION_ENDED)
    return str(json.loads(noted)["why"]) if noted else ""


def is_terminal(pod: Mapping[str, Any]) -> bool:
    """Whether no container of the pod will run any more."""
    return (pod.get("status") or {}).get("phase") in TERMINAL_PHASES


def _seen(entry: Mapping[str, Any]) -> ContainerState:
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
        digest=_digest_of(_volume_image(entry)) or "",
    )


def _volume_image(entry: Mapping[str, Any]) -> str:
    """The image behind a container's image volume, where the kubelet reports it."""
    for mount in entry.get("volumeMounts") or ():
        image = (mount.get("volumeStatus") or {}).get("image") or {}
        if image.get("imageRef"):
            return str(image["imageRef"])
    return ""


def _digest_of(image_id: str) -> str | None:
    digest = image_id.rpartition("@")[2]
    return digest if "@" in image_id and digest.startswith("sha256:") else None
