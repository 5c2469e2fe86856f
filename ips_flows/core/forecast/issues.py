"""Issues of a forecast: an error would fail the task; a warning would not, or is uncertain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ips_flows.core.results.reasons import DocumentedEnum, FailureReason

Level = Literal["error", "warning"]


class IssueKind(DocumentedEnum):
    """What a warning is about, where it is no class of failure."""

    UNVERIFIED = "Unverified", "whether the image is there for the nodes can't be told from here"
    UNSUITED = (
        "Unsuited",
        "the image stands alone, made for another platform: nodes may fetch it, but can't run it",
    )
    NO_IMAGE = "NoImage", "it is another artifact in an image's wrapping, such as a chart"
    ELSEWHERE = "Elsewhere", "layers come from another place than the registry, which was not asked"
    STALE = (
        "Stale",
        "nodes hold another content under this tag than the registry, and `IfNotPresent` leaves it so",
    )
    DISK_TIGHT = "DiskTight", "unpacked, the images may not fit into a node's ephemeral storage"
    IMAGE_COLLECTION = "ImageCollection", "the kubelet would begin to remove images that no pod uses"
    DISK_UNKNOWN = "DiskUnknown", "`--check-disk` got no word from nodes"
    PULL_SECRET = "PullSecret", "a pull Secret is missing, unreadable or malformed"
    NODE_TIMEOUT = "NodeTimeout", "at this bandwidth a node needs longer than `nodeTimeout`"
    TASK_TIMEOUT = "TaskTimeout", "at this bandwidth the task needs longer than `timeout`"
    WINDOW = "Window", "the window is more than stock controllers can feed"
    MODE = "Mode", "the mode could not be told for certain"


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem. `nodes` counts the nodes that it is about, 0 where it is about none, and `node` is the first of them.

    `kind` is a class of failure if it makes nodes fail.
    """

    level: Level
    kind: IssueKind | FailureReason
    message: str
    image: str = ""
    nodes: int = 0
    node: str = ""
    hint: str = ""
