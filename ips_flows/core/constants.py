"""The names that IPS Flow uses in a cluster (labels, annotations, objects), and its defaults."""

from __future__ import annotations

import re

PREFIX = "ips-flow.io/"

# The value of metadata.managedFields that makes the API server stop tracking the owners of fields.
# Only server-side apply needs that record, and no client applies a task's Workflow or a pull pod. The record would be
# a quarter of a Workflow, and a third of the data that a task writes to etcd.
UNTRACKED: tuple[dict[str, str]] = ({},)

# On Workflows
LABEL_TASK = PREFIX + "task"  # "true" on every Workflow that is a task
LABEL_VERDICT = PREFIX + "verdict"  # the final status, for selectors
ANNOTATION_REQUEST_HASH = PREFIX + "request-hash"
ANNOTATION_PLAN = PREFIX + "plan"  # records.PlanSummary as JSON, written by filter
ANNOTATION_ERROR = PREFIX + "error"  # the reason why no plan was made, written by filter
ANNOTATION_VERDICT = (
    PREFIX + "verdict"
)  # records.Verdict as JSON, written by finish, or by filter if there is nothing to pull
ANNOTATION_CLEANED = PREFIX + "cleaned"  # time when all Jobs and plans of the task were deleted
ANNOTATION_NOTICE = (
    PREFIX + "notice"
)  # notice.Notice as JSON: the result of the webhook notification, written by finish
ANNOTATION_WEBHOOK = PREFIX + "webhook"  # notice.Webhook as JSON, for clients that read only the metadata
ANNOTATION_BATCH_SIZE = PREFIX + "batch-size"  # a new window for a running task: N, N%, or 0 to pause
ANNOTATION_RETRY_OF = PREFIX + "retry-of"  # on a task that `retry` created: the name of the original task
ANNOTATION_TITLE = "workflows.argoproj.io/title"
ANNOTATION_DESCRIPTION = "workflows.argoproj.io/description"
ANNOTATION_COLUMNS = PREFIX + "columns"  # the columns of `list`, as JSON

# On CronWorkflows, and on the Workflows that Argo creates from them
LABEL_CRON_WORKFLOW = "workflows.argoproj.io/cron-workflow"
ANNOTATION_DUE = "workflows.argoproj.io/scheduled-time"
LABEL_SCHEDULE = PREFIX + "schedule"  # "true" on every CronWorkflow that is a schedule
ANNOTATION_LATELY = PREFIX + "lately"  # schedule.ScheduleHistory as JSON, for the reasons of missed runs

LABEL_STEP = PREFIX + "step"  # on step pods: filter, drive or finish
ANNOTATION_VERSION = PREFIX + "version"  # on the objects that `install` creates

# On Jobs, pull pods and ConfigMaps
LABEL_WORKFLOW_UID = PREFIX + "workflow-uid"
LABEL_TASK_NAME = PREFIX + "task-name"  # cut to 63 characters
# plan, index, results, deleted or notice on ConfigMaps; pull or finish on Jobs and pods
LABEL_KIND = PREFIX + "kind"
LABEL_GROUP = PREFIX + "group"  # 0, 1, …
LABEL_ATTEMPT = PREFIX + "attempt"  # 0, 1, …
ANNOTATION_EPOCH = PREFIX + "epoch"  # on Jobs and pods: the driver that may ungate
ANNOTATION_HOLDER = PREFIX + "holder"  # on Jobs: pod name of the driver that owns the Job
ANNOTATION_PROGRESS = PREFIX + "progress"  # on Jobs: records.GroupProgress as JSON
ANNOTATION_ENDED = (
    PREFIX + "ended"
)  # on pods: the state that the driver observed before it ended the pod, as JSON
SCHEDULING_GATE = PREFIX + "window"

TEMPLATE_PREWARM = "ips-prewarm"
TEMPLATE_SUBMIT = "ips-submit"
CONFIG_MAP = "ips-config"
CONFIG_MAP_SETS = "ips-sets"  # image sets for which nodes get labels
LIMIT_KEY = "max-concurrent-tasks"  # in ips-config: tasks that run at the same time
NETWORKS_KEY = "webhook-allowed-networks"  # in ips-config: CIDRs of special addresses that webhooks may reach
LABEL_WEBHOOK = PREFIX + "webhook"  # "true" on Secrets that webhooks may use
PRIORITY_CLASS = "ips-flow-pull"
SERVICE_ACCOUNT_PULL = "ips-flow-pull"
FIELD_MANAGER = "ips-flow"

DEFAULT_IMAGE = "ips-flow:0.1.0"
DEFAULT_WORKER_IMAGE = "busybox:1.37-musl"
DEFAULT_MAX_CONCURRENT_TASKS = 3
DEFAULT_KEEP_DAYS = 7
KUBELET_IMAGES_LISTED = 50  # the kubelet's default nodeStatusMaxImages; a node lists only its largest images

_WHOLE = 40  # a task name of at most this length is a part of its objects' names, uncut
_CUT = 30  # characters kept of a longer name
_NOT_LABEL_VALUE = re.compile(r"[^A-Za-z0-9]+$")


def base_name(task: str, uid: str) -> str:
    """Return the common prefix of the names of a task's objects, at most 47 characters.

    The prefix is the task's name and 6 hex digits of its uid. A name longer than 40 characters is cut to 30, followed
    by 16 hex digits: the runs of a CronWorkflow have the same first characters, so only the uid distinguishes them.
    The prefix with `-g<i>-a<n>` and a pod index fits into 63 characters and is one DNS label. A Workflow that another
    client created may have dots in its name; they are replaced, because a pod's host name must not have dots.
    """
    kept, digits = (len(task), 6) if len(task) <= _WHOLE else (_CUT, 16)
    return f"{task[:kept].replace('.', '-').rstrip('-')}-{uid.replace('-', '')[:digits]}"


def group_name(task: str, uid: str, group: int) -> str:
    """Return the name of the ConfigMap that stores the plan of a group."""
    return f"{base_name(task, uid)}-g{group}"


def attempt_name(task: str, uid: str, group: int, attempt: int) -> str:
    """Return the name of an attempt's Job, and of the ConfigMap that maps its indexes to nodes."""
    return f"{group_name(task, uid, group)}-a{attempt}"


def label_value(text: str) -> str:
    """Cut a text to a valid label value."""
    return _NOT_LABEL_VALUE.sub("", text[:63])
