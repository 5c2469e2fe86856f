"""install and uninstall against the fake API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ips_flows.errors import NotInstalledError
from ips_flows.installation import install, uninstall
from ips_flows.kube import Kube
from ips_flows.manifests import load
from tests.fakes.apiserver import ApiServer


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as one:
        one.documents["/apis/argoproj.io/v1alpha1"] = {"kind": "APIResourceList", "resources": []}
        one.put("namespaces", {"metadata": {"name": "warm"}}, namespace="")
        yield one


@pytest.fixture
def kube(server: ApiServer, tmp_path: Path) -> Kube:
    return Kube.connect(str(server.kubeconfig(tmp_path)))


def put(kube: Kube, namespace: str = "warm", **options: Any) -> list[str]:
    """Install, and return what was said."""
    said: list[str] = []
    defaults: dict[str, Any] = {
        "image": "",
        "settings": {},
        "keep_seconds": None,
        "create_namespace": False,
    }
    install(kube, namespace, say=said.append, **(defaults | options))
    return said


def remove(kube: Kube, namespace: str = "warm", *, force: bool = False) -> list[str]:
    said: list[str] = []
    uninstall(kube, namespace, force=force, say=said.append)
    return said


def settings(server: ApiServer) -> Any:
    return server.get("configmaps", "ips-config")["data"]


def subjects(server: ApiServer) -> list[tuple[str, str]]:
    found = server.get("clusterrolebindings", "ips-flow-nodes", namespace="")["subjects"]
    return [(subject["namespace"], subject["name"].removeprefix("ips-flow-")) for subject in found]


def test_everything_is_created(server: ApiServer, kube: Kube) -> None:
    """Every object of the manifests is there afterwards, and was announced in the order of its creation."""
    wanted = [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in load("warm")]
    assert put(kube) == [f"{name} created" for name in wanted]
    assert len(server.store.objects) == len(wanted) + 1


def test_the_second_time_nothing_changes(server: ApiServer, kube: Kube) -> None:
    """The same installation again leaves every object as it is."""
    put(kube)
    version = server.store.version
    assert {line.rpartition(" ")[2] for line in put(kube)} == {"unchanged"}
    assert server.store.version == version


def test_an_upgrade_changes_what_differs(server: ApiServer, kube: Kube) -> None:
    """Another image is another template, and nothing else."""
    put(kube)
    said = put(kube, image="registry.example:5000/flow:2", keep_seconds=60)
    assert [line for line in said if not line.endswith(" unchanged")] == [
        "workflowtemplate/ips-prewarm configured"
    ]
    template = server.get("workflowtemplates", "ips-prewarm")
    assert template["spec"]["ttlStrategy"]["secondsAfterCompletion"] == 60


def test_settings_survive_an_upgrade(server: ApiServer, kube: Kube) -> None:
    """What was set stays, also by hand; what is given is set, and what is new is added."""
    put(kube, settings={"max-concurrent-tasks": "7"})
    server.change("configmaps", "ips-config", {"data": {"mine": "x", "worker-image": None}})
    assert "configmap/ips-config configured" in put(kube)
    assert settings(server) == {
        "max-concurrent-tasks": "7",
        "worker-image": "busybox:1.37-musl",
        "mine": "x",
    }
    put(kube, settings={"worker-image": "w"})
    assert settings(server) == {"max-concurrent-tasks": "7", "worker-image": "w", "mine": "x"}


def test_two_namespaces(server: ApiServer, kube: Kube) -> None:
    """The binding of cluster-wide rights holds the accounts of all namespaces, through installs and uninstalls."""
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


def test_an_account_of_an_older_version_goes(server: ApiServer, kube: Kube) -> None:
    """Of our own namespace only the accounts that we have now stay in the binding."""
    put(kube)
    old = {"kind": "ServiceAccount", "name": "ips-flow-old", "namespace": "warm"}
    server.change("clusterrolebindings", "ips-flow-nodes", {"subjects": [old]}, namespace="")
    put(kube)
    assert ("warm", "old") not in subjects(server)


def test_the_namespace(server: ApiServer, kube: Kube) -> None:
    """A namespace is made only when that is asked for, and then it is restricted."""
    with pytest.raises(NotInstalledError, match="namespace new does not exist"):
        put(kube, "new")
    assert put(kube, "new", create_namespace=True)[0] == "namespace/new created"
    labels = server.get("namespaces", "new", namespace="")["metadata"]["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_without_argo(server: ApiServer, kube: Kube) -> None:
    """Nothing is installed into a cluster that does not know Argo's kinds."""
    server.documents.clear()
    with pytest.raises(NotInstalledError, match="Argo Workflows is not installed"):
        put(kube)
    assert {key[0] for key in server.store.objects} == {"namespaces"}


def test_uninstall(server: ApiServer, kube: Kube) -> None:
    """All that install made is deleted, in the reverse order; the second time there is nothing to delete."""
    made = [line.rpartition(" ")[0] for line in put(kube)]
    assert remove(kube) == [f"{name} deleted" for name in reversed(made)]
    assert {key[0] for key in server.store.objects} == {"namespaces"}
    assert remove(kube) == [f"{name} was not there" for name in reversed(made)]


def test_open_tasks_forbid_an_uninstall(server: ApiServer, kube: Kube) -> None:
    """Tasks that have not ended would be left without their steps; ended ones and other Workflows don't matter."""
    put(kube)
    ended = {"ips-flow.io/task": "true", "ips-flow.io/verdict": "completed"}
    over = {"ips-flow.io/task": "true", "workflows.argoproj.io/completed": "true"}
    server.put("workflows", {"metadata": {"name": "ended", "labels": ended}})
    server.put("workflows", {"metadata": {"name": "over", "labels": over}})
    server.put("workflows", {"metadata": {"name": "foreign"}})
    server.put("workflows", {"metadata": {"name": "open", "labels": {"ips-flow.io/task": "true"}}})
    before = set(server.store.objects)
    with pytest.raises(NotInstalledError, match="1 tasks in namespace warm have not ended: open") as caught:
        remove(kube)
    assert "--force" in caught.value.hint
    assert set(server.store.objects) == before
    remove(kube, force=True)
    assert {key[0] for key in server.store.objects} == {"namespaces", "workflows"}
