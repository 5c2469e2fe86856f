"""The names that IPS Flow puts into a cluster: labels, annotations, object names, defaults."""

from __future__ import annotations

import re

PREFIX = "ips-flow.io/"

# As metadata.managedFields: the API server forgets who wrote which field, and keeps no record of it from there on.
# That serves server-side apply, and nobody applies a task's Workflow or a pull pod; it would be a quarter of a
# Workflow, and a third of all that a task writes to etcd.
UNTRACKED: tuple[dict[str, str]] = ({},)

# On Workflows
LABEL_TASK = PREFIX + "task"  # "true" on every Workflow that is a task
LABEL_VERDICT = PREFIX + "verdict"  # the final status, for selectors
ANNOTATION_REQUEST_HASH = PREFIX + "request-hash"
ANNOTATION_PLAN = PREFIX + "plan"  # records.PlanSummary as JSON, written by filter
ANNOTATION_ERROR = PREFIX + "error"  # why no plan could be made, written by filter
ANNOTATION_VERDICT = (
    PREFIX + "verdict"
)  # records.Verdict as JSON, written by finish, or by a filter with nothing to do
ANNOTATION_CLEANED = PREFIX + "cleaned"  # when nothing was left of the task's Jobs and plans
ANNOTATION_NOTICE = PREFIX + "notice"  # notice.Notice as JSON: what became of the webhook, written by finish
ANNOTATION_WEBHOOK = PREFIX + "webhook"  # notice.Webhook as JSON, for whoever sees no more than the metadata
ANNOTATION_BATCH_SIZE = PREFIX + "batch-size"  # a new window for a running task: N, N%, or 0 for a pause
ANNOTATION_RETRY_OF = PREFIX + "retry-of"  # the name of the first task, on one that `retry` made
ANNOTATION_TITLE = "workflows.argoproj.io/title"
ANNOTATION_DESCRIPTION = "workflows.argoproj.io/description"
ANNOTATION_COLUMNS = PREFIX + "columns"  # what `list` shows, as JSON

# On CronWorkflows, and on the Workflows that Argo makes of them
LABEL_CRON_WORKFLOW = "workflows.argoproj.io/cron-workflow"
ANNOTATION_DUE = "workflows.argoproj.io/scheduled-time"
LABEL_SCHEDULE = PREFIX + "schedule"  # "true" on every CronWorkflow that is a schedule
ANNOTATION_LATELY = PREFIX + "lately"  # schedule.Lately as JSON: what explains its missed runs

LABEL_STEP = PREFIX + "step"  # on step pods: filter, drive or finish
ANNOTATION_VERSION = PREFIX + "version"  # on what `install` puts into a cluster

# On Jobs, pull pods and ConfigMaps
LABEL_WORKFLOW_UID = PREFIX + "workflow-uid"
LABEL_TASK_NAME = PREFIX + "task-name"  # cut to 63 characters
# plan, index, results, deleted or notice on ConfigMaps; pull or finish on Jobs and pods
LABEL_KIND = PREFIX + "kind"
LABEL_GROUP = PREFIX + "group"  # 0, 1, …
LABEL_ATTEMPT = PREFIX + "attempt"  # 0, 1, …
ANNOTATION_EPOCH = PREFIX + "epoch"  # on Jobs and pods: the driver that may ungate
ANNOTATION_HOLDER = PREFIX + "holder"  # on Jobs: pod name of the driver that works it
ANNOTATION_PROGRESS = PREFIX + "progress"  # on Jobs: records.GroupProgress as JSON
ANNOTATION_ENDED = PREFIX + "ended"  # on pods: what was seen before the driver ended it, as JSON
SCHEDULING_GATE = PREFIX + "window"

TEMPLATE_PREWARM = "ips-prewarm"
TEMPLATE_SUBMIT = "ips-submit"
CONFIG_MAP = "ips-config"
CONFIG_MAP_SETS = "ips-sets"  # sets of images that nodes are labelled for
LIMIT_KEY = "max-concurrent-tasks"  # in ips-config: how many tasks run at once
NETWORKS_KEY = "webhook-allowed-networks"  # in ips-config: CIDRs that webhooks may reach all the same
LABEL_WEBHOOK = PREFIX + "webhook"  # "true" on Secrets that webhooks may use
PRIORITY_CLASS = "ips-flow-pull"
SERVICE_ACCOUNT_PULL = "ips-flow-pull"
FIELD_MANAGER = "ips-flow"

DEFAULT_IMAGE = "ips-flow:0.1.0"
DEFAULT_WORKER_IMAGE = "busybox:1.37-musl"
DEFAULT_MAX_CONCURRENT_TASKS = 3
DEFAULT_KEEP_DAYS = 7
KUBELET_IMAGES_LISTED = 50  # the kubelet's default nodeStatusMaxImages: a node lists its largest images only

_WHOLE = 40  # up to this length the name of a task stands whole in the names of its objects
_CUT = 30  # so much of a longer one does
_NOT_LABEL_VALUE = re.compile(r"[^A-Za-z0-9]+$")


def base_name(task: str, uid: str) -> str:
    """The stem of the names of all objects of a task: its name and 6 hex of its uid, at most 47 characters.

    Of a name longer than 40 characters it is the first 30 and 16 hex: many tasks may begin alike, such as the runs
    of a CronWorkflow, and then only the uid tells them apart. `-g<i>-a<n>` and a pod index behind it still fit into
    63 characters, and are one DNS label: a Workflow that was not made by us may have dots in its name, which a
    pod's host name may not.
    """
    kept, digits = (len(task), 6) if len(task) <= _WHOLE else (_CUT, 16)
    return f"{task[:kept].replace('.', '-').rstrip('-')}-{uid.replace('-', '')[:digits]}"


def group_name(task: str, uid: str, group: int) -> str:
    """The ConfigMap that holds the plan of one group."""
    return f"{base_name(task, uid)}-g{group}"


def attempt_name(task: str, uid: str, group: int, attempt: int) -> str:
    """The Job of one attempt, and the ConfigMap that maps its indexes to nodes."""
    return f"{group_name(task, uid, group)}-a{attempt}"


def label_value(text: str) -> str:
    """A text cut so that it is a valid label value."""
    return _NOT_LABEL_VALUE.sub("", text[:63])
