"""Labels the nodes that hold sets of images, for as long as it runs.

The sets are those of ConfigMap `ips-sets`. What a node holds is what its kubelet lists, up to 40 s late; a node
that lists but its 50 largest images (the kubelet's default) may lack a label, and never has a wrong one for that.
Each event of a node is judged by itself, so nothing is remembered and a restart changes nothing.
"""

from __future__ import annotations

import threading

from ips_flows.core.constants import CONFIG_MAP_SETS
from ips_flows.core.errors import ApiError, ConflictError, NotFoundError
from ips_flows.core.k8s.objects import Json
from ips_flows.core.plan.node_labels import ImageSets, label_changes, read_sets, trim_node
from ips_flows.jsonlog import info, warning
from ips_flows.kube.client import Kube, core
from ips_flows.kube.list_watch import Event, Informer, ListWatch, Replaced, Synced, Updated, WatchError

_TICK_SECONDS = 1.0
_RELIST_SECONDS = 300.0


def label_nodes(kube: Kube, namespace: str, stop: threading.Event) -> None:
    """Label nodes until `stop` is set."""
    sources = {
        "sets": ListWatch(
            core(namespace, "configmaps"),
            fields=f"metadata.name={CONFIG_MAP_SETS}",
            relist_seconds=_RELIST_SECONDS,
            endless=True,
        ),
    }
    with Informer(kube) as informer:
        informer.add(sources)
        while not stop.is_set():
            if not informer.stores["sets"].synced:
                got = informer.next(_TICK_SECONDS)
                if got is not None:
                    _warn_of_error(*got)
                continue
            found = _stored_sets(informer)
            for name, problem in found.problems.items():
                warning(f"a set can't be read, its labels stay as they are: {problem}", set=name)
            info("sets of images", sets={one.name: one.digest for one in found.sets})
            _follow_nodes(kube, informer, found, stop)


def _stored_sets(informer: Informer) -> ImageSets:
    """The sets as the store has them; none where there is no ConfigMap."""
    (found, *_) = [*informer.stores["sets"].objects.values(), {}]
    return read_sets(found.get("data") or {})


def _follow_nodes(kube: Kube, settings: Informer, sets: ImageSets, stop: threading.Event) -> None:
    """Judge every node by these sets, until the sets change."""
    nodes = ListWatch(
        core("", "nodes"),
        relist_seconds=_RELIST_SECONDS,
        page=100,
        extract=trim_node,
        stored=False,
        endless=True,
    )
    with Informer(kube) as informer:
        informer.add({"nodes": nodes})
        while not stop.is_set():
            got = informer.next(_TICK_SECONDS)
            if got is not None and not _warn_of_error(*got):
                for node in _nodes_of(got[1]):
                    _patch_labels(kube, node, sets)
            changed = settings.next(0)
            if changed is not None and not _warn_of_error(*changed) and _stored_sets(settings) != sets:
                return


def _nodes_of(event: Event) -> tuple[Json, ...]:
    match event:
        case Replaced(items):
            return items
        case Updated(item, gone=False):
            return (item,)
        case _:
            return ()


def _patch_labels(kube: Kube, node: Json, sets: ImageSets) -> None:
    """Change the labels of a node as it was read; one that has changed since comes again."""
    changes = label_changes(node, sets)
    if not changes:
        return
    metadata = node["metadata"]
    patch = {"metadata": {"labels": changes, "resourceVersion": metadata["resourceVersion"]}}
    try:
        kube.patch(core("", "nodes", metadata["name"]), patch)
    except (ConflictError, NotFoundError):
        return
    except ApiError as error:  # it comes again with the next list
        warning(f"a node can't be labelled: {error.message}", node=metadata["name"])
        return
    info("labelled", node=metadata["name"], labels=changes)


def _warn_of_error(name: str, event: Event) -> bool:
    """Whether an event is about the watch rather than what is watched; trouble is told of."""
    if isinstance(event, WatchError):
        warning(f"{name} can't be watched: {event.error.message}")
    return isinstance(event, WatchError | Synced)
