"""Issues of a forecast. An error would fail the task; a warning would not, or is uncertain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ips_flows.core.results.reasons import DocumentedEnum, FailureReason

Level = Literal["error", "warning"]


class IssueKind(DocumentedEnum):
    """Kind of a warning that is not a class of failure."""

    UNVERIFIED = "Unverified", "the image could not be checked from this host; nodes may be able to pull it"
    UNSUITED = (
        "Unsuited",
        "the image is built only for another platform: nodes can pull it, but not run it",
    )
    NO_IMAGE = "NoImage", "the artifact is not a container image, for example a Helm chart"
    ELSEWHERE = "Elsewhere", "some layers are stored outside the registry, and were not checked"
    STALE = (
        "Stale",
        "nodes have other content for this tag than the registry, and `IfNotPresent` does not update it",
    )
    DISK_TIGHT = "DiskTight", "the unpacked images may not fit into a node's ephemeral storage"
    IMAGE_COLLECTION = (
        "ImageCollection",
        "disk usage would reach the level at which the kubelet removes unused images",
    )
    DISK_UNKNOWN = "DiskUnknown", "`--check-disk` got no disk usage from kubelets"
    PULL_SECRET = "PullSecret", "a pull Secret is missing, unreadable or malformed"
    NODE_TIMEOUT = "NodeTimeout", "at this bandwidth a node needs more time than `nodeTimeout`"
    TASK_TIMEOUT = "TaskTimeout", "at this bandwidth the task needs more time than `timeout`"
    WINDOW = "Window", "the window is larger than Kubernetes' controllers can fill with default settings"
    MODE = "Mode", "the mode could not be determined with certainty"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue. `nodes` is the number of affected nodes (0 if it is not about nodes), and `node` is the first of them.

    `kind` is a class of failure if the issue makes nodes fail.
    """

    level: Level
    kind: IssueKind | FailureReason
    message: str
    image: str = ""
    nodes: int = 0
    node: str = ""
    hint: str = ""
