"""Schemas of the API's responses, for the OpenAPI description. Tests validate real responses against them."""

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
    """Numbers of nodes: eligible, with every image, with a missing image."""

    total_nodes: int = Field(description="number of eligible nodes, including warm nodes")
    completed_nodes: int = Field(description="number of nodes with every image, including warm nodes")
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
    """One image that is missing on a node."""

    node_name: str
    image: str
    reason: str = Field(
        description="failure class, such as NotFound, Unauthorized or Timeout", examples=["NotFound"]
    )
    message: str
    timestamp: _Time


class Attempt(_Shape):
    """One attempt of a wave that was retried."""

    wave: str
    attempt: int
    started_at: _Time | None
    finished_at: _Time | None
    nodes: int
    failed_nodes: int
    failures: dict[str, int]
    next_delay_seconds: int | None


class Notice(_Shape):
    """Delivery of the webhook notification."""

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
    """Result of an image on a node. Unknown values are null."""

    result: Literal["pulled", "present", "failed", "skipped"]
    reason: str | None
    seconds: float | None
    bytes: int | None
    digest: str | None


class ListedTask(_Shape):
    """A task in a list: at most 20 entries in `failedNodeDetails`, and no `nodeStatuses`."""

    task_id: str
    namespace: str
    uid: str
    status: Status
    priority: int
    queue_position: int | None = Field(description="position in the queue from 1, while the task waits")
    images: list[str]
    batch_size: int | str
    window: int | None = Field(
        description="number of nodes that may pull at the same time now; 0 means paused"
    )
    node_selector: dict[str, str]
    progress: Progress
    waves: list[Wave]
    failed_node_details: list[FailedNode]
    skipped_nodes: dict[str, int] = Field(description="number of skipped nodes by reason")
    mode: Mode | None
    max_retries: int
    retry_count: int
    retry_strategy: RetryStrategy
    retry_delay: int = Field(description="delay before a retry, in seconds")
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
    """A task with all details."""

    drift: dict[str, list[str]] = Field(
        description="references for which nodes have different digests, with these digests"
    )
    node_statuses: dict[str, dict[str, ImageStatus]] = Field(
        description="result by node name and by image reference as in the request"
    )


class TaskList(_Shape):
    """A page of tasks, newest first."""

    tasks: list[ListedTask]
    total: int = Field(description="number of tasks that match status and search")
    limit: int
    offset: int


class Detail(_Shape):
    """One problem. `line` and `column` count from 1; 0 if the position is unknown."""

    field: str = Field(examples=["images[2].pullPolicy"])
    message: str
    line: int = 0
    column: int = 0


class Error(_Shape):
    """The reason why a request failed."""

    error: str
    hint: str = Field("", description="advice on how to fix the problem")
    details: list[Detail] = []
    status: str = Field("", description="final status, if the task has already ended")
    request_id: str = Field(
        description="ID of the request, also in header X-Request-Id and in the server's log"
    )


class Condition(_Shape):
    """State of the server."""

    status: Literal["ok", "stuck", "not ready", "degraded"]
    reason: str = ""


def schemas() -> dict[str, Any]:
    """Return all schemas as JSON Schema, by name."""
    _, found = models_json_schema(
        [(kind, "validation") for kind in (Task, TaskList, Error, Condition)], ref_template=REF
    )
    return dict(found["$defs"])
