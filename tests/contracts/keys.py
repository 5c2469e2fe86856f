"""Names that the product uses in a cluster: keys of labels and annotations, names of objects, settings."""

from __future__ import annotations

from typing import Any

from ips_flows.core import constants as names
from ips_flows.core.discover.finder import IGNORE, IGNORE_IMAGES
from ips_flows.core.pods.container_state import WORKER_CONTAINER, container_name
from ips_flows.core.reconcile import finish_job
from ips_flows.core.reconcile.decide import ANNOTATION_TRY
from ips_flows.core.task.workflow_status import LABEL_PHASE
from ips_flows.kube.lease import NAME as LEASE
from ips_flows.kube.lease import lease_path
from ips_flows.operations.install.manifests import COMPONENTS, SERVER_NAME
from ips_flows.operations.logs import CONTAINER, LABEL_OF_WORKFLOW
from tests.contracts.examples import NAMESPACE, UID
from tests.contracts.literals import other_names, our_names
from tests.contracts.rbac import manifests

Json = dict[str, Any]

# A short name, one with a dot, the longest that is not truncated, and one that is truncated.
_TASKS = ("a", "team.nightly", "n" * 40, "n" * 41)


def keys() -> Json:
    """Return the document."""
    return {
        "prefix": names.PREFIX,
        "labels": _labels(),
        "annotations": _annotations(),
        "scheduling gate": names.SCHEDULING_GATE,
        "names": _names(),
        "names of a task's objects": {task: _task_names(task) for task in _TASKS},
        "values cut to a label": names.label_value("a" * 62 + ".b"),
        "settings": _settings(),
        "objects": sorted(_objects()),
        "components of install": list(COMPONENTS),
        "found in the product": {"ours": our_names(), "others": other_names()},
    }


def _labels() -> Json:
    return {
        "Workflow": sorted([names.LABEL_TASK, names.LABEL_VERDICT]),
        "Workflow, read": sorted([LABEL_PHASE, names.LABEL_CRON_WORKFLOW]),
        "CronWorkflow": [names.LABEL_SCHEDULE],
        "step pod": [names.LABEL_STEP],
        "step pod, read": [LABEL_OF_WORKFLOW],
        "Job, pull pod, ConfigMap": sorted(
            [
                names.LABEL_WORKFLOW_UID,
                names.LABEL_TASK_NAME,
                names.LABEL_KIND,
                names.LABEL_GROUP,
                names.LABEL_ATTEMPT,
            ]
        ),
        "kinds of the keeper": sorted(
            [finish_job.KIND_FINISH, finish_job.KIND_DELETED, finish_job.KIND_NOTICE]
        ),
        "Secret": [names.LABEL_WEBHOOK],
        "Node": [f"{names.PREFIX}<set>"],
    }


def _annotations() -> Json:
    return {
        "Workflow": sorted(
            [
                names.ANNOTATION_REQUEST_HASH,
                names.ANNOTATION_PLAN,
                names.ANNOTATION_ERROR,
                names.ANNOTATION_VERDICT,
                names.ANNOTATION_CLEANED,
                names.ANNOTATION_NOTICE,
                names.ANNOTATION_WEBHOOK,
                names.ANNOTATION_BATCH_SIZE,
                names.ANNOTATION_RETRY_OF,
                names.ANNOTATION_TITLE,
                names.ANNOTATION_DESCRIPTION,
                names.ANNOTATION_COLUMNS,
            ]
        ),
        "Workflow, read": [names.ANNOTATION_DUE],
        "CronWorkflow": [names.ANNOTATION_LATELY],
        "installed object": [names.ANNOTATION_VERSION],
        "Job": sorted([names.ANNOTATION_EPOCH, names.ANNOTATION_HOLDER, names.ANNOTATION_PROGRESS]),
        "pull pod": sorted([names.ANNOTATION_EPOCH, names.ANNOTATION_ENDED]),
        "finish Job": [ANNOTATION_TRY],
        "ConfigMap of a deleted task": [finish_job.ANNOTATION_DELETED],
        "workload, read": sorted([IGNORE, IGNORE_IMAGES]),
    }


def _names() -> Json:
    return {
        "WorkflowTemplates": sorted([names.TEMPLATE_PREWARM, names.TEMPLATE_SUBMIT]),
        "ConfigMap of settings": names.CONFIG_MAP,
        "ConfigMap of sets": names.CONFIG_MAP_SETS,
        "PriorityClass": names.PRIORITY_CLASS,
        "ServiceAccount of pull pods": names.SERVICE_ACCOUNT_PULL,
        "field manager and user agent": names.FIELD_MANAGER,
        "Deployment and ServiceAccount of the server": SERVER_NAME,
        "Lease": LEASE,
        "path of the Lease": lease_path(NAMESPACE),
        "containers of a pull pod": [WORKER_CONTAINER, container_name(0)],
        "container of a step": CONTAINER,
        "finish Job": finish_job.job_name(UID),
        "ConfigMap of a deleted task": finish_job.copy_name(UID),
    }


def _task_names(task: str) -> Json:
    return {
        "base": names.base_name(task, UID),
        "plan": names.group_name(task, UID, 0),
        "attempt": names.attempt_name(task, UID, 0, 1),
    }


def _settings() -> Json:
    declared = {
        one["metadata"]["name"]: one.get("data") or {} for one in manifests() if one["kind"] == "ConfigMap"
    }
    return {
        "ConfigMaps": declared,
        "keys that the code reads": sorted([names.LIMIT_KEY, names.NETWORKS_KEY]),
        "defaults": {
            "image": names.DEFAULT_IMAGE,
            "worker image": names.DEFAULT_WORKER_IMAGE,
            "tasks at once": names.DEFAULT_MAX_CONCURRENT_TASKS,
            "days that tasks are kept": names.DEFAULT_KEEP_DAYS,
        },
    }


def _objects() -> list[str]:
    return [f"{one['kind']} {one['metadata']['name']}" for one in manifests()]
