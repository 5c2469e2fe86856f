"""What the server measures: each metric with its help text, its labels and every value that they can take.

Labels are bounded: no node, no image, no task is one. Every series of a metric exists from the start, as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ips_flows.core.notice.notice import Outcome, event_name
from ips_flows.core.rest.task_store import COLLECTIONS
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.records import FinalStatus
from ips_flows.core.version import __version__

Kind = Literal["counter", "gauge", "histogram"]

STATUSES: tuple[FinalStatus, ...] = ("completed", "failed", "cancelled")
OUTCOMES: tuple[Outcome, ...] = ("delivered", "undelivered", "gone", "refused")
EVENTS = tuple(event_name(status) for status in STATUSES)
FAILURES = tuple(one.value for one in FailureReason)
RESULTS = tuple(one.value for one in Result)
NODE_RESULTS = ("completed", "warm", "failed", "not_reached")
PRIORITIES = tuple(str(number) for number in range(11))
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OTHER = "other"  # a method or a route that nobody serves

_TASK_BUCKETS = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
_QUEUE_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0)
_PULL_BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_BATCH_BUCKETS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)
_API_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, eq=False)
class MetricFamily:
    """One metric. A label without values has those that the server names when it starts: routes and codes."""

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


TASKS = MetricFamily(
    "ips_tasks_total",
    "counter",
    "Tasks that ended, by the status of their verdict. One that was deleted before its verdict is not counted.",
    {"status": STATUSES},
)
TASK_SECONDS = MetricFamily(
    "ips_task_duration_seconds",
    "histogram",
    "From Argo's start of a task to its verdict.",
    {"status": STATUSES},
    _TASK_BUCKETS,
)
ACTIVE = MetricFamily("ips_active_tasks", "gauge", "Tasks that run: each holds a slot of the queue.")
PENDING = MetricFamily("ips_pending_tasks", "gauge", "Tasks that wait in the queue.")
QUEUE_SECONDS = MetricFamily(
    "ips_queue_wait_seconds",
    "histogram",
    "From the creation of a task to Argo's start of it. Priority 0 is a task to which nobody gave one.",
    {"priority": PRIORITIES},
    _QUEUE_BUCKETS,
)
NODES = MetricFamily(
    "ips_nodes_processed_total",
    "counter",
    "Eligible nodes of tasks, counted when a task ends: completed (it brought what was missing), warm (every image "
    "was there before), failed (an image is missing), not_reached (the task ended before).",
    {"result": NODE_RESULTS},
)
IMAGES = MetricFamily(
    "ips_images_pulled_total",
    "counter",
    "Images on eligible nodes (nodes times images) by their result, counted when a task ends: pulled, present "
    "(it was there), failed, skipped (the node was not reached).",
    {"result": RESULTS},
)
BYTES = MetricFamily(
    "ips_image_pulled_bytes_total",
    "counter",
    "Bytes of the images pulled, as far as kubelets told them, counted when a task ends.",
)
FAILED = MetricFamily(
    "ips_node_failures_total",
    "counter",
    "Images that are not on a node although they were asked for (nodes times images) by failure class, counted "
    "when a task ends.",
    {"reason": FAILURES},
)
PULL_SECONDS = MetricFamily(
    "ips_image_pull_duration_seconds",
    "histogram",
    "How long a kubelet pulled an image, by its own word. Counted while tasks run, as results are stored.",
    buckets=_PULL_BUCKETS,
)
BATCH_SECONDS = MetricFamily(
    "ips_batch_execution_duration_seconds",
    "histogram",
    "How long it took until as many nodes as the window holds had ended, from the end of those before. The last "
    "ones of an attempt may be fewer.",
    buckets=_BATCH_BUCKETS,
)
JOBS_MADE = MetricFamily(
    "ips_job_creation_total",
    "counter",
    "Pull Jobs: success is one that was made; failure is a driver pod that was lost, or refused by the API server, "
    "before the Job of its attempt was there.",
    {"status": ("success", "failure")},
)
DELIVERIES = MetricFamily(
    "ips_webhook_deliveries_total",
    "counter",
    "Rounds of delivering a notice, by outcome: delivered, undelivered (it is tried again), gone (410), refused (it "
    "may not be called). Those of deleted tasks are not counted.",
    {"event": EVENTS, "outcome": OUTCOMES},
)
API_REQUESTS = MetricFamily(
    "ips_api_request_total",
    "counter",
    "Requests answered, by the template of their route.",
    {"method": (), "route": (), "code": ()},
)
API_SECONDS = MetricFamily(
    "ips_api_request_duration_seconds",
    "histogram",
    "How long an answer took, by the template of its route. Live updates last as long as somebody looks.",
    {"method": (), "route": (), "code": ()},
    _API_BUCKETS,
)
IN_STEP = MetricFamily(
    "ips_mirror_in_step",
    "gauge",
    "1 while a collection was listed and is watched, 0 while it is listed now and then at best.",
    {"collection": COLLECTIONS},
)
SILENCE = MetricFamily(
    "ips_mirror_silence_seconds",
    "gauge",
    "Since the last word of the API server on a collection, which is listed every 30 s.",
    {"collection": COLLECTIONS},
)
LISTS = MetricFamily(
    "ips_mirror_lists_total",
    "counter",
    "How often a collection was listed whole.",
    {"collection": COLLECTIONS},
)
READS = MetricFamily(
    "ips_results_reads_total",
    "counter",
    "Stored results read for the durations of pulls and batches; one that is gone or can't be read is missing there.",
    {"outcome": ("read", "gone", "failed")},
)
LEASE = MetricFamily(
    "ips_keeper_holds_lease",
    "gauge",
    "1 while this server's keeper acts, 0 while it waits for another's Lease.",
)
FINISH_JOBS = MetricFamily(
    "ips_keeper_finish_jobs_total",
    "counter",
    "Finish Jobs that the keeper started for what Argo's exit handler left.",
)
BUILD = MetricFamily("ips_build_info", "gauge", "1, with the version.", {"version": (__version__,)})

FIGURES = (
    TASKS,
    TASK_SECONDS,
    ACTIVE,
    PENDING,
    QUEUE_SECONDS,
    NODES,
    IMAGES,
    BYTES,
    FAILED,
    PULL_SECONDS,
    BATCH_SECONDS,
    JOBS_MADE,
    DELIVERIES,
    API_REQUESTS,
    API_SECONDS,
    IN_STEP,
    SILENCE,
    LISTS,
    READS,
    LEASE,
    FINISH_JOBS,
    BUILD,
)
