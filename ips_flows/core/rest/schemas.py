"""The shapes of what the API answers, for its description; tests hold real answers against them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import models_json_schema

from ips_flows.core.request.choices import RetryStrategy
from ips_flows.core.results.records import Mode
from ips_flows.core.task.workflow_status import Status

REF = "#/components/schemas/{model}"

_Time = Annotated[str, Field(description="RFC 3339, UTC", examples=["2026-01-31T12:00:00Z"])]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, strict=True)


class Progress(_Shape):
    """Nodes: all eligible ones, those that have every image, those that lack one."""

    total_nodes: int = Field(description="eligible nodes, the warm ones included")
    completed_nodes: int = Field(description="nodes that have every image, the warm ones included")
    failed_nodes: int
    current_batch: int
    total_batches: int
    percentage: int = Field(ge=0, le=100)


class Wave(_Shape):
    """One wave of nodes."""

    name: str
    nodes: int
    completed_nodes: int
    pulling_nodes: int
    failed_nodes: int


class FailedNode(_Shape):
    """One image that is not on a node."""

    node_name: str
    image: str
    reason: str = Field(description="a class such as NotFound, Unauthorized, Timeout", examples=["NotFound"])
    message: str
    timestamp: _Time


class Attempt(_Shape):
    """One attempt of a wave that was tried again."""

    wave: str
    attempt: int
    started_at: _Time | None
    finished_at: _Time | None
    nodes: int
    failed_nodes: int
    failures: dict[str, int]
    next_delay_seconds: int | None


class Notice(_Shape):
    """What became of the webhook."""

    outcome: Literal["pending", "delivered", "undelivered", "gone", "refused"]
    reason: str | None
    tries: int
    last_at: _Time | None


class Counts(_Shape):
    """The counts of an ended task."""

    eligible: int
    completed: int
    warm: int
    failed: int
    not_reached: int
    skipped: dict[str, int]
    images: dict[str, int]
    failures: dict[str, int]
    bytes: int
    seconds: float


class ImageStatus(_Shape):
    """What became of an image on a node. Null is what nobody told."""

    result: Literal["pulled", "present", "failed", "skipped"]
    reason: str | None
    seconds: float | None
    bytes: int | None
    digest: str | None


class ListedTask(_Shape):
    """A task as lists have it: at most 20 of `failedNodeDetails`, and no `nodeStatuses`."""

    task_id: str
    namespace: str
    uid: str
    status: Status
    priority: int
    queue_position: int | None = Field(description="from 1, while it waits")
    images: list[str]
    batch_size: int | str
    window: int | None = Field(description="how many nodes may pull at once now; 0 is a pause")
    node_selector: dict[str, str]
    progress: Progress
    waves: list[Wave]
    failed_node_details: list[FailedNode]
    skipped_nodes: dict[str, int] = Field(description="how many were left out, by reason")
    mode: Mode | None
    max_retries: int
    retry_count: int
    retry_strategy: RetryStrategy
    retry_delay: int = Field(description="seconds")
    retry_history: list[Attempt]
    next_retry_at: _Time | None
    webhook_url: str | None
    notice: Notice | None
    created_at: _Time | None
    started_at: _Time | None
    finished_at: _Time | None
    estimated_completion: _Time | None
    message: str | None
    error_message: str | None
    summary: Counts | None


class Task(ListedTask):
    """A task."""

    drift: dict[str, list[str]] = Field(description="different digests that nodes hold for one reference")
    node_statuses: dict[str, dict[str, ImageStatus]] = Field(
        description="node → image, as the request has it → what became of it"
    )


class TaskList(_Shape):
    """A page of the tasks, newest first."""

    tasks: list[ListedTask]
    total: int = Field(description="how many tasks fit status and search")
    limit: int
    offset: int


class Detail(_Shape):
    """One thing that is wrong; `line` and `column` count from 1, 0 where there is no text."""

    field: str = Field(examples=["images[2].pullPolicy"])
    message: str
    line: int = 0
    column: int = 0


class Error(_Shape):
    """Why a request was not carried out."""

    error: str
    hint: str = Field("", description="what to do about it")
    details: list[Detail] = []
    status: str = Field("", description="of a task that has ended already: how")
    request_id: str = Field(description="as in X-Request-Id, and in the server's log")


class Condition(_Shape):
    """How the server is."""

    status: Literal["ok", "stuck", "not ready", "degraded"]
    reason: str = ""


def schemas() -> dict[str, Any]:
    """All of them as JSON schemas, by name."""
    _, found = models_json_schema(
        [(kind, "validation") for kind in (Task, TaskList, Error, Condition)], ref_template=REF
    )
    return dict(found["$defs"])
