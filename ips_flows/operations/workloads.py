"""Reads images from a cluster's workloads, pulls from its events, and image lists from its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ips_flows.core.constants import KUBELET_IMAGES_LISTED
from ips_flows.core.discover.custom_kinds import custom_kinds
from ips_flows.core.discover.finder import Finder, ObjectImages, read_object
from ips_flows.core.discover.image_uses import Note, SourceLocation
from ips_flows.core.discover.suggest import Pulls, pulls_of
from ips_flows.core.errors import ForbiddenError, NotFoundError, UsageError
from ips_flows.core.k8s.objects import Json
from ips_flows.core.plan.node import Node, read_node
from ips_flows.kube.client import Kube, collection, core
from ips_flows.operations.tasks import check_namespace, list_again_if_expired

_ARGO = "/apis/argoproj.io/v1alpha1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_FEW = 10  # CustomResourceDefinitions per page: with its schema, one may have a megabyte
# Ended pods do not start again, so the API server leaves them out of the list.
_NOT_ENDED = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of object: the root of its API, its plural, and its name if items of lists lack `kind`."""

    root: str
    plural: str
    name: str = ""
    fields: str = ""
    optional: bool = False

    @property
    def resource(self) -> tuple[str, str]:
        """The API group and the plural, without the version."""
        return self.root.rpartition("/")[0], self.plural


_KINDS = (
    _Kind("/api/v1", "serviceaccounts", "ServiceAccount"),
    _Kind("/apis/apps/v1", "deployments", "Deployment"),
    _Kind("/apis/apps/v1", "statefulsets", "StatefulSet"),
    _Kind("/apis/apps/v1", "daemonsets", "DaemonSet"),
    _Kind("/apis/apps/v1", "replicasets", "ReplicaSet"),
    _Kind("/apis/batch/v1", "cronjobs", "CronJob"),
    _Kind("/apis/batch/v1", "jobs", "Job"),
    _Kind(_ARGO, "workflows", "Workflow", optional=True),
    _Kind(_ARGO, "workflowtemplates", "WorkflowTemplate", optional=True),
    _Kind(_ARGO, "cronworkflows", "CronWorkflow", optional=True),
    _Kind("/api/v1", "pods", "Pod", _NOT_ENDED),
)
_OF_CLUSTER = (_Kind(_ARGO, "clusterworkflowtemplates", "ClusterWorkflowTemplate", optional=True),)


def read_workloads(kube: Kube, namespace: str, finder: Finder, *, custom: Sequence[str] = ()) -> None:
    """Add the workloads of a namespace (of all if it is empty) to `finder`, with custom kinds that create pods.

    `custom` lists further kinds as `plural.group`. A kind that may not be listed becomes a note.
    """
    if namespace:
        check_namespace(kube, namespace)
    kinds = [*_KINDS, *(() if namespace else _OF_CLUSTER), *(_custom_kind(kube, one) for one in custom)]
    known = {kind.resource for kind in kinds}
    kinds += (kind for kind in _custom_kinds(kube, namespace, finder) if kind.resource not in known)
    for kind in kinds:
        try:
            taken = list_again_if_expired(lambda one=kind: _read_objects(kube, one, namespace))  # type: ignore[misc]
        except NotFoundError:
            if not kind.optional:
                raise
            continue
        except ForbiddenError as error:
            location = SourceLocation(namespace=namespace, kind=kind.name or kind.plural)
            text = f"not read: {error.message}"
            finder.add_note(Note(location, text, missing=True))
            continue
        for one in taken:
            finder.add(one)


def read_pulls(kube: Kube, namespace: str) -> dict[str, Pulls]:
    """Return the pulls in the events of a namespace (of all if it is empty). The API keeps events for one hour."""
    return pulls_of(
        list_again_if_expired(lambda: kube.list(core(namespace, "events"), fields="reason=Pulled"))
    )


def read_nodes(kube: Kube) -> tuple[list[Node], int]:
    """Return the nodes with their images, and the number of nodes that may hold more images than they list."""

    def read() -> Iterator[tuple[Node, bool]]:
        for one in kube.list(core("", "nodes"), page=100):
            yield read_node(one), len(one["status"].get("images") or ()) == KUBELET_IMAGES_LISTED

    found = list_again_if_expired(read)
    return [node for node, _ in found], sum(full for _, full in found)


def _read_objects(kube: Kube, kind: _Kind, namespace: str) -> Iterator[ObjectImages]:
    """Yield the images of each object of a kind. The objects themselves are not kept."""
    for item in kube.list(collection(kind.root, namespace, kind.plural), fields=kind.fields):
        yield read_object(_with_kind(item, kind), SourceLocation(namespace=namespace))


def _with_kind(item: Json, kind: _Kind) -> Json:
    """Add `apiVersion` and `kind`, which items in lists of built-in kinds lack."""
    version = kind.root.removeprefix("/apis/").removeprefix("/api/")
    return {"apiVersion": version, "kind": kind.name, **item} if kind.name else item


def _custom_kinds(kube: Kube, namespace: str, finder: Finder) -> list[_Kind]:
    """Return the custom kinds whose schemas show that they create pods."""
    try:
        found = list_again_if_expired(lambda: custom_kinds(kube.list(_DEFINITIONS, page=_FEW)))
    except ForbiddenError as error:
        text = f"custom kinds are read only if given with --kind: {error.message}"
        finder.add_note(Note(SourceLocation(), text))
        return []
    return [
        _Kind(f"/apis/{one.group}/{one.version}", one.plural)
        for one in found
        if one.namespaced or not namespace
    ]


def _custom_kind(kube: Kube, text: str) -> _Kind:
    """Return the kind for `plural.group`, in the version that the cluster prefers."""
    plural, _, group = text.partition(".")
    if not plural or not group:
        raise UsageError(
            f"kind {text!r}: expected plural.group",
            hint="`kubectl get crd` lists the names, such as rollouts.argoproj.io.",
        )
    try:
        found = kube.get(f"/apis/{group}")
    except NotFoundError as error:
        raise UsageError(
            f"kind {text!r}: the cluster has no API group {group}",
            hint="`kubectl get crd` lists the custom kinds.",
        ) from error
    return _Kind(f"/apis/{group}/{found['preferredVersion']['version']}", plural)
