"""install and uninstall against the fake API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ips_flows.core.errors import ForbiddenError, NotInstalledError, TasksRunError
from ips_flows.kube.client import Kube
from ips_flows.operations import tasks
from ips_flows.operations.install import install as operation
from ips_flows.operations.install.install import install, uninstall
from ips_flows.operations.install.manifests import PRIORITY, SERVER_NAME, load_manifests
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import Argo

POLICIES = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as one:
        one.documents["/apis/argoproj.io/v1alpha1"] = {"kind": "APIResourceList", "resources": []}
        one.documents[POLICIES] = {"resources": [{"name": "mutatingadmissionpolicies"}]}
        one.put("namespaces", {"metadata": {"name": "warm"}}, namespace="")
        yield one


def put(kube: Kube, namespace: str = "warm", **options: Any) -> list[str]:
    """Install, and return the output lines."""
    said: list[str] = []
    defaults: dict[str, Any] = {
        "image": "",
        "settings": {},
        "keep_seconds": None,
        "create_namespace": False,
    }
    install(kube, namespace, say=said.append, **(defaults | options))
    return said


def remove(
    kube: Kube, namespace: str = "warm", *, cancel: bool = False, timeout: float | None = None
) -> list[str]:
    said: list[str] = []
    uninstall(kube, namespace, cancel=cancel, timeout=timeout, say=said.append)
    return said


def settings(server: ApiServer) -> Any:
    return server.get("configmaps", "ips-config")["data"]


def subjects(server: ApiServer) -> list[tuple[str, str]]:
    found = server.get("clusterrolebindings", "ips-flow-nodes", namespace="")["subjects"]
    return [(subject["namespace"], subject["name"].removeprefix("ips-flow-")) for subject in found]


def test_everything_is_created(server: ApiServer, kube: Kube) -> None:
    """Every object of the manifests is created and reported in the order of creation."""
    wanted = [
        f"{one['kind'].lower()}/{one['metadata']['name']}"
        for one in load_manifests("warm", components=(PRIORITY,))
    ]
    assert put(kube) == [f"{name} created" for name in wanted]
    assert len(server.store.objects) == len(wanted) + 1


def test_the_second_time_nothing_changes(server: ApiServer, kube: Kube) -> None:
    """A second identical installation changes no object."""
    put(kube)
    version = server.store.version
    assert {line.rpartition(" ")[2] for line in put(kube)} == {"unchanged"}
    assert server.store.version == version


def test_an_upgrade_changes_what_differs(server: ApiServer, kube: Kube) -> None:
    """Another image changes the templates only."""
    put(kube)
    said = put(kube, image="registry.example:5000/flow:2", keep_seconds=60)
    assert [line for line in said if not line.endswith(" unchanged")] == [
        "workflowtemplate/ips-prewarm configured",
        "workflowtemplate/ips-submit configured",
    ]
    template = server.get("workflowtemplates", "ips-prewarm")
    assert template["spec"]["ttlStrategy"]["secondsAfterCompletion"] == 60


def test_settings_survive_an_upgrade(server: ApiServer, kube: Kube) -> None:
    """Existing settings stay, also manual changes; given settings are set, and new ones are added."""
    put(kube, settings={"max-concurrent-tasks": "7"})
    server.change("configmaps", "ips-config", {"data": {"mine": "x", "worker-image": None}})
    assert "configmap/ips-config configured" in put(kube)
    assert settings(server) == {
        "max-concurrent-tasks": "7",
        "worker-image": "busybox:1.37-musl",
        "webhook-allowed-networks": "",
        "mine": "x",
    }
    put(kube, settings={"worker-image": "w"})
    assert settings(server) == {
        "max-concurrent-tasks": "7",
        "worker-image": "w",
        "webhook-allowed-networks": "",
        "mine": "x",
    }


def test_two_namespaces(server: ApiServer, kube: Kube) -> None:
    """The ClusterRoleBinding keeps the accounts of all namespaces, through installs and uninstalls."""
    put(kube)
    put(kube, "other", create_namespace=True)
    steps = ["filter", "drive", "finish"]
    both = [("warm", step) for step in steps] + [("other", step) for step in steps]
    assert subjects(server) == both
    assert {line.rpartition(" ")[2] for line in put(kube)} == {"unchanged"}
    said = remove(kube)
    assert subjects(server) == [("other", step) for step in steps]
    assert "clusterrole/ips-flow-nodes kept: another namespace uses it" in said
    assert server.get("priorityclasses", "ips-flow-pull", namespace="")
    assert "clusterrolebinding/ips-flow-nodes deleted" in remove(kube, "other")
    left = [key for key in server.store.objects if key[0] != "namespaces"]
    assert left == []


def test_an_account_of_an_earlier_version_is_removed(server: ApiServer, kube: Kube) -> None:
    """An upgrade removes accounts of earlier versions in the same namespace from the binding."""
    put(kube)
    old = {"kind": "ServiceAccount", "name": "ips-flow-old", "namespace": "warm"}
    server.change("clusterrolebindings", "ips-flow-nodes", {"subjects": [old]}, namespace="")
    put(kube)
    assert ("warm", "old") not in subjects(server)


def test_the_namespace(server: ApiServer, kube: Kube) -> None:
    """A namespace is created only on request, and then enforces the restricted Pod Security level."""
    with pytest.raises(NotInstalledError, match="namespace new does not exist"):
        put(kube, "new")
    assert put(kube, "new", create_namespace=True)[0] == "namespace/new created"
    labels = server.get("namespaces", "new", namespace="")["metadata"]["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_without_argo(server: ApiServer, kube: Kube) -> None:
    """Nothing is installed into a cluster without Argo's API."""
    server.documents.clear()
    with pytest.raises(NotInstalledError, match="Argo Workflows is not installed"):
        put(kube)
    assert {key[0] for key in server.store.objects} == {"namespaces"}


def test_uninstall(server: ApiServer, kube: Kube) -> None:
    """All objects of install are deleted in reverse order; a second uninstall finds none."""
    made = [line.rpartition(" ")[0] for line in put(kube)]
    assert remove(kube) == [f"{name} deleted" for name in reversed(made)]
    assert {key[0] for key in server.store.objects} == {"namespaces"}
    assert remove(kube) == [f"{name} not found" for name in reversed(made)]


def test_open_tasks_forbid_an_uninstall(server: ApiServer, kube: Kube) -> None:
    """Tasks that have not ended block an uninstall, since they need their steps; ended tasks and other Workflows do not."""
    put(kube)
    ended = {"ips-flow.io/task": "true", "workflows.argoproj.io/phase": "Failed"}
    over = {"ips-flow.io/task": "true", "workflows.argoproj.io/completed": "true"}
    server.put("workflows", {"metadata": {"name": "ended", "labels": ended}})
    server.put("workflows", {"metadata": {"name": "over", "labels": over}})
    server.put("workflows", {"metadata": {"name": "foreign"}})
    server.put("workflows", {"metadata": {"name": "open", "labels": {"ips-flow.io/task": "true"}}})
    before = set(server.store.objects)
    with pytest.raises(TasksRunError, match=r"^1 task in namespace warm has not ended: open$") as caught:
        remove(kube)
    assert caught.value.hint == "Wait until it ends, or cancel it with --cancel."
    assert set(server.store.objects) == before


def submitted(server: ApiServer, name: str, phase: str) -> Argo:
    server.put("workflows", {"metadata": {"name": name, "labels": {"ips-flow.io/task": "true"}}, "spec": {}})
    argo = Argo(server, name)
    argo.phase(phase)
    return argo


def test_an_uninstall_that_cancels(server: ApiServer, kube: Kube) -> None:
    """Pending tasks are cancelled before running ones, so that they can't start; then uninstall waits for all."""
    put(kube)
    running, waiting = submitted(server, "a-running", "Running"), submitted(server, "b-waiting", "Pending")

    def play() -> None:
        waiting.wait_for(lambda found: found["spec"].get("shutdown") == "Terminate")
        over = {"workflows.argoproj.io/completed": "true"}
        server.change("workflows", "b-waiting", {"metadata": {"labels": over}})
        waiting.phase("Succeeded")
        running.wait_for(lambda found: found["spec"].get("shutdown") == "Stop")
        assert server.get("workflowtemplates", "ips-prewarm")
        running.verdict({}, stopped=True)
        running.phase("Failed")

    player = threading.Thread(target=play)
    player.start()
    said = remove(kube, cancel=True)
    player.join()
    assert said[:4] == [
        "task b-waiting is being cancelled",
        "task a-running is being cancelled",
        "task a-running cancelled",
        "task b-waiting cancelled",
    ]
    assert {key[0] for key in server.store.objects} == {"namespaces", "workflows"}


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("verdict_first", [False, True])
def test_an_uninstall_waits_for_the_exit_handler(
    server: ApiServer, kube: Kube, *, verdict_first: bool, deleted: bool
) -> None:
    """With a verdict, the exit handler may still run: uninstall waits until the Workflow has ended or is deleted."""
    put(kube)
    running = submitted(server, "a-running", "Running")
    if verdict_first:
        running.verdict({}, stopped=True)
    kept: list[bool] = []

    def play() -> None:
        if not verdict_first:
            running.wait_for(lambda found: found["spec"].get("shutdown") == "Stop")
            running.verdict({}, stopped=True)
        time.sleep(0.5)
        kept.append(("rolebindings", "warm", "ips-flow-finish") in server.store.objects)
        if deleted:
            kube.delete("/apis/argoproj.io/v1alpha1/namespaces/warm/workflows/a-running")
        else:
            running.phase("Failed")

    player = threading.Thread(target=play)
    player.start()
    said = remove(kube, cancel=True, timeout=30)
    player.join()
    assert kept == [True]
    assert "task a-running cancelled" in said
    assert "workflowtemplates" not in {key[0] for key in server.store.objects}


@pytest.mark.parametrize("step", ["workflow", "cancel"])
def test_a_task_that_is_deleted_before_its_cancellation(
    server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A task that another client deletes after uninstall has listed it does not stop the uninstall."""
    put(kube)
    submitted(server, "gone", "Running")
    module: Any = tasks if step == "workflow" else operation
    name = "workflow" if step == "workflow" else "cancel_task"
    call = getattr(module, name)

    def deleted_first(*given: Any) -> Any:
        server.store.objects.pop(("workflows", "warm", "gone"), None)
        return call(*given)

    monkeypatch.setattr(module, name, deleted_first)
    assert "workflowtemplate/ips-prewarm deleted" in remove(kube, cancel=True, timeout=30)


def test_a_timeout_limits_the_wait_for_the_exit_handler(server: ApiServer, kube: Kube) -> None:
    """If a Workflow with a verdict does not end in time, nothing is deleted, with and without --cancel."""
    put(kube)
    submitted(server, "stuck", "Running").verdict({}, stopped=True)
    for cancel in (False, True):
        with pytest.raises(TasksRunError, match=r"^1 task in namespace warm has not ended: stuck$"):
            remove(kube, cancel=cancel, timeout=0.1)
    assert server.get("workflowtemplates", "ips-prewarm")


def test_an_uninstall_has_a_timeout(server: ApiServer, kube: Kube) -> None:
    """If a task does not end in time, nothing is deleted, since the task needs its steps."""
    put(kube)
    submitted(server, "stuck", "Running")
    with pytest.raises(TasksRunError, match="has not ended"):
        remove(kube, cancel=True, timeout=0.1)
    assert server.get("workflowtemplates", "ips-prewarm")


def test_the_priority_policy_needs_a_cluster_that_knows_it(server: ApiServer, kube: Kube) -> None:
    """If the cluster lacks the kind, install skips the policy with a message, and uninstall does not find it."""
    server.documents.pop(POLICIES)
    server.groups.discard("admissionregistration.k8s.io")
    assert "priority policy skipped" in put(kube)[0]
    assert not [key for key in server.store.objects if "admission" in key[0]]
    assert "mutatingadmissionpolicy/ips-flow-priority not found" in remove(kube)


def test_the_priority_policy_can_be_left_out(server: ApiServer, kube: Kube) -> None:
    """The policy can be skipped by users without the right to it, or who do not want it."""
    server.fail("PATCH /apis/admissionregistration", 403, "Forbidden", "no")
    with pytest.raises(ForbiddenError) as caught:
        put(kube)
    assert "--without-priority-policy" in caught.value.hint
    assert len(put(kube, priority_policy=False)) == len(load_manifests("warm"))


def test_a_second_installation_keeps_the_policy(server: ApiServer, kube: Kube) -> None:
    """All installations of the cluster share the policy: it is deleted with the last one."""
    put(kube)
    put(kube, "other", create_namespace=True)
    assert "mutatingadmissionpolicy/ips-flow-priority kept: another namespace uses it" in remove(kube)
    assert server.get("mutatingadmissionpolicybindings", "ips-flow-priority", namespace="")
    assert "mutatingadmissionpolicybinding/ips-flow-priority deleted" in remove(kube, "other")


def test_the_server(server: ApiServer, kube: Kube) -> None:
    """The server is installed on request, and upgraded and deleted with the rest; those of other namespaces stay."""
    assert "deployment/ips-flow-server created" in put(kube, server=True)
    put(kube, "other", create_namespace=True, server=True)
    assert "deployment/ips-flow-server configured" in put(kube, image="registry.example:5000/flow:2")
    (container,) = server.get("deployments", SERVER_NAME)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example:5000/flow:2"
    binding = server.get("clusterrolebindings", SERVER_NAME, namespace="")
    assert [subject["namespace"] for subject in binding["subjects"]] == ["warm", "other"]
    server.put("leases", {"metadata": {"name": "ips-keeper"}})
    said = remove(kube)
    assert "clusterrolebinding/ips-flow-server kept: another namespace uses it" in said
    assert {"deployment/ips-flow-server deleted", "lease/ips-keeper deleted"} <= set(said)
    binding = server.get("clusterrolebindings", SERVER_NAME, namespace="")
    assert [subject["namespace"] for subject in binding["subjects"]] == ["other"]
    assert subjects(server) == [("other", step) for step in ("filter", "drive", "finish")]
    remove(kube, "other")
    assert {key[0] for key in server.store.objects} == {"namespaces"}
