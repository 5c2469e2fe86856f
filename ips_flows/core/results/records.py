"""Stored records of a task: summary of the plan, progress of a group, attempts, verdict with counts.

The records are stored as JSON in annotations, so that a list of tasks needs only metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from ips_flows.core import stored_format
from ips_flows.core.request.choices import RetryStrategy
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.results import NodeResult

Mode = Literal["volume", "container"]
FinalStatus = Literal["completed", "failed", "cancelled"]

_FAILURES_SHOWN = 10


class Record(BaseModel):
    """A value that is stored as JSON with camelCase names. Unknown names of newer versions are ignored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """Return the record as compact JSON."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of `to_json`."""
        return cls.model_validate_json(text)


class StoredRecord(Record):
    """A record that other versions of IPS Flow may read. Parsing a newer format raises NewerFormatError."""

    v: int = stored_format.FORMAT
    needs: str = stored_format.NEEDED

    @model_validator(mode="before")
    @classmethod
    def _known_format(cls, document: Any) -> Any:
        if isinstance(document, dict):
            stored_format.check_format(document, f"{cls.__name__} is")
        return document


class WaveSummary(Record):
    """A wave: its name in the Argo UI, and its number of nodes to do."""

    name: str
    nodes: int


class PlanSummary(StoredRecord):
    """The summary of a plan. `eligible` = `warm` + `to_do`, and `to_do` is the sum of the waves' nodes."""

    mode: Mode
    mode_reason: str
    window: int
    eligible: int
    warm: int
    to_do: int
    skipped: dict[str, int]
    waves: tuple[WaveSummary, ...]
    images: tuple[str, ...]
    priority: int
    losses_allowed: int
    deadline: str  # RFC 3339 UTC
    planned_at: str
    max_retries: int = 0
    retry_strategy: RetryStrategy = "linear"
    retry_delay: int = 0  # seconds


class FailureLine(Record):
    """A failed image on a node, for display."""

    node: str
    image: str
    reason: str
    message: str
    at: str


class GroupProgress(Record):
    """Progress of an attempt of a group: `total` = done + failed + pulling + waiting nodes."""

    group: int
    attempt: int
    wave: str
    total: int
    done: int = 0
    pulling: int = 0
    failed: int = 0
    window: int | None = None  # the current window; 0 is a pause
    failures: tuple[FailureLine, ...] = ()  # the latest failures, at most 10
    classes: dict[str, int] = {}  # nodes × images that are missing, by class
    started: str = ""
    at: str = ""


class AttemptSummary(Record):
    """One attempt of a group, counted from 0. `failures` counts nodes × images by class.

    `ended_at` is empty until the attempt ends.
    """

    group: int
    wave: str
    attempt: int
    nodes: int
    failed: int
    failures: dict[str, int]
    started_at: str
    ended_at: str
    next_delay: int | None = None  # seconds until the next attempt; None if none follows


class Summary(Record):
    """The counts of a task. A node is completed if every image is on it; warm nodes are included.

    `failed` counts nodes with a failed image and nodes that were never started. `skipped` counts the nodes that the
    plan skipped, by reason.
    """

    eligible: int
    completed: int
    warm: int
    failed: int
    not_reached: int
    skipped: dict[str, int]
    images: dict[str, int]  # by result, over eligible nodes
    failures: dict[str, int]  # nodes × images by class
    bytes: int  # sum of the known sizes
    seconds: float  # from the plan to the verdict


class Verdict(StoredRecord):
    """The final result of a task, written once. Every notification of it has the same `event_id`."""

    status: FinalStatus
    event_id: str
    at: str
    started_at: str
    message: str
    summary: Summary | None  # None when no plan was made
    losses_allowed: int = 0
    drift: dict[str, tuple[str, ...]] = {}  # reference → the different digests on the nodes
    retries: tuple[AttemptSummary, ...] = ()  # the attempts of waves that were retried
    notify: bool = False  # a webhook notification must be sent


def failure_lines(
    node: str, result: NodeResult, images: Sequence[str], limit: int = _FAILURES_SHOWN
) -> list[FailureLine]:
    """Return the failed images of a node, for display. Results of another program may not match `images` in number."""
    return [
        FailureLine(node=node, image=name, reason=image.reason, message=image.message, at=result.at)
        for name, image in zip(images, result.images, strict=False)
        if image.result is Result.FAILED
    ][:limit]
