"""Why an image is not on a node, and why a node is skipped: the words that are stored and shown."""

from __future__ import annotations

from enum import StrEnum


class Result(StrEnum):
    """What became of an image on a node."""

    PULLED = "pulled"
    PRESENT = "present"
    FAILED = "failed"
    SKIPPED = "skipped"


class FailureReason(StrEnum):
    """Why an image is not on a node although it was asked for."""

    NOT_FOUND = "NotFound"
    UNAUTHORIZED = "Unauthorized"
    RATE_LIMITED = "RateLimited"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    NO_SPACE = "NoSpace"
    WRONG_PLATFORM = "WrongPlatform"
    INVALID_IMAGE = "InvalidImage"
    TIMEOUT = "Timeout"
    UNSCHEDULABLE = "Unschedulable"
    NODE_LOST = "NodeLost"
    WORKER_IMAGE = "WorkerImage"
    CANCELLED = "Cancelled"
    UNKNOWN = "Unknown"


class SkipReason(StrEnum):
    """Why a node was not touched."""

    NOT_READY = "NotReady"
    CORDONED = "Cordoned"
    TAINT_NOT_TOLERATED = "TaintNotTolerated"
    NOT_SELECTED = "NotSelected"
    EXCLUDED = "Excluded"
    WRONG_PLATFORM = "WrongPlatform"
    VIRTUAL = "Virtual"
    BREAKER_OPEN = "BreakerOpen"  # a whole first window brought no image to any node
    NOT_REACHED = "NotReached"  # the task ended before this node's turn
