"""doctor against the fake API server."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.kube.client import Kube
from ips_flows.operations.doctor import Finding, examine
from ips_flows.operations.install.install import install
from tests.fakes.apiserver import ApiServer
from tests.support.kube_objects import held, node

KINDS = ("workflows", "workflowtemplates", "workflowtaskresults", "cronworkflows")
POLICIES = "/apis/admissionregistration.k8s.io/v1"
KNOWS_POLICIES = {"resources": [{"name": "mutatingadmissionpolicies"}]}
LOST = "tasks of Argo's submit form get priority 0 and start last, and priorities are not limited to 1-10"
UNKEPT = "tasks whose exit handler fails get no verdict"
FINISH = "system:serviceaccount:warm:ips-flow-finish"
DEPLOYMENTS = "/apis/apps/v1/deployments"


def controller(image: str) -> dict[str, Any]:
    return {"items": [{"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}]}


def keeper_lease(holder: str, renewed: datetime) -> dict[str, Any]:
    return {
        "metadata": {"name": "ips-keeper"},
        "spec": {"holderIdentity": holder, "renewTime": clock.stamp(renewed)},
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """The objects of an installation, created once."""
    with ApiServer() as one:
        one.documents["/apis/argoproj.io/v1alpha1"] = {}
        one.documents[POLICIES] = KNOWS_POLICIES
        install(
            Kube.connect(str(one.kubeconfig(tmp_path_factory.mktemp("install")))),
            "warm",
            image="",
            settings={},
            keep_seconds=None,
            create_namespace=True,
            say=lambda _line: None,
        )
        return one.store.objects


@pytest.fixture
def server(installed: dict[Any, Any]) -> Iterator[ApiServer]:
    with ApiServer() as one:
        one.store.objects.update(copy.deepcopy(installed))
        one.documents = {
            "/version": {"gitVersion": "v1.36.3"},
            "/apis/argoproj.io/v1alpha1": {"resources": [{"name": kind} for kind in KINDS]},
            POLICIES: KNOWS_POLICIES,
            DEPLOYMENTS: controller("quay.io/argoproj/workflow-controller:v4.0.7"),
        }
        one.put("leases", keeper_lease("server-1", clock.now()))
        one.put("nodes", node("n1"), namespace="")
        one.put("nodes", node("n2"), namespace="")
        yield one


def findings(kube: Kube) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(kube, "warm")}


def test_no_faults(server: ApiServer, kube: Kube) -> None:
    """If a namespace can run tasks, every finding is ok and shows the value that was found."""
    found = list(examine(kube, "warm"))
    assert [(finding.level, finding.subject, finding.message) for finding in found] == [
        ("ok", "apiserver", f"{server.url} is reachable, Kubernetes v1.36.3"),
        ("ok", "argo", "the CRDs of Argo Workflows are installed"),
        ("ok", "argo version", "v4.0.7 (quay.io/argoproj/workflow-controller:v4.0.7)"),
        ("ok", "namespace", "warm exists"),
        ("ok", "template", "ips-prewarm 0.1.0"),
        ("ok", "settings", "at most 3 tasks at the same time, worker image busybox:1.37-musl"),
        ("ok", "priority policy", "every task gets its priority, within 1-10"),
        ("ok", "priority class", "ips-flow-pull, value -10, never preempts"),
        (
            "ok",
            "service accounts",
            "ips-flow-drive, ips-flow-filter, ips-flow-finish, ips-flow-pull, ips-flow-submit",
        ),
        ("ok", "your permissions", "you may run every command of ips-flow"),
        ("ok", "steps' permissions", "all steps have the permissions that they need"),
        ("ok", "keeper", "server-1 holds the Lease"),
        ("ok", "nodes", "every node mounts image volumes (2 nodes)"),
        ("ok", "image lists", "every node lists all its images"),
    ]


def test_steps_need_only_their_rights(server: ApiServer, kube: Kube) -> None:
    """ServiceAccount ips-flow-submit, for submits from other Workflows, needs no right to nodes."""
    may_not(resource="nodes", user="system:serviceaccount:warm:ips-flow-submit")(server)
    assert {finding.level for finding in examine(kube, "warm")} == {"ok"}


def test_the_servers_rights_are_checked_if_it_is_installed(server: ApiServer, kube: Kube) -> None:
    """The server's rights are checked against the Roles of its component, but only if the server is installed."""
    may_not(resource="tokenreviews", user="system:serviceaccount:warm:ips-flow-server")(server)
    assert {finding.level for finding in examine(kube, "warm")} == {"ok"}
    server.put("deployments", {"metadata": {"name": "ips-flow-server"}})
    (found,) = [one for one in examine(kube, "warm") if one.subject == "steps' permissions"]
    assert (found.level, found.message) == ("fail", "ips-flow-server may not create tokenreviews")


def change(
    kind: str, name: str, patch: dict[str, Any], namespace: str = "warm"
) -> Callable[[ApiServer], Any]:
    return lambda server: server.change(kind, name, patch, namespace)


def drop(kind: str, name: str, namespace: str = "warm") -> Callable[[ApiServer], Any]:
    return lambda server: server.remove(kind, name, namespace)


def answers(path: str, document: dict[str, Any]) -> Callable[[ApiServer], Any]:
    return lambda server: server.documents.update({path: document})


def may_not(**attributes: str) -> Callable[[ApiServer], Any]:
    """Refuse access reviews with these attributes for a user (empty: the current user)."""
    user = attributes.pop("user", "")

    def may(spec: Any) -> bool:
        asked = spec["resourceAttributes"]
        refused = all(asked.get(key) == value for key, value in attributes.items())
        return not (refused and spec.get("user", "") == user)

    return lambda server: setattr(server, "may", may)


def no_image_volumes(server: ApiServer) -> None:
    def strip(kind: str, item: Any) -> Any:
        if kind == "jobs":
            item["spec"]["template"]["spec"]["volumes"] = [{"name": "probe"}]
        return item

    server.admit = strip


FIFTY = [held(f"registry.example/app{number}:1") for number in range(50)]


@pytest.mark.parametrize(
    ("spoil", "level", "subject", "message"),
    [
        (
            lambda server: server.documents.pop("/apis/argoproj.io/v1alpha1"),
            "fail",
            "argo",
            "Argo Workflows is not installed: the API argoproj.io/v1alpha1 is missing",
        ),
        (
            answers("/apis/argoproj.io/v1alpha1", {"resources": [{"name": kind} for kind in KINDS[:2]]}),
            "fail",
            "argo",
            "CRDs are missing: cronworkflows, workflowtaskresults",
        ),
        (
            answers(DEPLOYMENTS, controller("argo:v3.6.2")),
            "fail",
            "argo version",
            "v3.6.2 is too old",
        ),
        (
            answers(DEPLOYMENTS, {"items": []}),
            "warn",
            "argo version",
            "unknown: found no workflow-controller Deployment and no step pod",
        ),
        (drop("namespaces", "warm", ""), "fail", "namespace", "warm does not exist"),
        (
            drop("workflowtemplates", "ips-prewarm"),
            "fail",
            "template",
            "WorkflowTemplate ips-prewarm is missing",
        ),
        (
            change(
                "workflowtemplates",
                "ips-prewarm",
                {"metadata": {"annotations": {"ips-flow.io/version": "0.0.9"}}},
            ),
            "warn",
            "template",
            "version of ips-prewarm is 0.0.9, version of ips-flow is 0.1.0",
        ),
        (drop("configmaps", "ips-config"), "fail", "settings", "ConfigMap ips-config is missing"),
        (
            change("configmaps", "ips-config", {"data": {"max-concurrent-tasks": "0"}}),
            "fail",
            "settings",
            "max-concurrent-tasks of ips-config is '0', expected a number from 1",
        ),
        (
            change("configmaps", "ips-config", {"data": {"max-concurrent-tasks": None}}),
            "fail",
            "settings",
            "max-concurrent-tasks of ips-config is missing, expected a number from 1",
        ),
        (
            change("configmaps", "ips-config", {"data": {"worker-image": None}}),
            "fail",
            "settings",
            "worker-image of ips-config is missing",
        ),
        (
            change("configmaps", "ips-config", {"data": {"webhook-allowed-networks": "10.0.0.0/8, lan"}}),
            "warn",
            "settings",
            "webhook-allowed-networks of ips-config: 'lan' is not a network and is ignored",
        ),
        (
            answers(POLICIES, {"resources": []}),
            "warn",
            "priority policy",
            f"the cluster has no MutatingAdmissionPolicy: {LOST}",
        ),
        (
            drop("mutatingadmissionpolicybindings", "ips-flow-priority", ""),
            "warn",
            "priority policy",
            f"missing: MutatingAdmissionPolicyBinding ips-flow-priority; so {LOST}",
        ),
        (
            drop("leases", "ips-keeper"),
            "warn",
            "keeper",
            f"no keeper runs: {UNKEPT}",
        ),
        (
            change("leases", "ips-keeper", {"spec": {"holderIdentity": ""}}),
            "warn",
            "keeper",
            f"no keeper holds the Lease: {UNKEPT}",
        ),
        (
            drop("priorityclasses", "ips-flow-pull", ""),
            "fail",
            "priority class",
            "ips-flow-pull is missing",
        ),
        (
            change("priorityclasses", "ips-flow-pull", {"value": 5}, ""),
            "warn",
            "priority class",
            "ips-flow-pull has value 5 and preemptionPolicy Never: pull pods may preempt other pods",
        ),
        (drop("serviceaccounts", "ips-flow-pull"), "fail", "service accounts", "missing: ips-flow-pull"),
        (
            may_not(verb="patch", resource="workflows"),
            "warn",
            "your permissions",
            "you may not patch workflows",
        ),
        (
            may_not(
                resource="pods",
                subresource="status",
                verb="patch",
                user="system:serviceaccount:warm:ips-flow-drive",
            ),
            "fail",
            "steps' permissions",
            "ips-flow-drive may not patch pods/status",
        ),
        (
            may_not(resource="nodes", user="system:serviceaccount:warm:ips-flow-filter"),
            "fail",
            "steps' permissions",
            "ips-flow-filter may not get nodes, ips-flow-filter may not list nodes",
        ),
        (
            may_not(resource="endpointslices", namespace="default", name="kubernetes", user=FINISH),
            "fail",
            "steps' permissions",
            "ips-flow-finish may not get endpointslices",
        ),
        (
            lambda server: server.put("nodes", node("n2", kubelet="v1.34.1"), namespace=""),
            "warn",
            "nodes",
            "1 of 2 nodes do not mount image volumes (n2 runs kubelet v1.34.1; needed: 1.35 or later)",
        ),
        (no_image_volumes, "warn", "nodes", "the API server drops image volumes"),
        (
            lambda server: [server.remove("nodes", name, "") for name in ("n1", "n2")],
            "fail",
            "nodes",
            "the cluster has no nodes",
        ),
        (
            lambda server: server.put("nodes", node("n1", images=FIFTY), namespace=""),
            "warn",
            "image lists",
            "node n1 lists exactly 50 images: smaller images may be missing",
        ),
    ],
)
def test_what_is_wrong_is_found(
    server: ApiServer,
    kube: Kube,
    *,
    spoil: Callable[[ApiServer], Any],
    level: str,
    subject: str,
    message: str,
) -> None:
    """A fault gives exactly one finding that is not ok, with a message and a hint."""
    spoil(server)
    found = findings(kube)
    assert (found[subject].level, found[subject].message) == (level, message)
    assert found[subject].hint
    assert [one.subject for one in found.values() if one.level != "ok"] == [subject]


def test_a_missing_installation_has_one_hint(server: ApiServer, kube: Kube) -> None:
    """If the template is missing, every finding that an installation fixes suggests the same command."""
    server.remove("workflowtemplates", "ips-prewarm")
    server.remove("configmaps", "ips-config")
    server.remove("leases", "ips-keeper")
    server.remove("priorityclasses", "ips-flow-pull", "")
    hints = {one.subject: one.hint for one in findings(kube).values() if one.level != "ok"}
    command = "ips-flow install -n warm --image IMAGE --with-server"
    assert hints == dict.fromkeys(("template", "settings", "priority class", "keeper"), command)


def test_the_doctor_stops_without_argo_or_the_namespace(server: ApiServer, kube: Kube) -> None:
    """The doctor stops if Argo or the namespace is missing, since the later checks depend on it."""
    server.remove("namespaces", "warm", "")
    assert list(findings(kube))[-1] == "namespace"
    server.documents.pop("/apis/argoproj.io/v1alpha1")
    assert list(findings(kube))[-1] == "argo"


def test_the_version_is_read_from_the_executor(server: ApiServer, kube: Kube) -> None:
    """Without the right to read the controller, the version is read from the executor in a step pod."""
    server.fail(f"GET {DEPLOYMENTS}", 403, "Forbidden", "no")
    labels = {"workflows.argoproj.io/workflow": "t"}
    containers = [{"name": "wait", "image": "quay.io/argoproj/argoexec:v4.1.0-rc1"}]
    server.put("pods", {"metadata": {"name": "p", "labels": labels}, "spec": {"containers": containers}})
    assert findings(kube)["argo version"].message == "v4.1.0-rc1 (quay.io/argoproj/argoexec:v4.1.0-rc1)"


def test_a_check_that_is_forbidden_is_a_warning(server: ApiServer, kube: Kube) -> None:
    """A forbidden check is a warning, and all other checks still run."""
    server.forbid("GET /api/v1/nodes", "list", "nodes")
    found = findings(kube)
    assert found["image volumes"].level == "warn"
    assert "not checked: " in found["image volumes"].message
    assert found["steps' permissions"].level == "ok"


def test_the_doctor_changes_nothing(server: ApiServer, kube: Kube) -> None:
    """The doctor only reads, and creates access reviews and dry runs."""
    version = server.store.version
    findings(kube)
    assert server.store.version == version


def test_a_keeper_that_does_not_renew_its_lease(server: ApiServer, kube: Kube) -> None:
    """A Lease that is not renewed is a warning; the hint names the flag that installs a keeper."""
    server.put("leases", keeper_lease("server-1", clock.now() - timedelta(seconds=120)))
    finding = findings(kube)["keeper"]
    assert finding.level == "warn"
    assert finding.message.startswith("server-1 last renewed the Lease 12")
    assert "--with-server" in finding.hint
