"""The workloads of a cluster, read page by page for the images in them, and what it knows of pulls."""

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
_FEW = 10  # CustomResourceDefinitions a page: with their schemas some have a megabyte
# Pods that have ended start no more; the server leaves them out.
_NOT_ENDED = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of objects: the root of its API, its plural, and the name that its objects in lists lack."""

    root: str
    plural: str
    name: str = ""
    fields: str = ""
    optional: bool = False

    @property
    def resource(self) -> tuple[str, str]:
        """Its API group and plural, whatever the version."""
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
    """Take in the workloads of a namespace (of all, when it is empty), with custom kinds that make pods.

    `custom` names further kinds as `plural.group`. A kind that may not be listed becomes a note.
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
            text = f"not read, since {error.message}"
            finder.add_note(Note(location, text, missing=True))
            continue
        for one in taken:
            finder.add(one)


def read_pulls(kube: Kube, namespace: str) -> dict[str, Pulls]:
    """What the events of a namespace (of all, when it is empty) tell of pulls; the API keeps them for an hour."""
    return pulls_of(
        list_again_if_expired(lambda: kube.list(core(namespace, "events"), fields="reason=Pulled"))
    )


def read_nodes(kube: Kube) -> tuple[list[Node], int]:
    """The nodes of the cluster with what they hold, and how many of them may hold more than they list."""

    def read() -> Iterator[tuple[Node, bool]]:
        for one in kube.list(core("", "nodes"), page=100):
            yield read_node(one), len(one["status"].get("images") or ()) == KUBELET_IMAGES_LISTED

    found = list_again_if_expired(read)
    return [node for node, _ in found], sum(full for _, full in found)


def _read_objects(kube: Kube, kind: _Kind, namespace: str) -> Iterator[ObjectImages]:
    """What the objects of a kind say: of a page no more is kept."""
    for item in kube.list(collection(kind.root, namespace, kind.plural), fields=kind.fields):
        yield read_object(_with_kind(item, kind), SourceLocation(namespace=namespace))


def _with_kind(item: Json, kind: _Kind) -> Json:
    """An item of a list of a built-in kind with what such items lack."""
    version = kind.root.removeprefix("/apis/").removeprefix("/api/")
    return {"apiVersion": version, "kind": kind.name, **item} if kind.name else item


def _custom_kinds(kube: Kube, namespace: str, finder: Finder) -> list[_Kind]:
    """The custom kinds that make pods, by their schemas."""
    try:
        found = list_again_if_expired(lambda: custom_kinds(kube.list(_DEFINITIONS, page=_FEW)))
    except ForbiddenError as error:
        text = f"custom kinds are not looked for, only those of --kind, since {error.message}"
        finder.add_note(Note(SourceLocation(), text))
        return []
    return [
        _Kind(f"/apis/{one.group}/{one.version}", one.plural)
        for one in found
        if one.namespaced or not namespace
    ]


def _custom_kind(kube: Kube, text: str) -> _Kind:
    """The kind that `plural.group` means, in the version that the cluster prefers."""
    plural, _, group = text.partition(".")
    if not plural or not group:
        raise UsageError(
            f"kind {text!r}: expected plural.group",
            hint="`kubectl get crd` shows the names: rollouts.argoproj.io.",
        )
    try:
        found = kube.get(f"/apis/{group}")
    except NotFoundError as error:
        raise UsageError(
            f"kind {text!r}: the cluster has no API group {group}",
            hint="`kubectl get crd` shows what there is.",
        ) from error
    return _Kind(f"/apis/{group}/{found['preferredVersion']['version']}", plural)
