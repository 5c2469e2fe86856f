"""Deletes the objects of an ended task."""

from __future__ import annotations

import time

from ips_flows.core.constants import LABEL_KIND, LABEL_WORKFLOW_UID
from ips_flows.core.errors import GoneError, UnavailableError
from ips_flows.kube.client import core, jobs
from steps.context import StepContext, say


def delete_objects(context: StepContext, *kinds: str, seconds: float) -> None:
    """Delete the task's Jobs, wait at most `seconds` until they are gone, then delete its ConfigMaps of these kinds.

    In this order, a Job that a late driver still creates has no owner, so the garbage collector deletes it.
    """
    path = jobs(context.namespace)
    labels = f"{LABEL_WORKFLOW_UID}={context.uid}"
    end = time.monotonic() + seconds
    while True:
        page = context.kube.get(path, labelSelector=labels)
        if not page["items"]:
            break
        for item in page["items"]:
            if not item["metadata"].get("deletionTimestamp"):
                context.kube.delete(jobs(context.namespace, item["metadata"]["name"]))
        left = end - time.monotonic()
        if left <= 0:
            say("some Jobs are still being deleted")
            break
        try:
            version = page["metadata"]["resourceVersion"]
            for event in context.kube.watch(path, resource_version=version, seconds=left, labels=labels):
                if event["type"] == "DELETED":
                    break
        except (GoneError, UnavailableError) as error:
            say(f"the Jobs can't be watched, trying again: {error.message}")
    context.kube.delete_all(
        core(context.namespace, "configmaps"), labels=f"{labels},{LABEL_KIND} in ({','.join(kinds)})"
    )
