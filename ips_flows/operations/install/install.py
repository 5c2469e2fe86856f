"""Installs, upgrades and removes IPS Flow in a namespace."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from ips_flows.core.constants import CONFIG_MAP, LABEL_TASK
from ips_flows.core.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    NotInstalledError,
    TaskEndedError,
    TasksRunError,
)
from ips_flows.core.k8s.objects import Json
from ips_flows.core.task import task
from ips_flows.core.task.workflow_status import is_finished
from ips_flows.kube.client import Kube, workflows
from ips_flows.kube.lease import NAME as LEASE
from ips_flows.kube.lease import lease_path
from ips_flows.operations import tasks
from ips_flows.operations.cancel import cancel_task
from ips_flows.operations.follow import follow
from ips_flows.operations.install.manifests import (
    COMPONENTS,
    PRIORITY,
    SERVER,
    SERVER_NAME,
    load_manifests,
    object_path,
)

Say = Callable[[str], None]
_NAMESPACE_LABELS = {"pod-security.kubernetes.io/enforce": "restricted"}
_SHARED_KINDS = (
    "PriorityClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
)
_TICK_SECONDS = 0.5  # how often a time limit is checked
_POLICIES = "/apis/admissionregistration.k8s.io/v1"


def require_argo(kube: Kube) -> None:
    """Raise NotInstalledError if the cluster lacks Argo's API."""
    try:
        kube.get("/apis/argoproj.io/v1alpha1")
    except NotFoundError as error:
        raise NotInstalledError(
            "Argo Workflows is not installed in this cluster: the API argoproj.io/v1alpha1 is missing",
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
    priority_policy: bool = True,
    server: bool = False,
) -> None:
    """Apply every object and report each result. Existing settings are kept, except those in `settings`.

    The priority policy is applied if the cluster has its kind. An existing server is always upgraded, even if
    `server` is not set.
    """
    require_argo(kube)
    _ensure_namespace(kube, namespace, create=create_namespace, say=say)
    components = []
    if priority_policy and knows_policies(kube):
        components.append(PRIORITY)
    elif priority_policy:
        say("priority policy skipped: it needs MutatingAdmissionPolicy (Kubernetes 1.36 or later)")
    if server or _get_or_none(kube, object_path("Deployment", namespace, SERVER_NAME)):
        components.append(SERVER)
    for wanted in load_manifests(
        namespace,
        image=image,
        settings=dict(settings),
        keep_seconds=keep_seconds,
        components=components,
    ):
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        path = object_path(kind, namespace, name)
        before = _get_or_none(kube, path)
        if kind == "ConfigMap" and name == CONFIG_MAP and before:
            after = _update_settings(kube, path, before, wanted, settings)
        else:
            if kind == "ClusterRoleBinding" and before:
                wanted["subjects"] = _merge_subjects(
                    before.get("subjects") or [], wanted["subjects"], namespace
                )
            after = _apply(kube, path, wanted)
        say(f"{kind.lower()}/{name} {_describe_change(before, after)}")


def knows_policies(kube: Kube) -> bool:
    """Return whether the cluster has MutatingAdmissionPolicy in the API version that is used here."""
    try:
        found = kube.get(_POLICIES)
    except NotFoundError:
        return False
    return any(entry["name"] == "mutatingadmissionpolicies" for entry in found["resources"])


def uninstall(kube: Kube, namespace: str, *, cancel: bool, say: Say, timeout: float | None = None) -> None:
    """Delete the objects that `install` creates. Ended tasks stay.

    Raises TasksRunError if the Workflow of a task has not ended, since its steps need the templates and the roles.
    `cancel` first cancels these tasks and waits until their Workflows end, for at most `timeout` seconds.
    """
    open_tasks = _open_tasks(kube, namespace)
    if open_tasks and cancel:
        _cancel_all(kube, namespace, open_tasks, say=say, timeout=timeout)
        open_tasks = _open_tasks(kube, namespace)
    if open_tasks:
        one = len(open_tasks) == 1
        more = ", …" if len(open_tasks) > 5 else ""
        raise TasksRunError(
            f"{len(open_tasks)} task{'' if one else 's'} in namespace {namespace} {'has' if one else 'have'} "
            f"not ended: {', '.join(open_tasks[:5])}{more}",
            hint=f"Wait until {'it ends' if one else 'they end'}, or cancel {'it' if one else 'them'} with --cancel.",
        )
    shared = _used_elsewhere(kube, namespace)
    for found in reversed(load_manifests(namespace, components=COMPONENTS)):
        kind, name = found["kind"], found["metadata"]["name"]
        path = object_path(kind, namespace, name)
        others = shared.get(name) if kind == "ClusterRoleBinding" else any(shared.values())
        if kind in _SHARED_KINDS and others:
            if kind == "ClusterRoleBinding":
                kube.patch(path, {"subjects": others})
            say(f"{kind.lower()}/{name} kept: another namespace uses it")
        elif kube.delete(path):
            say(f"{kind.lower()}/{name} deleted")
        elif not name.startswith(SERVER_NAME):  # the server is optional
            say(f"{kind.lower()}/{name} not found")
    if kube.delete(lease_path(namespace)):
        say(f"lease/{LEASE} deleted")


def _ensure_namespace(kube: Kube, namespace: str, *, create: bool, say: Say) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    if _get_or_none(kube, path):
        return
    if not create:
        raise NotInstalledError(
            f"namespace {namespace} does not exist", hint="Create it, or add --create-namespace."
        )
    metadata = {"name": namespace, "labels": _NAMESPACE_LABELS}
    try:
        kube.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    except ConflictError:  # another client created it
        return
    say(f"namespace/{namespace} created")


def _update_settings(kube: Kube, path: str, before: Json, wanted: Json, given: Mapping[str, str]) -> Json:
    """Add new settings and set the given ones. An upgrade keeps all other settings."""
    there = before.get("data") or {}
    data = {key: value for key, value in wanted["data"].items() if key not in there} | dict(given)
    changed = {key: value for key, value in data.items() if there.get(key) != value}
    return kube.patch(path, {"data": changed}) if changed else before


def _merge_subjects(before: list[Json], wanted: list[Json], namespace: str) -> list[Json]:
    """Return the subjects of all namespaces with an installation; existing subjects keep their order."""
    kept = [subject for subject in before if subject in wanted or subject.get("namespace") != namespace]
    return [*kept, *(subject for subject in wanted if subject not in kept)]


def _used_elsewhere(kube: Kube, namespace: str) -> dict[str, list[Json]]:
    """Return the subjects of other namespaces in each ClusterRoleBinding of IPS Flow."""
    names = [
        item["metadata"]["name"]
        for item in load_manifests(namespace, components=COMPONENTS)
        if item["kind"] == "ClusterRoleBinding"
    ]
    found = {name: _get_or_none(kube, object_path("ClusterRoleBinding", namespace, name)) for name in names}
    return {
        name: [
            subject
            for subject in (binding or {}).get("subjects") or ()
            if subject.get("namespace") != namespace
        ]
        for name, binding in found.items()
    }


def _open_tasks(kube: Kube, namespace: str) -> list[str]:
    """Return the tasks whose Workflow has not ended. The exit handler still runs after it has written the verdict."""
    labels = f"{LABEL_TASK}=true,workflows.argoproj.io/completed!=true"
    try:
        return [
            item["metadata"]["name"]
            for item in kube.list(workflows(namespace), labels=labels, metadata_only=True)
            if not is_finished(item)
        ]
    except NotFoundError:  # without Argo there are no tasks
        return []


def _cancel_all(kube: Kube, namespace: str, names: list[str], *, say: Say, timeout: float | None) -> None:
    """Cancel tasks and wait until their Workflows end. Pending tasks are cancelled first, so that none of them starts."""
    deadline = None if timeout is None else time.monotonic() + timeout
    waiting = {name for name in names if _is_pending(kube, namespace, name)}
    for name in sorted(names, key=lambda name: name not in waiting):
        try:
            cancel_task(kube, namespace, name)
        except (TaskEndedError, NotFoundError):  # it ended or was deleted in the meantime
            continue
        say(f"task {name} is being cancelled")
    _await_end(kube, namespace, names, say=say, deadline=deadline)


def _is_pending(kube: Kube, namespace: str, name: str) -> bool:
    try:
        return task.status_of(tasks.workflow(kube, namespace, name)) == "pending"
    except NotFoundError:  # deleted meanwhile
        return False


def _await_end(kube: Kube, namespace: str, names: list[str], *, say: Say, deadline: float | None) -> None:
    """Report the end of each task, then wait until no Workflow runs. Return early at the deadline."""
    for name in names:
        try:
            with closing(follow(kube, namespace, name, tick=_TICK_SECONDS)) as states:
                for seen in states:
                    if seen is not None and seen.ended:
                        say(f"task {name} {seen.status}")
                    elif deadline is not None and time.monotonic() >= deadline:
                        return
        except NotFoundError:  # deleted meanwhile
            continue
    while not set(names).isdisjoint(_open_tasks(kube, namespace)):
        if deadline is not None and time.monotonic() >= deadline:
            return
        time.sleep(_TICK_SECONDS)


def _apply(kube: Kube, path: str, wanted: Json) -> Json:
    try:
        return kube.patch(path, wanted, kind="apply", force=True)
    except ForbiddenError as error:
        if path.startswith(_POLICIES):
            error.hint = "Request this permission, or run `ips-flow install --without-priority-policy`."
        raise


def _get_or_none(kube: Kube, path: str) -> Json | None:
    try:
        return kube.get(path)
    except NotFoundError:
        return None


def _describe_change(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    if before is None:
        return "created"
    same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    return "unchanged" if same else "configured"
