"""Stored results of a task: the ConfigMaps that drivers, filter and finish write."""

from __future__ import annotations

from ips_flows.core.constants import LABEL_KIND, LABEL_WORKFLOW_UID
from ips_flows.core.results.results import Chunk, NodeResult, fold
from ips_flows.core.results.stored_results import decode
from ips_flows.kube.client import Kube, core

_PAGE = 20  # ConfigMaps per request: each may hold 1 MiB


def stored_chunks(
    kube: Kube, namespace: str, uid: str, *, page: int = 500, skip_empty: bool = False
) -> list[Chunk]:
    """Return the results of the task with this uid, one chunk per ConfigMap.

    A ConfigMap without data raises LookupError, unless `skip_empty` is set: a step must not decide a verdict
    without this data.
    """
    labels = f"{LABEL_WORKFLOW_UID}={uid},{LABEL_KIND}=results"
    maps = kube.list(core(namespace, "configmaps"), labels=labels, page=page)
    return [decode(one["binaryData"]) for one in maps if one.get("binaryData") or not skip_empty]


def chunks_to_show(kube: Kube, namespace: str, uid: str) -> list[Chunk]:
    """Return the results of a task for display: read in small pages, without emptied ConfigMaps."""
    return stored_chunks(kube, namespace, uid, page=_PAGE, skip_empty=True)


def results_to_show(kube: Kube, namespace: str, uid: str) -> dict[str, NodeResult]:
    """Return the result of each node of a task, for display."""
    return fold(chunks_to_show(kube, namespace, uid))
