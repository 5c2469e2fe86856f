"""Reasons why an image is not on a node, or a node is skipped, each with its meaning."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Self


class DocumentedEnum(StrEnum):
    """Words that are stored and shown, each with its meaning for the documents."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Make a member of `NAME = word, meaning`; one without a meaning is a TypeError at import."""
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
    """Where to look for the cause of a failure. Every category but CANCELLED has an alert rule."""

    IMAGE = "the image, or its name in the request"
    REGISTRY = "the registry, or the credentials for it"
    NODE = "the node"
    WORKER = "the installation of IPS Flow"
    CANCELLED = "the task was cancelled"


class FailureReason(DocumentedEnum):
    """Reason why a requested image is not on a node."""

    category: FailureCategory

    def __new__(cls, word: str, meaning: str, category: FailureCategory) -> Self:
        """Make a member of `NAME = word, meaning, category`."""
        member = str.__new__(cls, word)  # an Enum's own __new__ only looks members up
        member._value_ = word
        member.meaning, member.category = meaning, category
        return member

    NOT_FOUND = "NotFound", "the registry has no such image or tag", FailureCategory.IMAGE
    UNAUTHORIZED = (
        "Unauthorized",
        "the registry wants credentials, or refuses those it got",
        FailureCategory.REGISTRY,
    )
    RATE_LIMITED = "RateLimited", "the registry says 429", FailureCategory.REGISTRY
    REGISTRY_UNAVAILABLE = (
        "RegistryUnavailable",
        "the registry can't be reached, or answers 5xx",
        FailureCategory.REGISTRY,
    )
    NO_SPACE = "NoSpace", "the node's disk is full", FailureCategory.NODE
    WRONG_PLATFORM = "WrongPlatform", "the image is not made for the node's platform", FailureCategory.IMAGE
    INVALID_IMAGE = "InvalidImage", "what the registry sent is no usable image", FailureCategory.IMAGE
    TIMEOUT = "Timeout", "`nodeTimeout` or `timeout` was up", FailureCategory.NODE
    UNSCHEDULABLE = "Unschedulable", "the scheduler found no room on the node for 60 s", FailureCategory.NODE
    NODE_LOST = "NodeLost", "the node went away, or its kubelet fell silent", FailureCategory.NODE
    WORKER_IMAGE = "WorkerImage", "the pull pod's own tiny image could not be pulled", FailureCategory.WORKER
    CANCELLED = "Cancelled", "the task was cancelled while the node pulled", FailureCategory.CANCELLED
    UNKNOWN = "Unknown", "anything else; the message says what was told", FailureCategory.NODE


class SkipReason(DocumentedEnum):
    """Reason why a node was skipped."""

    NOT_READY = "NotReady", "the node's Ready condition is not True"
    CORDONED = "Cordoned", "the node is cordoned; `includeCordoned: true` warms it too"
    TAINT_NOT_TOLERATED = "TaintNotTolerated", "`tolerations` were given and do not cover the node's taints"
    NOT_SELECTED = "NotSelected", "`nodes`, `nodeSelector` or `selector` leave the node out"
    EXCLUDED = "Excluded", "the node stands in `excludeNodes`"
    WRONG_PLATFORM = "WrongPlatform", "the node does not run Linux"
    VIRTUAL = "Virtual", "there is no kubelet with an image store behind the node (virtual-kubelet, Fargate)"
    BREAKER_OPEN = (
        "BreakerOpen",
        "a whole first window brought no image to any node, so the rest was left alone",
    )
    NOT_REACHED = "NotReached", "the task ended before this node's turn"


# Reasons of the plan; the others are of nodes whose turn never came. The page has the same in `results.js`.
PLANNED_SKIPS = frozenset(SkipReason) - {SkipReason.BREAKER_OPEN, SkipReason.NOT_REACHED}
