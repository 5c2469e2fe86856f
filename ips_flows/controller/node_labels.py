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
from ips_flows.core.plan.node_labels import Sets, label_changes, lean_node, read_sets
from ips_flows.jsonlog import tell, warn
from ips_flows.kube.client import Kube, core
from ips_flows.kube.list_watch import Changed, Event, Listed, Merge, Recovered, Source, Trouble

_TICK_SECONDS = 1.0
_RELIST_SECONDS = 300.0


def label_nodes(kube: Kube, namespace: str, stop: threading.Event) -> None:
    """Label nodes until `stop` is set."""
    sources = {
        "sets": Source(
            core(namespace, "configmaps"),
            fields=f"metadata.name={CONFIG_MAP_SETS}",
            relist_seconds=_RELIST_SECONDS,
            endless=True,
        ),
    }
    with Merge(kube) as merge:
        merge.add(sources)
        while not stop.is_set():
            if not merge.mirrors["sets"].listed:
                told = merge.next(_TICK_SECONDS)
                if told is not None:
                    _told_of_trouble(*told)
                continue
            found = _sets(merge)
            for name, problem in found.problems.items():
                warn(f"a set can't be read, its labels stay as they are: {problem}", set=name)
            tell("sets of images", sets={one.name: one.digest for one in found.sets})
            _follow_nodes(kube, merge, found, stop)


def _sets(merge: Merge) -> Sets:
    """The sets as the mirror has them; none where there is no ConfigMap."""
    (found, *_) = [*merge.mirrors["sets"].objects.values(), {}]
    return read_sets(found.get("data") or {})


def _follow_nodes(kube: Kube, settings: Merge, sets: Sets, stop: threading.Event) -> None:
    """Judge every node by these sets, until the sets change."""
    nodes = Source(
        core("", "nodes"),
        relist_seconds=_RELIST_SECONDS,
        page=100,
        extract=lean_node,
        mirrored=False,
        endless=True,
    )
    with Merge(kube) as merge:
        merge.add({"nodes": nodes})
        while not stop.is_set():
            told = merge.next(_TICK_SECONDS)
            if told is not None and not _told_of_trouble(*told):
                for node in _nodes(told[1]):
                    _label(kube, node, sets)
            changed = settings.next(0)
            if changed is not None and not _told_of_trouble(*changed) and _sets(settings) != sets:
                return


def _nodes(event: Event) -> tuple[Json, ...]:
    match event:
        case Listed(items):
            return items
        case Changed(item, gone=False):
            return (item,)
        case _:
            return ()


def _label(kube: Kube, node: Json, sets: Sets) -> None:
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
        warn(f"a node can't be labelled: {error.message}", node=metadata["name"])
        return
    tell("labelled", node=metadata["name"], labels=changes)


def _told_of_trouble(name: str, event: Event) -> bool:
    """Whether an event is about the watch rather than what is watched; trouble is told of."""
    if isinstance(event, Trouble):
        warn(f"{name} can't be watched: {event.error.message}")
    return isinstance(event, Trouble | Recovered)
