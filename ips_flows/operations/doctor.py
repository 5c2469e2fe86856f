"""Checks that a namespace can run tasks. Each finding is one line; a warning or failure has a hint with the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, NamedTuple

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_VERSION,
    CONFIG_MAP,
    KUBELET_IMAGES_LISTED,
    LIMIT_KEY,
    NETWORKS_KEY,
    PRIORITY_CLASS,
    TEMPLATE_PREWARM,
)
from ips_flows.core.counts import several
from ips_flows.core.errors import ApiError, ForbiddenError, NotFoundError
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice.targets import parse_networks
from ips_flows.core.plan.eligibility import lacks_image_volumes
from ips_flows.core.plan.node import read_node
from ips_flows.core.pods.pull_job import keeps_image_volume, probe_job
from ips_flows.core.version import __version__
from ips_flows.kube.client import Kube, core, jobs, workflows
from ips_flows.kube.lease import SILENT_SECONDS, holder_of, lease_path, seconds_since_renewal
from ips_flows.operations.install.install import knows_policies
from ips_flows.operations.install.manifests import PRIORITY, SERVER, SERVER_NAME, load_manifests, object_path
from ips_flows.operations.settings import read_settings

Level = Literal["ok", "warn", "fail"]

_INSTALL = "ips-flow install"
_OLDEST_ARGO = (4, 0)
_VERSION = re.compile(r"v?(\d+)\.(\d+)[\w.+-]*")
# The permissions that a user needs for all commands: (API group, resource, verbs)
_USER_RIGHTS = (
    ("argoproj.io", "workflows", ("create", "get", "list", "watch", "patch", "delete")),
    ("argoproj.io", "workflowtemplates", ("get",)),
    ("argoproj.io", "cronworkflows", ("create", "get", "list", "patch", "delete")),
    ("", "configmaps", ("get", "list")),
    ("batch", "jobs", ("list", "watch")),
    ("", "pods", ("list",)),
    ("", "pods/log", ("get",)),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's output: what was checked, what was found, and how to fix it."""

    level: Level
    subject: str
    message: str
    hint: str = ""


class AccessRight(NamedTuple):
    """A permission to check for a user (empty: the current user). `resource` may have a `/subresource`.

    `name` is the name of one object, if the Role limits the permission to it.
    """

    namespace: str
    group: str
    resource: str
    verb: str
    user: str = ""
    name: str = ""


def examine(kube: Kube, namespace: str) -> Iterator[Finding]:
    """Yield all findings, each check after those it depends on. Stops if the later checks can't work."""
    version = kube.get("/version")
    yield Finding("ok", "apiserver", f"{kube.host} is reachable, Kubernetes {version['gitVersion']}")
    argo = _argo_kinds(kube)
    yield argo
    if argo.level == "fail":
        return
    yield _argo_version(kube, namespace)
    try:
        kube.get(f"/api/v1/namespaces/{namespace}")
    except NotFoundError:
        yield Finding(
            "fail",
            "namespace",
            f"{namespace} does not exist",
            f"{_INSTALL} -n {namespace} --create-namespace --image IMAGE",
        )
        return
    yield Finding("ok", "namespace", f"{namespace} exists")
    checks: tuple[Callable[[Kube, str], Finding], ...] = (
        _template,
        _settings,
        _priority_policy,
        _priority_class,
        _service_accounts,
        _user_rights,
        _step_rights,
        _keeper,
        _image_volumes,
        _image_lists,
    )
    install = ""
    for check in checks:
        try:
            finding = check(kube, namespace)
            if check is _template and finding.level == "fail":
                install = finding.hint
            # If IPS Flow is not installed, one command fixes all that is missing: every finding suggests the same.
            yield replace(finding, hint=install) if install and finding.hint.startswith(_INSTALL) else finding
        except ForbiddenError as error:
            subject = check.__name__.strip("_").replace("_", " ")
            hint = "Run `ips-flow doctor` as a user with this permission."
            yield Finding("warn", subject, f"not checked: {error.message}", hint)


def _install(namespace: str, *flags: str) -> str:
    """Return the command that installs or upgrades what is missing."""
    return " ".join((_INSTALL, "-n", namespace, "--image IMAGE", *flags))


def _argo_kinds(kube: Kube) -> Finding:
    try:
        found = kube.get("/apis/argoproj.io/v1alpha1")
    except NotFoundError:
        return Finding(
            "fail",
            "argo",
            "Argo Workflows is not installed: the API argoproj.io/v1alpha1 is missing",
            "Install Argo Workflows 4.0 or later: https://argo-workflows.readthedocs.io/en/latest/installation/",
        )
    kinds = {entry["name"] for entry in found["resources"]}
    missing = {"workflows", "workflowtemplates", "workflowtaskresults", "cronworkflows"} - kinds
    if missing:
        return Finding(
            "fail",
            "argo",
            f"CRDs are missing: {', '.join(sorted(missing))}",
            "Apply all CRDs of Argo Workflows.",
        )
    return Finding("ok", "argo", "the CRDs of Argo Workflows are installed")


def _argo_version(kube: Kube, namespace: str) -> Finding:
    """Read Argo's version from the controller's image, else from the executor's in a step pod: no API returns it."""
    image = _controller_image(kube) or _executor_image(kube, namespace)
    match = _VERSION.fullmatch(image.rpartition(":")[2]) if image else None
    if match is None:
        return Finding(
            "warn",
            "argo version",
            "unknown: found no workflow-controller Deployment and no step pod",
            "Make sure that Argo Workflows is 4.0 or later.",
        )
    if (int(match[1]), int(match[2])) < _OLDEST_ARGO:
        return Finding(
            "fail", "argo version", f"{match[0]} is too old", "Upgrade Argo Workflows to 4.0 or later."
        )
    return Finding("ok", "argo version", f"{match[0]} ({image})")


def _controller_image(kube: Kube) -> str:
    try:
        found = kube.get("/apis/apps/v1/deployments", fieldSelector="metadata.name=workflow-controller")
    except ForbiddenError:
        return ""
    images = [item["spec"]["template"]["spec"]["containers"][0]["image"] for item in found["items"]]
    return str(images[0]) if images else ""


def _executor_image(kube: Kube, namespace: str) -> str:
    try:
        found = kube.get(core(namespace, "pods"), labelSelector="workflows.argoproj.io/workflow", limit=1)
    except ApiError:
        return ""
    images = [
        container["image"]
        for pod in found["items"]
        for container in pod["spec"]["containers"]
        if container["name"] == "wait"
    ]
    return str(images[0]) if images else ""


def _template(kube: Kube, namespace: str) -> Finding:
    try:
        found = kube.get(workflows(namespace, TEMPLATE_PREWARM, "workflowtemplates"))
    except NotFoundError:
        return Finding(
            "fail",
            "template",
            f"WorkflowTemplate {TEMPLATE_PREWARM} is missing",
            _install(namespace, "--with-server"),
        )
    version = objects.annotations(found).get(ANNOTATION_VERSION, "unknown")
    if version != __version__:
        message = f"version of {TEMPLATE_PREWARM} is {version}, version of ips-flow is {__version__}"
        return Finding("warn", "template", message, _install(namespace))
    return Finding("ok", "template", f"{TEMPLATE_PREWARM} {version}")


def _settings(kube: Kube, namespace: str) -> Finding:
    try:
        settings = read_settings(kube, namespace)
    except NotFoundError:
        return Finding("fail", "settings", f"ConfigMap {CONFIG_MAP} is missing", _install(namespace))
    limit = settings.task_limit
    if limit is None:
        got = settings.task_limit_found
        message = f"{LIMIT_KEY} of {CONFIG_MAP} {got}, expected a number from 1"
        return Finding("fail", "settings", message, _install(namespace, "--max-concurrent-tasks 3"))
    if settings.worker_image is None:
        return Finding(
            "fail",
            "settings",
            f"worker-image of {CONFIG_MAP} is missing",
            _install(namespace, "--worker-image REF"),
        )
    unknown = parse_networks(settings.webhook_networks)[1]
    if unknown:
        message = f"{NETWORKS_KEY} of {CONFIG_MAP}: {unknown[0]!r} is not a network and is ignored"
        hint = f"Separate networks such as 10.0.0.0/8 with commas: kubectl -n {namespace} edit configmap {CONFIG_MAP}"
        return Finding("warn", "settings", message, hint)
    return Finding(
        "ok",
        "settings",
        f"at most {several(limit, 'task')} at the same time, worker image {settings.worker_image}",
    )


def _priority_policy(kube: Kube, namespace: str) -> Finding:
    """Check the policy that copies the priority of Argo's submit form to `spec.priority`, which Argo reads."""
    lost = "tasks of Argo's submit form get priority 0 and start last, and priorities are not limited to 1-10"
    if not knows_policies(kube):
        hint = "Upgrade to Kubernetes 1.36 or later, or submit with `ips-flow run`."
        return Finding("warn", "priority policy", f"the cluster has no MutatingAdmissionPolicy: {lost}", hint)
    missing = []
    for wanted in load_manifests(namespace, components=(PRIORITY,)):
        if wanted["kind"].startswith("MutatingAdmissionPolicy"):
            name = wanted["metadata"]["name"]
            try:
                kube.get(object_path(wanted["kind"], namespace, name), metadata_only=True)
            except NotFoundError:
                missing.append(f"{wanted['kind']} {name}")
    if missing:
        hint = _install(namespace)
        return Finding("warn", "priority policy", f"missing: {', '.join(missing)}; so {lost}", hint)
    return Finding("ok", "priority policy", "every task gets its priority, within 1-10")


def _priority_class(kube: Kube, namespace: str) -> Finding:
    hint = _install(namespace)
    try:
        found = kube.get(object_path("PriorityClass", namespace, PRIORITY_CLASS))
    except NotFoundError:
        return Finding("fail", "priority class", f"{PRIORITY_CLASS} is missing", hint)
    if found["value"] >= 0 or found.get("preemptionPolicy") != "Never":
        message = f"{PRIORITY_CLASS} has value {found['value']} and preemptionPolicy {found.get('preemptionPolicy')}"
        return Finding("warn", "priority class", f"{message}: pull pods may preempt other pods", hint)
    return Finding("ok", "priority class", f"{PRIORITY_CLASS}, value {found['value']}, never preempts")


def _service_accounts(kube: Kube, namespace: str) -> Finding:
    wanted = {
        found["metadata"]["name"] for found in load_manifests(namespace) if found["kind"] == "ServiceAccount"
    }
    there = {
        item["metadata"]["name"] for item in kube.list(core(namespace, "serviceaccounts"), metadata_only=True)
    }
    missing = sorted(wanted - there)
    if missing:
        hint = _install(namespace)
        return Finding("fail", "service accounts", f"missing: {', '.join(missing)}", hint)
    return Finding("ok", "service accounts", ", ".join(sorted(wanted)))


def _user_rights(kube: Kube, namespace: str) -> Finding:
    """Check that the current user may run every command."""
    missing = [
        f"{verb} {resource}"
        for group, resource, verbs in _USER_RIGHTS
        for verb in verbs
        if not _allowed(kube, AccessRight(namespace, group, resource, verb))
    ]
    if missing:
        message, hint = (
            f"you may not {', '.join(missing)}",
            f"Request these permissions in namespace {namespace}.",
        )
        return Finding("warn", "your permissions", message, hint)
    return Finding("ok", "your permissions", "you may run every command of ips-flow")


def _step_rights(kube: Kube, namespace: str) -> Finding:
    """Check that the ServiceAccount of each step, and of an installed server, has the permissions of its Roles."""
    server = _is_there(kube, f"/apis/apps/v1/namespaces/{namespace}/deployments/{SERVER_NAME}")
    objects = load_manifests(namespace, components=(SERVER,) if server else ())
    missing = [
        f"{account} may not {right.verb} {right.resource}"
        for account, right in _granted(objects, namespace)
        if not _allowed(kube, right)
    ]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        hint = _install(namespace)
        return Finding("fail", "steps' permissions", ", ".join(missing[:3]) + more, hint)
    also = " and the server" if server else ""
    return Finding("ok", "steps' permissions", f"all steps{also} have the permissions that they need")


def _granted(objects: Sequence[Json], namespace: str) -> Iterator[tuple[str, AccessRight]]:
    """Yield the permissions that an installation grants, each with its ServiceAccount."""
    roles = {(one["kind"], one["metadata"]["name"]): one for one in objects if one["kind"].endswith("Role")}
    for binding in (one for one in objects if one["kind"] in ("RoleBinding", "ClusterRoleBinding")):
        rules = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]["rules"]
        for subject, rule in product(binding["subjects"], rules):
            account = subject["name"]
            user = f"system:serviceaccount:{namespace}:{account}"
            names = rule.get("resourceNames") or [""]
            # A cluster-wide permission for a named object is for an object in namespace default.
            where = namespace if binding["kind"] == "RoleBinding" else "default" if names[0] else ""
            for group, resource, verb, name in product(
                rule["apiGroups"], rule["resources"], rule["verbs"], names
            ):
                yield account, AccessRight(where, group, resource, verb, user, name)


def _is_there(kube: Kube, path: str) -> bool:
    """Return whether an object exists and may be read."""
    try:
        kube.get(path, metadata_only=True)
    except (NotFoundError, ForbiddenError):
        return False
    return True


def _keeper(kube: Kube, namespace: str) -> Finding:
    """Check that a keeper holds the Lease and has renewed it recently."""
    lost = "tasks whose exit handler fails get no verdict"
    hint = _install(namespace, "--with-server")
    try:
        lease = kube.get(lease_path(namespace))
    except NotFoundError:
        return Finding("warn", "keeper", f"no keeper runs: {lost}", hint)
    holder, silent = holder_of(lease), seconds_since_renewal(lease, clock.now())
    if silent is None:
        return Finding("warn", "keeper", f"no keeper holds the Lease: {lost}", hint)
    if silent > SILENT_SECONDS:
        message = f"{holder} last renewed the Lease {silent:.0f} s ago: {lost}"
        return Finding("warn", "keeper", message, hint)
    return Finding("ok", "keeper", f"{holder} holds the Lease")


def _allowed(kube: Kube, right: AccessRight) -> bool:
    name, _, sub = right.resource.partition("/")
    attributes = {
        "namespace": right.namespace,
        "group": right.group,
        "resource": name,
        "subresource": sub,
        "verb": right.verb,
        "name": right.name,
    }
    spec: Json = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    kind = "SelfSubjectAccessReview"
    if right.user:
        kind, spec["user"] = "SubjectAccessReview", right.user
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    review = kube.create(f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body)
    return bool(review["status"]["allowed"])


def _image_volumes(kube: Kube, namespace: str) -> Finding:
    nodes = [read_node(node) for node in kube.list("/api/v1/nodes")]
    reasons = [reason for node in nodes if (reason := lacks_image_volumes(node))]
    if not nodes:
        return Finding("fail", "nodes", "the cluster has no nodes", "Add nodes.")
    if reasons:
        message = f"{len(reasons)} of {len(nodes)} nodes do not mount image volumes ({reasons[0]})"
        return Finding("warn", "nodes", message, "Tasks on these nodes use mode container, which also works.")
    probe = probe_job("busybox", "busybox")
    if not keeps_image_volume(kube.create(jobs(namespace), probe, dry_run=True)):
        message = "the API server drops image volumes"
        return Finding("warn", "nodes", message, "Tasks use mode container, which also works.")
    return Finding("ok", "nodes", f"every node mounts image volumes ({several(len(nodes), 'node')})")


def _image_lists(kube: Kube, namespace: str) -> Finding:  # noqa: ARG001  (all checks have the same signature)
    def listed(node: Json) -> list[Any]:
        return (node.get("status") or {}).get("images") or []

    cut = [
        node["metadata"]["name"]
        for node in kube.list("/api/v1/nodes")
        if len(listed(node)) == KUBELET_IMAGES_LISTED
    ]
    if cut:
        nodes = f"node {cut[0]} lists" if len(cut) == 1 else f"{len(cut)} nodes, for example {cut[0]}, list"
        message = f"{nodes} exactly {KUBELET_IMAGES_LISTED} images: smaller images may be missing"
        hint = "Set nodeStatusMaxImages of the kubelet to -1, so that tasks recognize all warm nodes."
        return Finding("warn", "image lists", message, hint)
    return Finding("ok", "image lists", "every node lists all its images")
