"""The objects of an installation, set up for a namespace.

They are read from the files in `deploy/base`, in `templates` and in the selected folders of `deploy/components`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from ips_flows.core.constants import CONFIG_MAP, DEFAULT_IMAGE
from ips_flows.core.k8s.objects import Json

# kind → (API root, plural, whether it is namespaced)
KINDS: dict[str, tuple[str, str, bool]] = {
    "PriorityClass": ("/apis/scheduling.k8s.io/v1", "priorityclasses", False),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "MutatingAdmissionPolicy": ("/apis/admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", False),
    "MutatingAdmissionPolicyBinding": (
        "/apis/admissionregistration.k8s.io/v1",
        "mutatingadmissionpolicybindings",
        False,
    ),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "Service": ("/api/v1", "services", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "WorkflowTemplate": ("/apis/argoproj.io/v1alpha1", "workflowtemplates", True),
}
PRIORITY = "priority"  # the component that sets the priority of tasks of Argo's submit form
SERVER = "server"  # the component that runs `ips-flow serve`
SERVER_NAME = "ips-flow-server"
COMPONENTS = (PRIORITY, SERVER)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times faster, but optional
_NOT_OBJECTS = ("kustomization.yaml", "kustomizeconfig.yaml")


def object_path(kind: str, namespace: str, name: str = "") -> str:
    """Return the API path of an object, or of a collection, of a kind in `KINDS`."""
    root, plural, namespaced = KINDS[kind]
    scope = f"{root}/namespaces/{namespace}/{plural}" if namespaced else f"{root}/{plural}"
    return f"{scope}/{name}" if name else scope


def load_manifests(
    namespace: str,
    *,
    image: str = "",
    settings: dict[str, str] | None = None,
    keep_seconds: int | None = None,
    components: Sequence[str] = (),
) -> list[Json]:
    """Return the objects of the base and of `components`, in the order in which they are applied.

    `settings` override those of ConfigMap `ips-config`. `keep_seconds` is how long ended tasks are kept.
    """
    objects = sorted(_files(components), key=lambda found: list(KINDS).index(found["kind"]))
    for found in objects:
        if KINDS[found["kind"]][2]:
            found["metadata"]["namespace"] = namespace
        for subject in found.get("subjects") or ():
            subject["namespace"] = namespace
        if found["kind"] == "ConfigMap" and found["metadata"]["name"] == CONFIG_MAP:
            found["data"].update(settings or {})
        if found["kind"] == "WorkflowTemplate":
            _set_template(found, image or DEFAULT_IMAGE, keep_seconds)
        if found["kind"] == "Deployment":
            for container in found["spec"]["template"]["spec"]["containers"]:
                container["image"] = image or DEFAULT_IMAGE
    return objects


def _set_template(template: Json, image: str, keep_seconds: int | None) -> None:
    for entry in template["spec"]["templates"]:
        if "container" in entry:
            entry["container"]["image"] = image
    if keep_seconds is not None and "ttlStrategy" in template["spec"]:
        template["spec"]["ttlStrategy"]["secondsAfterCompletion"] = keep_seconds


def _files(components: Sequence[str]) -> Iterator[Json]:
    for folder in _folders(components):
        for file in sorted(folder.glob("*.yaml")):
            if file.name not in _NOT_OBJECTS:
                yield copy.deepcopy(_parsed(file))


@functools.cache  # uninstall and doctor need the objects several times
def _parsed(file: Path) -> Json:
    found: Json = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506  (a safe loader)
    return found


def _folders(components: Sequence[str]) -> list[Path]:
    """Return the folders of the files: in the installed package, or in the checkout."""
    package = Path(__file__).parents[2] / "manifests"
    checkout = Path(__file__).parents[3]
    manifests, templates = (
        (package, package / "templates")
        if package.is_dir()
        else (checkout / "deploy", checkout / "templates")
    )
    return [manifests / "base", templates, *(manifests / "components" / name for name in components)]
