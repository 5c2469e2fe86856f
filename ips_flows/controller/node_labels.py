"""Labels the nodes that hold sets of images, until it is stopped.

The sets are those of ConfigMap `ips-sets`. A node holds the images that its kubelet lists, up to 40 s late. If the
kubelet lists only its 50 largest images (its default), a label may be missing, but none is wrong because of that.
Each event of a node is handled independently, so no state is kept and a restart changes nothing.
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
                warning(f"a set can't be read, so its labels are not changed: {problem}", set=name)
            info("sets of images read", sets={one.name: one.digest for one in found.sets})
            _follow_nodes(kube, informer, found, stop)


def _stored_sets(informer: Informer) -> ImageSets:
    """Return the sets from the store; none if the ConfigMap does not exist."""
    (found, *_) = [*informer.stores["sets"].objects.values(), {}]
    return read_sets(found.get("data") or {})


def _follow_nodes(kube: Kube, settings: Informer, sets: ImageSets, stop: threading.Event) -> None:
    """Label every node by these sets, until the sets change."""
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
    """Patch the labels of a node at the version that was read. A node that has changed since has a new event."""
    changes = label_changes(node, sets)
    if not changes:
        return
    metadata = node["metadata"]
    patch = {"metadata": {"labels": changes, "resourceVersion": metadata["resourceVersion"]}}
    try:
        kube.patch(core("", "nodes", metadata["name"]), patch)
    except (ConflictError, NotFoundError):
        return
    except ApiError as error:  # tried again after the next list
        warning(f"a node can't be labelled: {error.message}", node=metadata["name"])
        return
    info("node labelled", node=metadata["name"], labels=changes)


def _warn_of_error(name: str, event: Event) -> bool:
    """Return whether an event is about the watch itself and not about an object; errors are logged."""
    if isinstance(event, WatchError):
        warning(f"{name} can't be watched: {event.error.message}")
    return isinstance(event, WatchError | Synced)
