"""The metrics of the server, each with its help text, its labels and all possible label values.

Label values are bounded: nodes, images and tasks are not labels. Every series exists from the start with value 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ips_flows.core.notice.notice import Outcome, event_name
from ips_flows.core.request.limits import PRIORITY
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
PRIORITIES = tuple(str(number) for number in range(PRIORITY.high + 1))
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OTHER = "other"  # an unknown method or route

_TASK_BUCKETS = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
_QUEUE_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0)
_PULL_BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_BATCH_BUCKETS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)
_API_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, eq=False)
class MetricFamily:
    """One metric. A label without values (route, code) gets its values when the server starts."""

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


TASKS = MetricFamily(
    "ips_tasks_total",
    "counter",
    "Number of tasks that ended, by the status of their verdict. Tasks deleted before their verdict are not counted.",
    {"status": STATUSES},
)
TASK_SECONDS = MetricFamily(
    "ips_task_duration_seconds",
    "histogram",
    "Duration from the start of a task by Argo to its verdict, in seconds.",
    {"status": STATUSES},
    _TASK_BUCKETS,
)
ACTIVE = MetricFamily("ips_active_tasks", "gauge", "Number of running tasks. Each holds a slot of the queue.")
PENDING = MetricFamily("ips_pending_tasks", "gauge", "Number of tasks that wait in the queue.")
QUEUE_SECONDS = MetricFamily(
    "ips_queue_wait_seconds",
    "histogram",
    "Duration from the creation of a task to its start by Argo, in seconds. Priority 0: the task has no priority.",
    {"priority": PRIORITIES},
    _QUEUE_BUCKETS,
)
NODES = MetricFamily(
    "ips_nodes_processed_total",
    "counter",
    "Number of eligible nodes by result, counted when a task ends: completed (missing images were pulled), warm "
    "(every image was already present), failed (an image is missing), not_reached (the task ended before the node's "
    "pull).",
    {"result": NODE_RESULTS},
)
IMAGES = MetricFamily(
    "ips_images_pulled_total",
    "counter",
    "Number of images on eligible nodes (nodes times images) by result, counted when a task ends: pulled, present "
    "(already on the node), failed, skipped (the node was not reached).",
    {"result": RESULTS},
)
BYTES = MetricFamily(
    "ips_image_pulled_bytes_total",
    "counter",
    "Bytes of pulled images whose size the kubelet reported, counted when a task ends.",
)
FAILED = MetricFamily(
    "ips_node_failures_total",
    "counter",
    "Number of requested images that are missing on nodes (nodes times images) by failure class, counted when a task "
    "ends.",
    {"reason": FAILURES},
)
PULL_SECONDS = MetricFamily(
    "ips_image_pull_duration_seconds",
    "histogram",
    "Duration of an image pull as reported by the kubelet, in seconds. Observed when results are stored, while the "
    "task runs.",
    buckets=_PULL_BUCKETS,
)
BATCH_SECONDS = MetricFamily(
    "ips_batch_execution_duration_seconds",
    "histogram",
    "Duration of a batch in seconds, from the end of the previous batch or the start of the attempt. A batch has as "
    "many nodes as the window; the last batch of an attempt may be smaller.",
    buckets=_BATCH_BUCKETS,
)
JOBS_MADE = MetricFamily(
    "ips_job_creation_total",
    "counter",
    "Number of pull Jobs by status: success (the Job was created), failure (the driver pod failed, or the API server "
    "refused it, before the Job of its attempt existed).",
    {"status": ("success", "failure")},
)
DELIVERIES = MetricFamily(
    "ips_webhook_deliveries_total",
    "counter",
    "Number of delivery rounds of webhook notifications by outcome: delivered, undelivered (tried again), gone (410), "
    "refused (forbidden target). Rounds of deleted tasks are not counted.",
    {"event": EVENTS, "outcome": OUTCOMES},
)
API_REQUESTS = MetricFamily(
    "ips_api_request_total",
    "counter",
    "Number of API requests with a response, by route template.",
    {"method": (), "route": (), "code": ()},
)
API_SECONDS = MetricFamily(
    "ips_api_request_duration_seconds",
    "histogram",
    "Duration of API requests in seconds, by route template. Live updates last as long as their connection.",
    {"method": (), "route": (), "code": ()},
    _API_BUCKETS,
)
IN_STEP = MetricFamily(
    "ips_mirror_in_step",
    "gauge",
    "1 if a collection is listed and watched, otherwise 0.",
    {"collection": COLLECTIONS},
)
SILENCE = MetricFamily(
    "ips_mirror_silence_seconds",
    "gauge",
    "Seconds since the last response of the API server for a collection. Each collection is listed every 30 s.",
    {"collection": COLLECTIONS},
)
LISTS = MetricFamily(
    "ips_mirror_lists_total",
    "counter",
    "Number of complete lists of a collection.",
    {"collection": COLLECTIONS},
)
READS = MetricFamily(
    "ips_results_reads_total",
    "counter",
    "Number of stored results read for the durations of pulls and batches, by outcome. Results with outcome gone or "
    "failed are missing in these durations.",
    {"outcome": ("read", "gone", "failed")},
)
LEASE = MetricFamily(
    "ips_keeper_holds_lease",
    "gauge",
    "1 if the keeper of this server holds the Lease, otherwise 0.",
)
FINISH_JOBS = MetricFamily(
    "ips_keeper_finish_jobs_total",
    "counter",
    "Number of finish Jobs that the keeper started because Argo's exit handler left work undone.",
)
BUILD = MetricFamily(
    "ips_build_info", "gauge", "Always 1, with the version as a label.", {"version": (__version__,)}
)

# Every metric of this module, in the order of definition.
FAMILIES = tuple(one for one in tuple(globals().values()) if isinstance(one, MetricFamily))
