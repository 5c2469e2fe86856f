"""Images found in realistic manifests (tests/support/manifests), line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ips_flows.core.discover.finder import Finder, Findings
from ips_flows.core.discover.image_uses import EACH_NODE, Note, SourceLocation
from ips_flows.core.discover.manifests import read_manifests
from tests.support.paths import DEPLOY, MANIFESTS

PINNED = "registry.k8s.io/ingress-nginx/controller:v1.14.0@sha256:" + "a" * 64
GPU = (
    "gpu.example.com/model in (b200,h100) (tolerates gpu.example.com/gpu:NoSchedule) or"
    " !gpu.example.com/off,feature.example.com/pci-10de.present,zone!=x"
    " (tolerates gpu.example.com/gpu:NoSchedule)"
)
TEMPLATE = "WorkflowTemplate/ci/build, template"


def read(text: str, source: str) -> Findings:
    """Return the findings of a text."""
    finder = Finder()
    for one in read_manifests(text, source):
        if isinstance(one, Note):
            finder.add_note(one)
        else:
            finder.add_object(one.content, one.location)
    return finder.findings()


def read_indented(text: str) -> Findings:
    """Return the findings of a text that is indented by four columns, from its second line on."""
    return read(text.replace("\n    ", "\n"), "x")


def read_file(name: str) -> Findings:
    return read((MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8"), name)


def rows(found: Findings) -> list[tuple[Any, ...]]:
    """Return image, pods, pull policy, nodes, pull Secrets and location of each use."""
    return [
        (
            use.image,
            use.pods,
            use.policy,
            " or ".join(map(str, use.placements)),
            ",".join(use.secrets),
            str(use.location),
        )
        for use in found.uses
    ]


def deployment(spec: dict[str, Any], **metadata: Any) -> str:
    """Return a Deployment with this pod spec, as text."""
    content = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", **metadata},
        "spec": {"template": {"spec": spec}},
    }
    return json.dumps(content)


def test_a_chart() -> None:
    """Pull Secrets come from the ServiceAccount if a pod has none, and the default pull policy from the tag."""
    found = read_file("ingress")
    controller, job = (
        "Deployment/edge/edge-controller, container",
        "Job/edge/edge-admission-create, container",
    )
    assert rows(found) == [
        (
            PINNED,
            2,
            "IfNotPresent",
            "pool=edge (tolerates edge-only:NoSchedule)",
            "edge-registry",
            f"{controller} controller (ingress:50)",
        ),
        (
            "registry.example.com:5000/edge/exporter",
            2,
            "Always",
            "pool=edge (tolerates edge-only:NoSchedule)",
            "edge-registry",
            f"{controller} exporter (ingress:54)",
        ),
        (
            "registry.k8s.io/ingress-nginx/kube-webhook-certgen:v1.6.3",
            2,
            "IfNotPresent",
            "any",
            "public-mirror",
            f"{job} create (ingress:73)",
        ),
    ]
    assert (found.objects, found.left_out, found.notes) == (3, {}, ())


def test_nodes_of_certain_kinds() -> None:
    """Terms of an affinity are alternatives; inexpressible conditions and Windows pods are notes."""
    found = read_file("nodes")
    assert rows(found) == [
        (
            "gpu.example.com/driver:550.1",
            EACH_NODE,
            "Always",
            GPU,
            "",
            "DaemonSet/gpu/gpu-driver, container driver (nodes:29)",
        ),
        (
            "gpu.example.com/check:1",
            EACH_NODE,
            "IfNotPresent",
            GPU,
            "",
            "DaemonSet/gpu/gpu-driver, init container check (nodes:27)",
        ),
        (
            "gpu.example.com/agent:1",
            EACH_NODE,
            "IfNotPresent",
            "any (tolerates all)",
            "",
            "DaemonSet/gpu/agent, container agent (nodes:42)",
        ),
        (
            "gpu.example.com/check:1",
            EACH_NODE,
            "IfNotPresent",
            "any (tolerates all)",
            "",
            "DaemonSet/gpu/agent, container check (nodes:43)",
        ),
        (
            "gpu.example.com/burn-in:2",
            1,
            "IfNotPresent",
            "name in (node-7) (tolerates *:NoSchedule)",
            "",
            "Pod/gpu/pinned, container main (nodes:62)",
        ),
        (
            "gpu.example.com/burn-in:2",
            1,
            "IfNotPresent",
            "name in (node-8) or rack=r1,name notin (node-9)",
            "",
            "Pod/gpu/chosen, container main (nodes:77)",
        ),
    ]
    assert [(str(one), one.missing) for one in found.notes] == [
        (
            (
                'DaemonSet/gpu/gpu-driver (nodes:10): node affinity: gpu.example.com/memory Gt "40":'
                " a request can't express it; the condition is ignored"
            ),
            False,
        ),
        (
            (
                "DaemonSet/gpu/agent-windows (nodes:51): node selector: kubernetes.io/os In windows:"
                " only Linux nodes are warmed"
            ),
            False,
        ),
        (
            (
                "Pod/gpu/pinned (nodes:59): runtimeClassName nvidia may restrict the nodes further;"
                " it is not evaluated"
            ),
            False,
        ),
    ]


def test_workflows() -> None:
    """Each template of Argo's kinds is a pod; placeholders are notes."""
    found = read_file("workflows")
    usual = (None, "IfNotPresent", "disk=ssd (tolerates ci)", "ci-registry")
    always = (None, "Always", "disk=ssd (tolerates ci)", "ci-registry")
    rules = "registry.example.com/ci/rules:7"
    assert rows(found) == [
        ("curlimages/curl:8.16.0", *always, f"{TEMPLATE} notify, container main (workflows:21)"),
        (rules, *usual, f"{TEMPLATE} notify, volume rules (workflows:13)"),
        ("alpine/git:2.49", *always, f"{TEMPLATE} fetch, container main (workflows:23)"),
        ("registry.example.com/ci/proxy:1", *usual, f"{TEMPLATE} fetch, container proxy (workflows:25)"),
        ("registry.example.com/ci/keys:1", *usual, f"{TEMPLATE} fetch, init container keys (workflows:24)"),
        (rules, *usual, f"{TEMPLATE} fetch, volume rules (workflows:13)"),
        (
            "python:3.13-slim",
            None,
            "IfNotPresent",
            "disk=ssd,pool=test (tolerates ci)",
            "ci-registry",
            f"{TEMPLATE} test, container main (workflows:28)",
        ),
        (
            rules,
            None,
            "IfNotPresent",
            "disk=ssd,pool=test (tolerates ci)",
            "ci-registry",
            f"{TEMPLATE} test, volume rules (workflows:13)",
        ),
        ("golang:1.26", *usual, f"{TEMPLATE} many, container one (workflows:32)"),
        (rules, *usual, f"{TEMPLATE} many, volume rules (workflows:13)"),
        (
            "registry.example.com/ci/load:3",
            1,
            "IfNotPresent",
            "any",
            "",
            "Job/ci/load-, container load (workflows:38)",
        ),
        ("busybox:1.37", *always, f"{TEMPLATE} patched, container main (workflows:56)"),
        (rules, *usual, f"{TEMPLATE} patched, volume rules (workflows:13)"),
        (
            "registry.example.com/ci/nightly:1",
            None,
            "IfNotPresent",
            "any",
            "",
            "CronWorkflow/ci/nightly, template main, container main (workflows:68)",
        ),
        (
            "registry.example.com/ci/push:1",
            None,
            "IfNotPresent",
            "any",
            "",
            "Workflow/ci/push-, template main, container main (workflows:97)",
        ),
    ]
    assert [(str(one), one.missing) for one in found.notes] == [
        (
            (
                f"{TEMPLATE} many, container two (workflows:33):"
                ' image "{{inputs.parameters.image}}" is a template that was not rendered'
            ),
            True,
        ),
        (
            "Pod/ci/? (workflows:49): spec is a template that was not rendered",
            True,
        ),
        (
            f"{TEMPLATE} patched (workflows:54): podSpecPatch is not evaluated; it may change images and nodes",
            False,
        ),
        (
            (
                "WorkflowTemplate/ci/build (workflows:1): it uses WorkflowTemplate scanners,"
                " which was not read"
            ),
            False,
        ),
        (
            (
                "WorkflowTemplate/ci/build (workflows:1): it uses ClusterWorkflowTemplate shared,"
                " which was not read"
            ),
            False,
        ),
    ]
    assert found.left_out == {"ended": 1, "ignored by annotation": 1}


def test_custom_kinds() -> None:
    """A pod template is found at any depth; an image outside one is a note, an image in a schema is not."""
    found = read_file("custom")
    assert [row[:2] + row[3:] for row in rows(found)] == [
        ("registry.example.com/shop:2", 4, "any", "", "Rollout/shop/shop, container shop (custom:11)"),
        (
            "registry.example.com/extra:1",
            2,
            "pool=monitoring",
            "quay",
            "Prometheus/monitoring/main, container extra (custom:25)",
        ),
        (
            "registry.example.com/train:1",
            None,
            "any",
            "",
            "JobSet/ml/training, container train (custom:39)",
        ),
        ("registry.example.com/fn:1", None, "any", "", "Service/fn/fn, container (custom:47)"),
        ("rayproject/ray:2.50", None, "any", "", "RayCluster/ml/ray, container head (custom:54)"),
        ("rayproject/ray:2.50", 8, "any", "", "RayCluster/ml/ray, container worker (custom:57)"),
    ]
    beside = "is not in a pod template, so it is skipped; if pods use it, add it with --image"
    assert [str(one) for one in found.notes] == [
        "Prometheus/monitoring/main, container prometheus (custom:24): it has no image",
        'Prometheus/monitoring/main (custom:19): image "quay.io/prometheus/prometheus:v3.7.0" ' + beside,
        f'Task/ci/build (custom:63): image "gcr.io/kaniko-project/executor:v1.24.0" {beside}',
        (
            "HelmRelease/flux/chart (custom:65): its images are known only after rendering;"
            " use the rendered manifests instead"
        ),
    ]
    assert not any(one.missing for one in found.notes)
    assert found.left_out == {"ignored by annotation": 2}


def test_workloads() -> None:
    """An owned object adds only images that its owner does not name, with the owner's placement."""
    found = read_file("live")
    assert [(*row[:4], row[5]) for row in rows(found)] == [
        (
            "registry.example.com/web:2",
            2,
            "IfNotPresent",
            "pool=web",
            "Deployment/shop/web, container app (live:10)",
        ),
        (
            "registry.example.com/logs:1",
            EACH_NODE,
            "IfNotPresent",
            "any (tolerates all)",
            "DaemonSet/shop/logs, container logs (live:69)",
        ),
        (
            "registry.k8s.io/etcd:3.6.4-0",
            1,
            "IfNotPresent",
            "name in (cp1) (tolerates all)",
            "Pod/shop/etcd-cp1, container etcd (live:98)",
        ),
        ("busybox:1.37", 1, "Never", "any", "Pod/shop/debug, container debug (live:108)"),
        (
            "registry.example.com/web:1",
            1,
            "IfNotPresent",
            "pool=web",
            "ReplicaSet/shop/web-before, container app (live:28)",
        ),
        (
            "registry.example.com/mesh:1",
            1,
            "IfNotPresent",
            "pool=web",
            "ReplicaSet/shop/web-new, container mesh (live:50)",
        ),
        (
            "busybox:1.37",
            1,
            "IfNotPresent",
            "pool=web",
            "ReplicaSet/shop/web-new, ephemeral container debugger (live:51)",
        ),
        (
            "registry.example.com/mesh:1",
            1,
            "IfNotPresent",
            "pool=web",
            "ReplicaSet/shop/web-new, container mesh (live:64)",
        ),
        (
            "registry.example.com/mesh:1",
            1,
            "IfNotPresent",
            "any (tolerates all)",
            "DaemonSet/shop/logs, container mesh (live:86)",
        ),
        (
            "apache/spark:4.0.1",
            1,
            "IfNotPresent",
            "any",
            "SparkApplication/shop/pi, container spark (live:135)",
        ),
    ]
    assert found.left_out == {"ended": 2, "ignored by annotation": 3, "of IPS Flow itself": 1}


def test_pods_of_one_owner_are_counted_together() -> None:
    """Pods of an owner that was not read are one use, with their number."""
    pods = [
        {
            "kind": "Pod",
            "metadata": {
                "name": f"p{number}",
                "ownerReferences": [{"kind": "RayCluster", "name": "ray", "controller": True}],
            },
            "spec": {"nodeName": f"n{number}", "containers": [{"name": "w", "image": "ray:2"}]},
        }
        for number in range(3)
    ]
    found = read(json.dumps({"kind": "PodList", "items": pods}), "pods.json")
    assert rows(found) == [("ray:2", 3, "IfNotPresent", "any", "", "RayCluster/ray, container w (pods.json)")]


@pytest.mark.parametrize(
    ("kind", "replicas", "pods"),
    [
        ("DaemonSet", (1, 1), EACH_NODE),
        ("Deployment", (1, 2), 3),
        ("Deployment", (1, "x"), None),
        ("Deployment", ("x", "x"), None),
    ],
)
def test_two_objects_of_one_name(kind: str, replicas: tuple[Any, Any], pods: Any) -> None:
    """Identical uses are merged, and their pods are added up if they are known."""
    both = [
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "spec": {
                "replicas": count,
                "template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}},
            },
        }
        for count in replicas
    ]
    (use,) = read(json.dumps(both), "x").uses
    assert use.pods == pods


def test_mishaps() -> None:
    """Invalid input becomes a note with its location, and the rest is still used."""
    found = read_file("mishaps")
    assert [use.image for use in found.uses] == ["registry.example.com/fine:1"]
    narrowed = "the condition is ignored"
    left_out = "a request can't express it, so nodes with such a taint are excluded"
    assert [str(one) for one in found.notes if one.missing] == [
        "mishaps:28: not valid YAML: mapping values are not allowed in this context",
        "mishaps:32: not a Kubernetes object: it is not a mapping",
        (
            "mishaps:35: not valid YAML: did not find expected node content;"
            " this is a template that was not rendered: use `helm template … | ips-flow images -`"
        ),
        (
            'Deployment/odd, container upper (mishaps:20): image: got "Registry.example.com/App:1";'
            ' allowed: a repository in lower case: "app"'
        ),
        "Deployment/odd, container number (mishaps:21): image: got 7; allowed: text",
        (
            'Deployment/odd, container gateway (mishaps:23): image "auto" is replaced when the pod is created;'
            " add the image with --image"
        ),
        (
            "Deployment/odd, container variable (mishaps:24): image: got"
            " \"registry.example.com/app:${TAG}\"; allowed: a tag of letters, digits, '_', '.' and '-',"
            " at most 128, not starting with '.' or '-'"
        ),
        "mishaps:30: not a Kubernetes object: it has no kind",
    ]
    assert [
        str(one).removeprefix("Deployment/odd (mishaps:8): ") for one in found.notes if not one.missing
    ] == [
        f'node selector: disk: got "{{{{ .Values.disk }}}}", which is not a label value; {narrowed}',
        f"node selector: gpu: got true, which is not a label value; {narrowed}",
        f'node selector: got "a b", which is not a label key; {narrowed}',
        f"node affinity: zone In: got no values; {narrowed}",
        f'node affinity: zone: unknown operator "Near"; {narrowed}',
        f'node affinity: unknown field "metadata.uid"; {narrowed}',
        f'node affinity: got "Exists" for the node name; {narrowed}',
        f'toleration "a b" "Exists" "": {left_out}',
        f'toleration "size" "Gt" "5": {left_out}',
        "Deployment/odd, container nothing (mishaps:22): it has no image",
        "StatefulSet/nowhere (mishaps:45): its node affinity has no term that a node can match",
    ]


def test_a_workflow_with_little_in_it() -> None:
    """Empty fields of an Argo Workflow are skipped; a patch of all its pods is a note."""
    text = """
    apiVersion: argoproj.io/v1alpha1
    kind: Workflow
    metadata: {name: w}
    spec:
      podSpecPatch: '{"nodeSelector": {"disk": "ssd"}}'
      workflowTemplateRef: {}
      templates:
        - {name: main, steps: [[{name: a, template: b}], nothing]}
        - {name: made, resource: {action: get, manifest: "kind: ["}}
        - {name: open, tolerations: "{{ t }}", suspend: {}}
        - {name: odd, resource: {action: get, manifest: "{{ if }}: ["}}
        - {name: b, podSpecPatch: '{"priority": 1}', suspend: {}}
        - {name: c, container: {image: "a:1"}, volumes: [{name: v, emptyDir: {}}]}
    """
    found = read_indented(text)
    assert [str(use.location) for use in found.uses] == ["Workflow/w, template c, container main (x:14)"]
    assert [str(one) for one in found.notes] == [
        "Workflow/w (x:2): podSpecPatch is not evaluated; it may change images and nodes",
        "Workflow/w, template open (x:11): tolerations is a template that was not rendered",
        "Workflow/w, template odd (x:12): its manifest can't be read: it has placeholders",
    ]


def test_a_manifest_with_placeholders() -> None:
    """A manifest that a step creates is read despite placeholders; a placeholder as an image is a note."""
    text = """
    apiVersion: argoproj.io/v1alpha1
    kind: Workflow
    metadata: {name: w}
    spec:
      templates:
        - name: create
          resource:
            manifest: |
              apiVersion: kubeflow.org/v1
              kind: TFJob
              metadata: {name: train}
              spec:
                replicas: {{=asInt(inputs.parameters.count)}}
                template:
                  metadata:
                    labels:
                      workflow: {{workflow.name}}
                  spec:
                    nodeSelector:
                      pool: {{inputs.parameters["pool"]}}
                    containers:
                      - name: train
                        image: registry.example.com/train:1
                      - name: side
                        image: registry.example.com/side:{{workflow.parameters.tag}}
    """
    found = read_indented(text)
    assert rows(found) == [
        (
            "registry.example.com/train:1",
            None,
            "IfNotPresent",
            "any",
            "",
            "TFJob/train, container train (x:7)",
        )
    ]
    assert [str(one) for one in found.notes] == [
        (
            'TFJob/train (x:7): node selector: pool: got "_{{inputs.parameters pool }}_", which is not a label value;'
            " the condition is ignored"
        ),
        (
            'TFJob/train, container side (x:7): image "registry.example.com/side:_{{workflow.parameters.tag}}_"'
            " is a template that was not rendered"
        ),
    ]


def test_fields_that_are_templates() -> None:
    """A pod field that is an unrendered template is a note; an image is missing only if the field may contain one."""
    spec = {
        "nodeSelector": "{{ a }}",
        "containers": [{"name": "a", "image": "a:1"}, "{{ b }}"],
        "initContainers": "nothing",
    }
    assert [(str(one), one.missing) for one in read(deployment(spec), "x").notes] == [
        ("Deployment/d (x): containers is a template that was not rendered", True),
        ("Deployment/d (x): nodeSelector is a template that was not rendered", False),
    ]


def test_an_object_without_a_version() -> None:
    """An object of an unknown kind is searched for images too."""
    found = read("kind: Workflow\nspec: {templates: [{container: {image: a:1}}]}\n", "x")
    (only,) = found.notes
    assert str(only) == (
        'Workflow/? (x:2): image "a:1" is not in a pod template, so it is skipped;'
        " if pods use it, add it with --image"
    )


@pytest.mark.parametrize(
    ("annotations", "left"),
    [
        ({}, ["a:1", "quay.io/b:1"]),
        ({"ips-flow.io/ignore": "true"}, []),
        ({"ips-flow.io/ignore": "false"}, ["a:1", "quay.io/b:1"]),
        ({"ips-flow.io/ignore-images": "quay.io/*"}, ["a:1"]),
        ({"ips-flow.io/ignore-images": "docker.io/library/a:* , x"}, ["quay.io/b:1"]),
        ({"ips-flow.io/ignore-images": 7}, ["a:1", "quay.io/b:1"]),
    ],
)
def test_annotations_of_an_object(annotations: dict[str, Any], left: list[str]) -> None:
    """`ignore` leaves out an object, `ignore-images` leaves out images by globs on their short or full reference."""
    containers = [{"image": "a:1"}, {"image": "quay.io/b:1"}]
    found = read(deployment({"containers": containers}, annotations=annotations), "x")
    assert [use.image for use in found.uses] == left


@pytest.mark.parametrize(
    "file", sorted(DEPLOY.glob("components/*/deployment-*.yaml")), ids=lambda file: file.stem
)
def test_what_is_of_ips_flow(file: Path) -> None:
    """IPS Flow's Deployments are left out by their own label, or by the label of their pods."""
    text = file.read_text(encoding="utf-8")
    for one in (text, text.replace("\n    app.kubernetes.io/part-of: ips-flow\n", "\n    a: b\n", 1)):
        found = read(one, "ours")
        assert (found.uses, found.notes, found.left_out) == ((), (), {"of IPS Flow itself": 1})
    theirs = read(text.replace("part-of: ips-flow", "part-of: shop"), "theirs")
    assert theirs.uses
    assert not theirs.left_out


def test_an_ignored_template() -> None:
    """Annotations of a pod template count like those of its object; an invalid image can be ignored too."""
    text = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: d}
    spec:
      template:
        metadata: {annotations: {ips-flow.io/ignore: "true"}}
        spec: {containers: [{name: a, image: "a:1"}, {name: b, image: "{{ b }}"}, {name: c}]}
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: e}
    spec:
      template:
        metadata: {annotations: {ips-flow.io/ignore-images: "{{*"}}
        spec: {containers: [{name: a, image: "a:1"}, {name: b, image: "{{ b }}"}]}
    """
    found = read_indented(text)
    assert [str(use.location) for use in found.uses] == ["Deployment/e, container a (x:16)"]
    assert (found.notes, found.left_out) == ((), {"ignored by annotation": 3})


@pytest.mark.parametrize(
    ("kind", "spec", "pods"),
    [
        ("Deployment", {}, 1),
        ("StatefulSet", {"replicas": 0}, 0),
        ("ReplicaSet", {"replicas": 7}, 7),
        ("Deployment", {"replicas": "3"}, None),
        ("Deployment", {"replicas": True}, None),
        ("DaemonSet", {}, EACH_NODE),
        ("Job", {}, 1),
        ("Job", {"parallelism": 4}, 4),
        ("Job", {"parallelism": 4, "completions": 2}, 2),
        ("Job", {"parallelism": "x"}, None),
        ("PodTemplate", {}, None),
    ],
)
def test_how_many_pods(kind: str, spec: dict[str, Any], pods: Any) -> None:
    """The number of pods comes from the object, or from its kind's default; else it is unknown."""
    whole = {**spec, "template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}}}
    content = {"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "d"}, "spec": whole}
    (use,) = read(json.dumps(content), "x").uses
    assert use.pods == pods


def test_an_object_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that contains itself by an alias ends the walk with a note."""
    found = read("apiVersion: v1\nkind: Odd\nspec: &a {b: [*a, *a]}\n", "x")
    assert [str(one) for one in found.notes] == ["Odd/? (x:1): only partly read: it has more than 100 levels"]
    monkeypatch.setattr("ips_flows.core.discover.pod_specs._MOST_VALUES", 1000)
    wide = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 20)}]" for n in range(1, 8))
    found = read(f"apiVersion: v1\nkind: Odd\na0: &a0 {{}}\n{wide}\n", "x")
    assert [one.text for one in found.notes] == ["only partly read: it has more than 1000 values"]
    endless = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {templates: [&t {dag: {tasks: [{inline: *t}]}}]}"
    found = read(endless, "x")
    assert [one.text for one in found.notes] == ["only partly read: it has too many templates"]


def test_a_location_as_text() -> None:
    """The text of a location has its known fields."""
    assert str(SourceLocation()) == ""
    assert str(SourceLocation("a.yaml", 3)) == "a.yaml:3"
    assert str(SourceLocation(kind="Pod", namespace="x", name="p")) == "Pod/x/p"
    assert str(Note(SourceLocation(), "no luck")) == "no luck"
