"""Installs, upgrades and removes IPS Flow in a namespace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ips_flows.conventions import CONFIG_MAP, LABEL_TASK, LABEL_VERDICT
from ips_flows.errors import ConflictError, NotFoundError, NotInstalledError
from ips_flows.kube import Json, Kube, workflows
from ips_flows.manifests import load, path_of

Say = Callable[[str], None]
_NAMESPACE_LABELS = {"pod-security.kubernetes.io/enforce": "restricted"}
_SHARED_KINDS = ("PriorityClass", "ClusterRole", "ClusterRoleBinding")


def require_argo(kube: Kube) -> None:
    """Raise NotInstalledError when the cluster does not know Argo's kinds."""
    try:
        kube.get("/apis/argoproj.io/v1alpha1")
    except NotFoundError as error:
        raise NotInstalledError(
            "Argo Workflows is not installed in this cluster: there is no API group argoproj.io/v1alpha1",
            hint="Install Argo Workflows 4.0 or later: https://argo-workflows.readthedocs.io/en/latest/installation/",
        ) from error


def install(
    kube: Kube,
    namespace: str,
    *,
    image: str,
    settings: Mapping[str, str],
    keep_seconds: int | None,
    create_namespace: bool,
    say: Say,
) -> None:
    """Apply every object, say of each what became of it. Settings that are there already stay, unless given."""
    require_argo(kube)
    _take_namespace(kube, namespace, create=create_namespace, say=say)
    for wanted in load(namespace, image=image, settings=dict(settings), keep_seconds=keep_seconds):
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        path = path_of(kind, namespace, name)
        before = _get(kube, path)
        if kind == "ConfigMap" and name == CONFIG_MAP and before:
            after = _update_settings(kube, path, before, wanted, settings)
        else:
            if kind == "ClusterRoleBinding" and before:
                wanted["subjects"] = _united(before.get("subjects") or [], wanted["subjects"], namespace)
            after = kube.patch(path, wanted, kind="apply", force=True)
        say(f"{kind.lower()}/{name} {_change(before, after)}")


def uninstall(kube: Kube, namespace: str, *, force: bool, say: Say) -> None:
    """Delete what `install` put there; tasks that have not ended are refused, ended ones stay."""
    open_tasks = _open_tasks(kube, namespace)
    if open_tasks and not force:
        raise NotInstalledError(
            f"{len(open_tasks)} tasks in namespace {namespace} have not ended: {', '.join(open_tasks[:5])}",
            hint="Cancel them or wait for their end; --force leaves them without their steps.",
        )
    shared = _used_elsewhere(kube, namespace)
    for found in reversed(load(namespace)):
        kind, name = found["kind"], found["metadata"]["name"]
        path = path_of(kind, namespace, name)
        if kind in _SHARED_KINDS and shared:
            if kind == "ClusterRoleBinding":
                kube.patch(path, {"subjects": shared})
            say(f"{kind.lower()}/{name} kept: another namespace uses it")
            continue
        say(f"{kind.lower()}/{name} {'deleted' if kube.delete(path) else 'was not there'}")


def _take_namespace(kube: Kube, namespace: str, *, create: bool, say: Say) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    if _get(kube, path):
        return
    if not create:
        raise NotInstalledError(
            f"namespace {namespace} does not exist", hint="Create it, or let --create-namespace do so."
        )
    metadata = {"name": namespace, "labels": _NAMESPACE_LABELS}
    try:
        kube.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    except ConflictError:  # someone else was quicker
        return
    say(f"namespace/{namespace} created")


def _update_settings(kube: Kube, path: str, before: Json, wanted: Json, given: Mapping[str, str]) -> Json:
    """An upgrade keeps the settings; it adds new ones and sets those that were given."""
    there = before.get("data") or {}
    data = {key: value for key, value in wanted["data"].items() if key not in there} | dict(given)
    changed = {key: value for key, value in data.items() if there.get(key) != value}
    return kube.patch(path, {"data": changed}) if changed else before


def _united(before: list[Json], wanted: list[Json], namespace: str) -> list[Json]:
    """The subjects of all namespaces in which we are installed; those that are there keep their order."""
    kept = [subject for subject in before if subject in wanted or subject.get("namespace") != namespace]
    return [*kept, *(subject for subject in wanted if subject not in kept)]


def _used_elsewhere(kube: Kube, namespace: str) -> list[Json]:
    """The subjects of other namespaces in our ClusterRoleBinding."""
    names = [item["metadata"]["name"] for item in load(namespace) if item["kind"] == "ClusterRoleBinding"]
    found = [_get(kube, path_of("ClusterRoleBinding", namespace, name)) for name in names]
    return [
        subject
        for binding in found
        if binding
        for subject in binding.get("subjects") or ()
        if subject.get("namespace") != namespace
    ]


def _open_tasks(kube: Kube, namespace: str) -> list[str]:
    labels = f"{LABEL_TASK}=true,!{LABEL_VERDICT},workflows.argoproj.io/completed!=true"
    try:
        return [
            item["metadata"]["name"]
            for item in kube.list(workflows(namespace), labels=labels, metadata_only=True)
        ]
    except NotFoundError:  # no Argo, no tasks
        return []


def _get(kube: Kube, path: str) -> Json | None:
    try:
        return kube.get(path)
    except NotFoundError:
        return None


def _change(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    if before is None:
        return "created"
    same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    return "unchanged" if same else "configured"
