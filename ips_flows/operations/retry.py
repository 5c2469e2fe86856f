"""Retries an ended task: submits the same request for the nodes that failed or were not reached."""

from __future__ import annotations

import json
import re
from itertools import count

from ips_flows.core.constants import (
    ANNOTATION_RETRY_OF,
    LABEL_KIND,
    LABEL_WORKFLOW_UID,
)
from ips_flows.core.errors import (
    NameTakenError,
    NothingToRetryError,
    TaskNotEndedError,
)
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.request.limits import MAX_NAME_LENGTH
from ips_flows.core.results.verdict import is_left_out
from ips_flows.core.task import task
from ips_flows.kube.client import Kube, core
from ips_flows.operations import tasks
from ips_flows.operations.results import results_to_show
from ips_flows.operations.submit import Submission, submit_request


def retry_task(kube: Kube, namespace: str, name: str) -> Submission:
    """Submit the request of an ended task again, for the nodes that failed or were not reached.

    The new task is named after the first one. If a retry of the same nodes has not ended, it is returned instead.
    Raises TaskNotEndedError if the task has not ended, and NothingToRetryError if every node has every image.
    """
    from ips_flows.core.request.model import merge_overrides  # noqa: PLC0415  (pydantic)

    found = tasks.workflow(kube, namespace, name)
    uid = found["metadata"]["uid"]
    seen = task.read_task(found)
    if not seen.ended:
        raise TaskNotEndedError(
            f"task {name} in namespace {namespace} has not ended: {seen.status}",
            hint=f"`ips-flow wait {name} -n {namespace}` waits until it ends, `ips-flow cancel` stops it.",
        )
    overrides: Json = {}
    if seen.plan is not None:
        overrides["nodes"] = _failed_nodes(kube, namespace, uid)
        if not overrides["nodes"]:
            raise NothingToRetryError(
                f"task {name} in namespace {namespace} has no nodes to retry: {seen.message or seen.status}"
            )
    first = objects.annotations(found).get(ANNOTATION_RETRY_OF) or name
    text = json.dumps({field: value for field, value in seen.request.items() if value is not None})
    for number in count(_retry_number(first, name) + 1):
        overrides["name"] = retry_name(first, number)
        request = merge_overrides(text, f"the request of {name}", overrides)
        try:
            made = submit_request(kube, namespace, request, retry_of=first)
        except NameTakenError:
            continue
        if made.created or not made.task.ended:
            return made
    raise AssertionError  # unreachable: `count` has no end


def retry_name(first: str, number: int) -> str:
    """Return `<first>-r<number>`, cut to the length of a task name."""
    suffix = f"-r{number}"
    return first[: MAX_NAME_LENGTH - len(suffix)].rstrip("-.") + suffix


def _retry_number(first: str, name: str) -> int:
    """Return the number of a retry of the first task; 0 for the first task itself."""
    match = re.search(r"-r(\d{1,9})$", name)
    return int(match[1]) if match and name != first else 0


def _failed_nodes(kube: Kube, namespace: str, uid: str) -> list[str]:
    """Return the nodes that lack images: failed nodes, and nodes never reached, even without a stored result."""
    from ips_flows.core.plan.plan import GroupPlan  # noqa: PLC0415  (pydantic)

    recorded = results_to_show(kube, namespace, uid)
    plans = kube.list(
        core(namespace, "configmaps"), labels=f"{LABEL_WORKFLOW_UID}={uid},{LABEL_KIND}=plan", page=20
    )
    planned = {node.name for one in plans for node in GroupPlan.decode(one["binaryData"]).nodes}
    lost = {name for name, node in recorded.items() if not node.ok and not is_left_out(node)}
    return sorted(lost | (planned - set(recorded)))
