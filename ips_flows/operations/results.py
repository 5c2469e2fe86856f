"""The results of a task as they are stored: ConfigMaps that drivers, filter and finish write."""

from __future__ import annotations

from ips_flows.core.constants import LABEL_KIND, LABEL_WORKFLOW_UID
from ips_flows.core.results.results import Chunk, NodeResult, fold
from ips_flows.core.results.stored_results import decode
from ips_flows.kube.client import Kube, core

_PAGE = 20  # ConfigMaps at a time: one may hold 1 MiB


def stored_chunks(
    kube: Kube, namespace: str, uid: str, *, page: int = 500, skip_empty: bool = False
) -> list[Chunk]:
    """The results of the task with this uid, chunk by chunk.

    A ConfigMap without data raises LookupError, unless `skip_empty`: no step decides a verdict without it.
    """
    labels = f"{LABEL_WORKFLOW_UID}={uid},{LABEL_KIND}=results"
    maps = kube.list(core(namespace, "configmaps"), labels=labels, page=page)
    return [decode(one["binaryData"]) for one in maps if one.get("binaryData") or not skip_empty]


def chunks_to_show(kube: Kube, namespace: str, uid: str) -> list[Chunk]:
    """The results of a task for display: in small pages, without ConfigMaps that someone emptied."""
    return stored_chunks(kube, namespace, uid, page=_PAGE, skip_empty=True)


def results_to_show(kube: Kube, namespace: str, uid: str) -> dict[str, NodeResult]:
    """The result of each node of a task, for display."""
    return fold(chunks_to_show(kube, namespace, uid))
