"""Stored records of a task: the plan in short, the progress of a group, the attempts, the verdict with its counts.

They are stored as JSON in annotations, so that a list of tasks needs metadata only.
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
    """A value that is stored as JSON with camelCase names; unknown names of a newer version are ignored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """The record as compact JSON."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls.model_validate_json(text)


class StoredRecord(Record):
    """A record that outlives the program that wrote it. Reading a newer format raises NewerFormatError."""

    v: int = stored_format.FORMAT
    needs: str = stored_format.NEEDED

    @model_validator(mode="before")
    @classmethod
    def _known_format(cls, document: Any) -> Any:
        if isinstance(document, dict):
            stored_format.check_format(document, f"{cls.__name__} is")
        return document


class WaveSummary(Record):
    """One wave: its name in the Argo UI, and its number of nodes to do."""

    name: str
    nodes: int


class PlanSummary(StoredRecord):
    """The plan in short. `eligible` = `warm` + `to_do`; the nodes of the waves add up to `to_do`."""

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
    """Progress of an attempt of a group: `total` = done + failed + pulling + those that wait."""

    group: int
    attempt: int
    wave: str
    total: int
    done: int = 0
    pulling: int = 0
    failed: int = 0
    window: int | None = None  # the one in force; 0 is a pause
    failures: tuple[FailureLine, ...] = ()  # the latest, at most 10
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
    """The counts of a task. A node is completed when every image is on it, the warm ones included.

    `failed` counts nodes with a failed image and nodes never reached; `skipped` those that the plan left out.
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
    """The end of a task, written once. `event_id` is the same in every notice of it."""

    status: FinalStatus
    event_id: str
    at: str
    started_at: str
    message: str
    summary: Summary | None  # None when no plan was made
    losses_allowed: int = 0
    drift: dict[str, tuple[str, ...]] = {}  # reference → the different digests that nodes hold
    retries: tuple[AttemptSummary, ...] = ()  # the attempts of waves that were retried
    notify: bool = False  # a notice is owed to a webhook


def failure_lines(
    node: str, result: NodeResult, images: Sequence[str], limit: int = _FAILURES_SHOWN
) -> list[FailureLine]:
    """The failed images of a node, for display. Results of another program may be fewer or more than `images`."""
    return [
        FailureLine(node=node, image=name, reason=image.reason, message=image.message, at=result.at)
        for name, image in zip(images, result.images, strict=False)
        if image.result is Result.FAILED
    ][:limit]
