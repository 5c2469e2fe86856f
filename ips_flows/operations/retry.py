"""Retries an ended task: the same request for the nodes that it lost or did not reach."""

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
    """Submit the request of an ended task anew, for the nodes that it lost or did not reach.

    The new task is named after the first one; a retry with the same nodes that still lives is not doubled.
    Raises TaskNotEndedError, and NothingToRetryError when every image is on every node.
    """
    from ips_flows.core.request.model import merge_overrides  # noqa: PLC0415  (pydantic)

    found = tasks.workflow(kube, namespace, name)
    uid = found["metadata"]["uid"]
    seen = task.read_task(found)
    if not seen.ended:
        raise TaskNotEndedError(
            f"task {name} in namespace {namespace} has not ended: {seen.status}",
            hint=f"`ips-flow wait {name} -n {namespace}` waits for its end, `ips-flow cancel` brings it about.",
        )
    overrides: Json = {}
    if seen.plan is not None:
        overrides["nodes"] = _failed_nodes(kube, namespace, uid)
        if not overrides["nodes"]:
            raise NothingToRetryError(
                f"task {name} in namespace {namespace} lost no node: {seen.message or seen.status}"
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
    raise AssertionError  # there is always another number


def retry_name(first: str, number: int) -> str:
    """`<first>-r<number>`, cut so that it is still a task's name."""
    suffix = f"-r{number}"
    return first[: MAX_NAME_LENGTH - len(suffix)].rstrip("-.") + suffix


def _retry_number(first: str, name: str) -> int:
    """Which retry of the first task a task is; 0 for the first one itself."""
    match = re.search(r"-r(\d{1,9})$", name)
    return int(match[1]) if match and name != first else 0


def _failed_nodes(kube: Kube, namespace: str, uid: str) -> list[str]:
    """The nodes that lack images: those that failed, and those never reached, even where nobody recorded that."""
    from ips_flows.core.plan.plan import GroupPlan  # noqa: PLC0415  (pydantic)

    recorded = results_to_show(kube, namespace, uid)
    plans = kube.list(
        core(namespace, "configmaps"), labels=f"{LABEL_WORKFLOW_UID}={uid},{LABEL_KIND}=plan", page=20
    )
    planned = {node.name for one in plans for node in GroupPlan.decode(one["binaryData"]).nodes}
    lost = {name for name, node in recorded.items() if not node.ok and not is_left_out(node)}
    return sorted(lost | (planned - set(recorded)))
