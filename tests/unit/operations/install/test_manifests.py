"""The objects of an installation: the files of deploy/base and templates, and the result of `load_manifests`."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ips_flows.core.constants import DEFAULT_IMAGE, DEFAULT_MAX_CONCURRENT_TASKS, DEFAULT_WORKER_IMAGE
from ips_flows.operations.install.manifests import (
    COMPONENTS,
    KINDS,
    PRIORITY,
    SERVER,
    load_manifests,
    object_path,
)
from tests.support.paths import ROOT

BASE = ROOT / "deploy" / "base"


def of_kind(kind: str, namespace: str = "warm", **options: Any) -> list[Any]:
    return [one for one in load_manifests(namespace, **options) if one["kind"] == kind]


def test_the_kustomization_lists_every_file() -> None:
    """`kubectl apply -k deploy/base` applies the same files as `ips-flow install`: all of base, and the templates."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    files = {file.name for file in BASE.iterdir()}
    listed = {
        "kustomization.yaml",
        *kustomization["resources"],
        *kustomization["configurations"],
    }
    assert listed == {*files, "../../templates"}
    assert kustomization["resources"] == sorted(kustomization["resources"])


def test_one_object_a_file() -> None:
    """Each file holds one object and is named after its kind."""
    for file in BASE.glob("*.yaml"):
        (document,) = yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if "kustomiz" not in file.name:
            assert file.name.startswith(document["kind"].lower() + "-")


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_lists_every_file(name: str) -> None:
    """A kustomization of kind Component lists all files of its folder, each named after the kind of its object."""
    folder = ROOT / "deploy" / "components" / name
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization["kind"] == "Component"
    assert {"kustomization.yaml", *kustomization["resources"]} == {file.name for file in folder.iterdir()}
    for file in kustomization["resources"]:
        (document,) = yaml.safe_load_all((folder / file).read_text(encoding="utf-8"))
        assert file.startswith(document["kind"].lower() + "-")


def test_the_priority_policy_is_about_our_template_only() -> None:
    """The policy never refuses a Workflow, matches only references to ips-prewarm, and is not part of base."""
    extra = [
        one for one in load_manifests("warm", components=(PRIORITY,)) if one not in load_manifests("warm")
    ]
    policy, binding = extra
    assert policy["spec"]["failurePolicy"] == "Ignore"
    assert "'ips-prewarm'" in policy["spec"]["matchConditions"][0]["expression"]
    assert policy["spec"]["matchConstraints"]["resourceRules"][0]["resources"] == ["workflows"]
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]


def test_the_server_is_restricted_and_small() -> None:
    """The server runs under restricted Pod Security, with its own ServiceAccount, the steps' image and two probes."""
    base = load_manifests("warm")
    extra = [one for one in load_manifests("warm", image="flow:2", components=(SERVER,)) if one not in base]
    found = {one["kind"]: one for one in extra if one["kind"] != "WorkflowTemplate"}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["image"], pod["serviceAccountName"]) == (
        "flow:2",
        found["ServiceAccount"]["metadata"]["name"],
    )
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    assert found["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    roles = [one for one in extra if one["kind"] == "Role"]
    assert {one["metadata"]["name"] for one in roles} == {"ips-flow-server", "ips-flow-server-api"}
    for rule in [rule for role in roles for rule in role["rules"]]:
        assert not {"*", "secrets", "pods/exec"} & {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}


def test_the_server_is_replaced_without_a_gap() -> None:
    """The new pod is ready before the old pod ends; the old pod lingers and has time to shut down."""
    (deployment,) = of_kind("Deployment", components=(SERVER,))
    rolling = deployment["spec"]["strategy"]["rollingUpdate"]
    assert (rolling["maxUnavailable"], rolling["maxSurge"]) == (0, 1)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    lingers = container["args"][container["args"].index("--linger") + 1]
    assert lingers == "10s"
    assert pod["terminationGracePeriodSeconds"] > 10 + 15 + 30  # lingering, draining, the keeper's round
    assert "--auth" not in container["args"]  # the default: the cluster decides


def test_the_rights_of_the_server() -> None:
    """Cluster-wide, the server may only read nodes and create reviews; only one of its ports is reachable."""
    extra = [one for one in load_manifests("warm", components=(SERVER,)) if one not in load_manifests("warm")]
    bound = {
        one["metadata"]["name"]: one["roleRef"]["name"]
        for one in extra
        if one["kind"] == "ClusterRoleBinding"
    }
    assert bound == {"ips-flow-server": "ips-flow-nodes", "ips-flow-server-reviews": "ips-flow-server"}
    (role,) = [one for one in extra if one["kind"] == "ClusterRole"]
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["tokenreviews"], ["create"]),
        (["subjectaccessreviews"], ["create"]),
    ]
    (policy,) = [one for one in extra if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "http"}]}]


def test_the_image_is_set_in_one_place() -> None:
    """The kustomization's image is the default image, and every step pod uses it."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    (image,) = kustomization["images"]
    assert f"{image['newName']}:{image['newTag']}" == DEFAULT_IMAGE
    for asked, expected in (("", DEFAULT_IMAGE), ("registry.example:5000/flow:2", None)):
        images = {
            one["container"]["image"]
            for template in of_kind("WorkflowTemplate", image=asked)
            for one in template["spec"]["templates"]
            if "container" in one
        }
        assert images == {expected or asked}


def test_every_object_is_in_its_namespace() -> None:
    """Namespaced objects are set to the requested namespace; bindings refer to its ServiceAccounts."""
    for found in load_manifests("elsewhere"):
        namespaced = KINDS[found["kind"]][2]
        assert found["metadata"].get("namespace") == ("elsewhere" if namespaced else None)
        assert {subject["namespace"] for subject in found.get("subjects", ())} <= {"elsewhere"}


def test_order() -> None:
    """Objects are applied after those they refer to; the templates are last, when their steps can run."""
    kinds = [found["kind"] for found in load_manifests("warm", components=COMPONENTS)]
    assert kinds == sorted(kinds, key=list(KINDS).index)
    assert kinds[-1] == "WorkflowTemplate"
    assert set(kinds) == set(KINDS)


def test_settings() -> None:
    """The settings have the documented defaults; given settings override them."""
    (settings,) = of_kind("ConfigMap")
    defaults = {
        "max-concurrent-tasks": str(DEFAULT_MAX_CONCURRENT_TASKS),
        "worker-image": DEFAULT_WORKER_IMAGE,
        "webhook-allowed-networks": "",
    }
    assert settings["data"] == defaults
    (settings,) = of_kind("ConfigMap", settings={"worker-image": "w"})
    assert settings["data"] == {**defaults, "worker-image": "w"}


def test_how_long_ended_tasks_are_kept() -> None:
    """Ended tasks are kept for a week, or for the given time. The template for other Workflows sets no limit."""
    for asked, seconds in ((None, 604800), (60, 60)):
        templates = of_kind("WorkflowTemplate", keep_seconds=asked)
        strategies = [one["spec"]["ttlStrategy"] for one in templates if "ttlStrategy" in one["spec"]]
        assert strategies == [{"secondsAfterCompletion": seconds}]
        assert len(templates) == 2


def test_every_service_account_exists() -> None:
    """The ServiceAccounts of step and pull pods exist; that of each step is bound to the Role of the same name."""
    accounts = {one["metadata"]["name"] for one in of_kind("ServiceAccount")}
    steps = {
        one["serviceAccountName"]
        for template in of_kind("WorkflowTemplate")
        for one in template["spec"]["templates"]
        if "container" in one
    }
    assert accounts == {*steps, "ips-flow-pull"}
    bound = {
        (subject["name"], binding["roleRef"]["name"])
        for binding in of_kind("RoleBinding")
        for subject in binding["subjects"]
    }
    assert bound == {(name, name) for name in steps}
    assert {one["metadata"]["name"] for one in of_kind("Role")} == steps
    shared = {
        one["metadata"]["name"]: {subject["name"] for subject in one["subjects"]}
        for one in of_kind("ClusterRoleBinding")
    }
    assert shared == {
        "ips-flow-nodes": steps - {"ips-flow-submit"},
        "ips-flow-apiserver": {"ips-flow-finish"},
    }


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_no_right_is_unlimited(kind: str) -> None:
    """No Role has a wildcard. Only finish may read Secrets, and cluster-wide rights are read-only."""
    for role in of_kind(kind):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"pods/exec", "serviceaccounts/token"} & set(rule["resources"])
            if "secrets" in rule["resources"]:
                assert (role["metadata"]["name"], rule["verbs"]) == ("ips-flow-finish", ["get"])
            if kind == "ClusterRole" and rule["resources"] != ["nodes"]:
                assert (rule["resources"], rule["resourceNames"]) == (["endpointslices"], ["kubernetes"])
                assert rule["verbs"] == ["get"]
            elif kind == "ClusterRole":
                assert rule["verbs"] == ["get", "list"]


def test_the_pull_pods_talk_to_no_api() -> None:
    """The ServiceAccount of pull pods has no token and no rights."""
    (account,) = [one for one in of_kind("ServiceAccount") if one["metadata"]["name"] == "ips-flow-pull"]
    assert account["automountServiceAccountToken"] is False
    subjects = [
        subject["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in of_kind(kind)
        for subject in binding["subjects"]
    ]
    assert "ips-flow-pull" not in subjects


def test_pull_pods_never_preempt() -> None:
    """The PriorityClass of pull pods is below zero, never preempts, and is not the default."""
    (found,) = of_kind("PriorityClass")
    assert found["value"] < 0
    assert (found["preemptionPolicy"], found["globalDefault"]) == ("Never", False)


def test_paths() -> None:
    """`object_path` returns the API paths of objects and collections."""
    assert object_path("ConfigMap", "a", "x") == "/api/v1/namespaces/a/configmaps/x"
    assert object_path("ClusterRole", "a", "x") == "/apis/rbac.authorization.k8s.io/v1/clusterroles/x"
    assert object_path("Role", "a") == "/apis/rbac.authorization.k8s.io/v1/namespaces/a/roles"
