"""Reasons why an image is not on a node or a node is skipped, each with its meaning."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Self


class DocumentedEnum(StrEnum):
    """Stored values, each with a meaning for the documents."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Create a member from `NAME = word, meaning`. A member without a meaning is a TypeError at import."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member


class Result(StrEnum):
    """Result of an image on a node."""

    PULLED = "pulled"
    PRESENT = "present"
    FAILED = "failed"
    SKIPPED = "skipped"


class FailureCategory(Enum):
    """The area in which a failure has its cause. Every category except CANCELLED has an alert rule."""

    IMAGE = "the image, or its name in the request"
    REGISTRY = "the registry, or the credentials for it"
    NODE = "the node"
    WORKER = "the installation of IPS Flow"
    CANCELLED = "the task was cancelled"


class FailureReason(DocumentedEnum):
    """Reason why a requested image is not on a node."""

    category: FailureCategory

    def __new__(cls, word: str, meaning: str, category: FailureCategory) -> Self:
        """Create a member from `NAME = word, meaning, category`."""
        member = str.__new__(cls, word)  # Enum.__new__ only returns existing members
        member._value_ = word
        member.meaning, member.category = meaning, category
        return member

    NOT_FOUND = "NotFound", "the registry has no such image or tag", FailureCategory.IMAGE
    UNAUTHORIZED = (
        "Unauthorized",
        "the registry requires credentials, or rejects the credentials that it received",
        FailureCategory.REGISTRY,
    )
    RATE_LIMITED = "RateLimited", "the registry limits requests (HTTP 429)", FailureCategory.REGISTRY
    REGISTRY_UNAVAILABLE = (
        "RegistryUnavailable",
        "the registry is unreachable, or returns HTTP 5xx",
        FailureCategory.REGISTRY,
    )
    NO_SPACE = "NoSpace", "the node's disk is full", FailureCategory.NODE
    WRONG_PLATFORM = "WrongPlatform", "the image does not support the node's platform", FailureCategory.IMAGE
    INVALID_IMAGE = (
        "InvalidImage",
        "the content from the registry is not a valid image",
        FailureCategory.IMAGE,
    )
    TIMEOUT = "Timeout", "`nodeTimeout` or `timeout` expired", FailureCategory.NODE
    UNSCHEDULABLE = (
        "Unschedulable",
        "the pull pod could not be scheduled on the node for 60 s",
        FailureCategory.NODE,
    )
    NODE_LOST = "NodeLost", "the node was deleted, or its kubelet stopped reporting", FailureCategory.NODE
    WORKER_IMAGE = (
        "WorkerImage",
        "the image of the pull pod itself could not be pulled",
        FailureCategory.WORKER,
    )
    CANCELLED = "Cancelled", "the task was cancelled while the node was pulling", FailureCategory.CANCELLED
    UNKNOWN = "Unknown", "any other failure; see its message", FailureCategory.NODE


class SkipReason(DocumentedEnum):
    """Reason why a node was skipped."""

    NOT_READY = "NotReady", "the node's Ready condition is not True"
    CORDONED = "Cordoned", "the node is cordoned; `includeCordoned: true` includes it"
    TAINT_NOT_TOLERATED = (
        "TaintNotTolerated",
        "the `tolerations` of the request do not cover the node's taints",
    )
    NOT_SELECTED = "NotSelected", "`nodes`, `nodeSelector` or `selector` does not match the node"
    EXCLUDED = "Excluded", "`excludeNodes` lists the node"
    WRONG_PLATFORM = "WrongPlatform", "the node does not run Linux"
    VIRTUAL = "Virtual", "the node has no kubelet with an image store (virtual-kubelet, Fargate)"
    BREAKER_OPEN = (
        "BreakerOpen",
        "no node of the first window got an image, so the other nodes were not started",
    )
    NOT_REACHED = "NotReached", "the task ended before the node was started"


# Reasons that the plan gives. Nodes with the other reasons were never started. `results.js` of the page has the same set.
PLANNED_SKIPS = frozenset(SkipReason) - {SkipReason.BREAKER_OPEN, SkipReason.NOT_REACHED}
