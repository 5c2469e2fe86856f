"""The workloads of a cluster, read from a loopback server."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ips_flows.core.discover.finder import Finder, Findings
from ips_flows.core.errors import NotFoundError, UsageError
from ips_flows.kube.client import Kube
from ips_flows.operations.workloads import read_workloads
from tests.fakes.apiserver import ApiServer
from tests.support.paths import MANIFESTS

LIVE = MANIFESTS / "live.yaml"


def read(kube: Kube, namespace: str = "warm", *custom: str) -> Findings:
    finder = Finder()
    read_workloads(kube, namespace, finder, custom=custom)
    return finder.findings()


def put(server: ApiServer, kind: str, name: str, image: str, namespace: str = "warm", **fields: Any) -> None:
    """Store an object of this kind with one container."""
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": image}]}
    if kind != "pods":
        spec = {"template": {"spec": spec}}
    server.put(kind, {"metadata": {"name": name}, "spec": spec, **fields}, namespace)
    del server.store.objects[kind, namespace, name]["kind"]  # items of lists have none
    del server.store.objects[kind, namespace, name]["apiVersion"]


def test_everything_that_runs(server: ApiServer, kube: Kube) -> None:
    """Reading the cluster in pages finds the same images as the output of `kubectl get all`."""
    for item in yaml.safe_load(LIVE.read_text(encoding="utf-8"))["items"]:
        item["metadata"]["namespace"] = "warm"
        plural = f"{item['kind'].lower()}s"
        server.put(plural, item)
    server.page_limit = 2
    found = read(kube)
    assert sorted((use.image, use.pods) for use in found.uses if use.location.kind != "Pod") == [
        ("apache/spark:4.0.1", 1),
        ("busybox:1.37", 1),
        ("registry.example.com/logs:1", "each node"),
        ("registry.example.com/mesh:1", 1),
        ("registry.example.com/mesh:1", 2),
        ("registry.example.com/web:1", 1),
        ("registry.example.com/web:2", 2),
    ]
    assert found.left_out == {"ended": 2, "ignored by annotation": 3, "of IPS Flow itself": 1}
    assert {use.location.source for use in found.uses} == {""}


def test_each_kind_is_read(server: ApiServer, kube: Kube) -> None:
    """Every kind that creates pods is listed, only in the namespace and without ended pods."""
    for kind in ("deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "cronjobs", "pods"):
        put(server, kind, "x", f"{kind}:1")
        put(server, kind, "y", f"{kind}:2", "other")
    put(server, "pods", "over", "over:1", status={"phase": "Succeeded"})
    for kind, name in (
        ("workflows", "Workflow"),
        ("workflowtemplates", "WorkflowTemplate"),
        ("cronworkflows", "CronWorkflow"),
    ):
        templates = {"templates": [{"name": "t", "container": {"image": f"{kind}:1"}}]}
        server.put(
            kind,
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": name,
                "metadata": {"name": "x"},
                "spec": {"workflowSpec": templates} if name == "CronWorkflow" else templates,
            },
        )
    secrets = [{"name": "ours"}]
    account = {"kind": "ServiceAccount", "metadata": {"name": "default"}, "imagePullSecrets": secrets}
    server.put("serviceaccounts", account)
    found = read(kube)
    assert sorted(use.image for use in found.uses) == [
        "cronjobs:1",
        "cronworkflows:1",
        "daemonsets:1",
        "deployments:1",
        "jobs:1",
        "pods:1",
        "replicasets:1",
        "statefulsets:1",
        "workflows:1",
        "workflowtemplates:1",
    ]
    assert {use.secrets for use in found.uses} == {("ours",)}
    assert {use.location.namespace for use in found.uses} == {"warm"}
    everything = read(kube, "")
    assert len(everything.uses) == len(found.uses) + 7
    assert any("clusterworkflowtemplates" in call for call in server.calls)


def test_a_cluster_without_argo(server: ApiServer, kube: Kube) -> None:
    """Argo kinds that the cluster lacks are not an error."""
    server.groups.discard("argoproj.io")
    put(server, "deployments", "x", "a:1")
    found = read(kube)
    assert ([use.image for use in found.uses], found.notes) == (["a:1"], ())


def test_a_cluster_without_a_usual_kind(server: ApiServer, kube: Kube) -> None:
    """A missing built-in kind is an error."""
    server.groups.discard("apps")
    with pytest.raises(NotFoundError):
        read(kube)


def test_a_missing_right_becomes_a_note(server: ApiServer, kube: Kube) -> None:
    """A kind that may not be listed gives a note, since images may be missing because of it."""
    server.forbid("GET .*/cronjobs", "list", "cronjobs", "batch")
    put(server, "deployments", "x", "a:1")
    found = read(kube)
    assert [use.image for use in found.uses] == ["a:1"]
    assert [(str(one), one.missing) for one in found.notes] == [
        (
            "CronJob/warm/?: not read: me may not list cronjobs.batch in namespace warm",
            True,
        )
    ]


def test_a_list_that_expires_is_read_again(server: ApiServer, kube: Kube) -> None:
    """No object is counted twice if a list expires between its pages."""
    for number in range(3):
        put(server, "deployments", f"d{number}", f"a:{number}")
    server.page_limit = 1
    server.fail("GET .*/deployments.*continue=2", 410, "Expired", times=1)
    assert [use.image for use in read(kube).uses] == ["a:0", "a:1", "a:2"]


def test_custom_kinds(server: ApiServer, kube: Kube) -> None:
    """A custom kind is read in the version that the cluster prefers; a missing kind is an error."""
    server.groups.add("example.com")
    server.documents["/apis/example.com"] = {"preferredVersion": {"version": "v2"}}
    template = {"spec": {"containers": [{"name": "c", "image": "thing:1"}]}}
    server.put(
        "things",
        {
            "apiVersion": "example.com/v2",
            "kind": "Thing",
            "metadata": {"name": "t"},
            "spec": {"template": template},
        },
    )
    found = read(kube, "warm", "things.example.com")
    assert [(use.image, str(use.location)) for use in found.uses] == [
        ("thing:1", "Thing/warm/t, container c")
    ]
    assert "GET /apis/example.com/v2/namespaces/warm/things?limit=500" in server.calls
    for text, said in (
        ("things", "kind 'things': expected plural.group"),
        ("things.other.example", "kind 'things.other.example': the cluster has no API group other.example"),
    ):
        with pytest.raises(UsageError) as caught:
            read(kube, "warm", text)
        assert caught.value.message == said


def definition(server: ApiServer, plural: str, schema: Any, **fields: Any) -> None:
    """Store a CustomResourceDefinition whose kind is served as v1 and, with another schema, as v1alpha1."""
    server.groups.add("example.com")
    versions = [
        {"name": "v1alpha1", "served": True, "storage": False, "schema": {"openAPIV3Schema": {}}},
        {"name": "v0", "served": False, "storage": False, "schema": {"openAPIV3Schema": schema}},
        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}},
    ]
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": plural},
        "versions": versions,
        **fields,
    }
    found = {"metadata": {"name": f"{plural}.{spec['group']}"}, "spec": spec}
    server.put("customresourcedefinitions", found, namespace="")


def nested(*names: str, around: Any) -> Any:
    """Return a schema of nested objects."""
    for name in reversed(names):
        around = {"type": "object", "properties": {name: around}}
    return around


CONTAINER = {"type": "array", "items": nested("image", around={"type": "string"})}


@pytest.mark.parametrize(
    ("schema", "makes"),
    [
        (nested("spec", "template", "spec", "containers", around=CONTAINER), True),
        (
            nested(
                "spec", "pods", around={"additionalProperties": nested("initContainers", around=CONTAINER)}
            ),
            True,
        ),
        (nested("spec", around={"items": {"anyOf": [{}, nested("containers", around=CONTAINER)]}}), True),
        (nested("spec", "containers", around={"type": "array", "items": {"type": "string"}}), False),
        (nested("spec", "containers", around={"type": "integer"}), False),
        (nested("spec", "image", around={"type": "string"}), False),
        (nested("spec", around={"x-kubernetes-preserve-unknown-fields": True}), False),
        (nested("spec", around={"additionalProperties": True}), False),
        ({}, False),
        (None, False),
    ],
)
def test_custom_kinds_that_make_pods(server: ApiServer, kube: Kube, schema: Any, *, makes: bool) -> None:
    """Custom kinds that create pods are found by their schemas, and read once, in the stored version."""
    definition(server, "things", schema)
    definition(server, "workflows", schema, group="argoproj.io")
    definition(server, "clusters", schema, scope="Cluster")
    server.documents["/apis/example.com"] = {"preferredVersion": {"version": "v1alpha1"}}
    template = {"spec": {"containers": [{"name": "c", "image": "thing:1"}]}}
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    server.put("things", {**thing, "spec": {"template": template}})
    assert [(use.image, str(use.location)) for use in read(kube).uses] == (
        [("thing:1", "Thing/warm/t, container c")] if makes else []
    )
    asked = [call for call in server.calls if "/example.com/" in call or "/argoproj.io/" in call]
    assert sum("/workflows?" in call for call in asked) == 1
    assert not any("/clusters?" in call for call in asked)
    assert len(read(kube, "", "things.example.com").uses) == 1  # given with --kind, but read only once
    assert any("/clusters?" in call for call in server.calls) == makes


def test_custom_kinds_that_may_not_be_listed(server: ApiServer, kube: Kube) -> None:
    """Without the right to list CustomResourceDefinitions there is a note, and all other kinds are read."""
    server.forbid(
        "GET .*/customresourcedefinitions", "list", "customresourcedefinitions", "apiextensions.k8s.io"
    )
    put(server, "deployments", "x", "a:1")
    found = read(kube)
    assert [use.image for use in found.uses] == ["a:1"]
    (note,) = found.notes
    assert not note.missing
    assert str(note).startswith("custom kinds are read only if given with --kind: me may not list")


def test_a_missing_namespace(server: ApiServer, kube: Kube) -> None:
    """A missing namespace is an error, not an empty list."""
    del server.store.objects["namespaces", "", "warm"]
    with pytest.raises(NotFoundError, match="namespace warm does not exist"):
        read(kube)
