"""`ips-flow images` and `run --manifest` with their exact output."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ips_flows.cli.main import run
from ips_flows.cli.output import console
from ips_flows.core.request.model import from_canonical, parse_request
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import Argo, pulled

CHART = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  template:
    spec:
      nodeSelector: {disk: ssd}
      imagePullSecrets: [{name: shop}]
      containers: [{name: app, image: "registry.example.com/web:1"}]
"""
AGENT = """\
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  template:
    spec:
      tolerations: [{operator: Exists}]
      containers: [{name: agent, image: "registry.example.com/agent:1"}, {name: b, image: "busybox:1.37"}]
"""
BROKEN = """\
---
apiVersion: v1
kind: Pod
metadata: {name: odd}
spec: {containers: [{name: c, image: "{{ .Values.image }}"}]}
"""
SECRETS = "# These Secrets must be in the task's namespace; missing Secrets are ignored.\n"


pytestmark = pytest.mark.usefixtures("shell")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with manifests."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "web.yaml": CHART,
        "both.yaml": CHART + AGENT,
        "broken.yaml": CHART + BROKEN,
        "nothing.yaml": "kind: Service\nmetadata: {name: s}\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    many = [{"name": f"c{number}", "image": f"a{number}:1"} for number in range(51)]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": many}}
    (tmp_path / "many.json").write_text(json.dumps(pod), encoding="utf-8")
    return tmp_path


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))


def test_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    """By default the command prints a request, with the users of each image."""
    assert run(["images", "web.yaml"]) == 0
    got = capsys.readouterr()
    assert got.out == (
        "images:\n"
        "  # Deployment/web, container app (web.yaml:10); 3 pods\n"
        "  - registry.example.com/web:1\n"
        f"{SECRETS}"
        "pullSecrets:\n"
        "  - shop\n"
        "nodeSelector:\n"
        "  disk: ssd\n"
        "tolerations: [] # nodes with taints are excluded\n"
    )
    assert got.err == "images: 1, objects read: 1\n"


def test_a_request_for_different_nodes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One request for pods on different nodes warms all these nodes, and a note states it."""
    stdin(monkeypatch, CHART + AGENT)
    assert run(["images", "-"]) == 0
    got = capsys.readouterr()
    note = "he pods use 2 different sets of nodes; this request warms every image on all of them."
    assert got.err == (
        "images: 3, objects read: 2\n"
        f"note: t{note}\n"
        "      --split DIR writes one request per set; `run --manifest` creates one task per set\n"
    )
    assert got.out.startswith(f"# T{note}\nimages:\n  # Deployment/web, container app (stdin:10); 3 pods\n")
    request = parse_request(got.out)
    assert (len(request.images), request.node_selector, request.tolerations) == (3, {}, None)


def test_tables_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    """The other formats have the same content."""
    assert run(["images", "both.yaml", "-o", "table"]) == 0
    assert capsys.readouterr().out == (
        "IMAGE                          PODS        NODES                 USED BY\n"
        "registry.example.com/web:1     3           disk=ssd              Deployment/web\n"
        "registry.example.com/agent:1   each node   any (tolerates all)   DaemonSet/agent\n"
        "busybox:1.37                   each node   any (tolerates all)   DaemonSet/agent\n"
    )
    assert run(["images", "web.yaml", "-o", "wide"]) == 0
    assert capsys.readouterr().out == (
        "IMAGE                        PODS   POLICY         PULL SECRETS   NODES      USED BY\n"
        "registry.example.com/web:1   3      IfNotPresent   shop           disk=ssd   Deployment/web\n"
    )
    assert run(["images", "both.yaml", "-o", "name"]) == 0
    assert (
        capsys.readouterr().out == "registry.example.com/web:1\nregistry.example.com/agent:1\nbusybox:1.37\n"
    )
    assert run(["images", "both.yaml", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["eachNode"] for one in document["images"]] == [False, True, True]
    assert run(["images", "nothing.yaml", "-o", "table"]) == 0
    assert capsys.readouterr().out == ""


def test_many_users_are_cut(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table shows the first users of an image, a wide table all users."""
    (folder / "many").mkdir()
    for number in range(4):
        text = CHART.replace("{name: web}", f"{{name: web{number}, namespace: shop}}")
        (folder / "many" / f"{number}.yaml").write_text(text, encoding="utf-8")
    assert run(["images", "many", "-o", "table"]) == 0
    assert "Deployment/shop/web0, Deployment/shop/web1 and 2 more\n" in capsys.readouterr().out
    assert run(["images", "many", "-o", "wide"]) == 0
    assert "Deployment/shop/web2, Deployment/shop/web3\n" in capsys.readouterr().out


def test_an_image_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Images that cannot be determined are reported, the others are printed, and the exit code is 1."""
    assert run(["images", "broken.yaml", "-o", "name"]) == 1
    got = capsys.readouterr()
    assert got.out == "registry.example.com/web:1\n"
    assert got.err == (
        "images: 1, objects read: 2\n"
        "missing: Pod/odd, container c (broken.yaml:15): "
        'image "{{ .Values.image }}" is a template that was not rendered\n'
    )


def test_many_remarks_are_cut(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the first notes are printed; the others are counted."""
    (folder / "many.yaml").write_text("".join(f"--- a{n}\n" for n in range(25)), encoding="utf-8")
    assert run(["images", "many.yaml", "-o", "name"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (22, "5 more notes; -o json shows all")


def test_requests_for_each_set_of_nodes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--split` writes requests that can be run one by one, and nothing into a folder that is not empty."""
    assert run(["images", "both.yaml", "--split", "out/requests"]) == 0
    assert capsys.readouterr().out == "out/requests/images-1.yaml\nout/requests/images-2.yaml\n"
    first, second = (
        parse_request((folder / "out/requests" / f"images-{number}.yaml").read_text(encoding="utf-8"))
        for number in (1, 2)
    )
    assert (first.node_selector, first.tolerations) == ({"disk": "ssd"}, ())
    assert (second.node_selector, second.tolerations, len(second.images)) == ({}, None, 2)
    assert run(["images", "both.yaml", "--split", "out/requests"]) == 2
    assert "error: out/requests: is not empty" in capsys.readouterr().err
    assert run(["images", "many.json", "--split", "many"]) == 0
    assert capsys.readouterr().out == "many/images-1.yaml\nmany/images-2.yaml\n"
    assert run(["images", "both.yaml", "--split", "both.yaml/x"]) == 2
    assert "error: both.yaml/x: can't be written: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            "images",
            (
                "error: nothing to read: neither SOURCE nor --workloads was given\n"
                "hint:  Give files, - for stdin, or a namespace: `ips-flow images --workloads -n shop`.\n"
            ),
        ),
        ("images web.yaml --kind a.b", "error: --kind requires --workloads or -A\n"),
        ("images - -", "error: duplicate source -; stdin can be read only once\n"),
        (
            "images gone.yaml",
            "error: gone.yaml: file does not exist\nhint:  Relative paths start at {folder}.\n",
        ),
        (
            "images nothing.yaml",
            "images: 0, objects read: 1\nerror: no images found, so there is nothing to request\n",
        ),
        (
            "images nothing.yaml --split out",
            "images: 0, objects read: 1\nerror: no images found, so there is nothing to request\n",
        ),
        (
            "images many.json",
            (
                "images: 51, objects read: 1\n"
                "error: found 51 images; a request can have at most 50\n"
                "hint:  --split DIR writes several requests; -o name lists the images.\n"
            ),
        ),
        (
            "images empty",
            (
                "error: empty: contains no manifest and no kustomization\n"
                "hint:  Give a folder with kustomization.yaml, or with files that end in .yaml, .yml, .json.\n"
            ),
        ),
        (
            "images chart",
            (
                "error: chart: is a Helm chart, whose images are known only when it is rendered\n"
                "hint:  helm template chart | ips-flow images -\n"
            ),
        ),
        ("images latin.yaml", "error: latin.yaml:1:4: got the byte 0xe9; allowed: text in UTF-8\n"),
        (
            "run --manifest web.yaml web.yaml",
            "error: --manifest can't be combined with FILE, --request or --image\n",
        ),
        (
            "run --manifest web.yaml --image a",
            "error: --manifest can't be combined with FILE, --request or --image\n",
        ),
        (
            "run --manifest nothing.yaml",
            "error: no images found in the manifests, so there is nothing to run\n",
        ),
        (
            "run --manifest broken.yaml",
            (
                "error: some images of the manifests can't be determined:\n"
                "       Pod/odd, container c (broken.yaml:15): "
                'image "{{ .Values.image }}" is a template that was not rendered\n'
                "hint:  Fix the manifests, ignore the images with annotation ips-flow.io/ignore-images, or run only the"
                " other images: `ips-flow images FILE | ips-flow run -`.\n"
            ),
        ),
        (
            "run --manifest web.yaml --batch-size none",
            'error: --batch-size: got "none"; allowed: a number from 1 to 1000, or a percentage such as "10%"\n',
        ),
    ],
)
def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, error: str) -> None:
    """A wrong command prints one error, exits with code 2, and does nothing."""
    (folder / "empty").mkdir()
    (folder / "chart").mkdir()
    (folder / "chart" / "Chart.yaml").write_text("name: chart\n", encoding="utf-8")
    (folder / "latin.yaml").write_bytes(b"a: \xe9\n")
    assert run(arguments.split()) == 2
    got = capsys.readouterr()
    assert (got.out, got.err) == ("", error.replace("{folder}", str(folder)))


@pytest.mark.usefixtures("terminal")
def test_a_terminal_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    """The command does not wait for input from a terminal."""
    assert run(["images", "-"]) == 2
    assert capsys.readouterr().err == (
        "error: got - for stdin, but stdin is a terminal; expected a pipe or a file\n"
        "hint:  Pipe manifests to it: `helm template CHART | ips-flow images -`.\n"
    )


def program(folder: Path, text: str) -> None:
    """Install a `kubectl` that runs this script."""
    (folder / "bin").mkdir()
    file = folder / "bin" / "kubectl"
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


def test_a_kustomization(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with a kustomization is built by kubectl; if that fails, the error states why."""
    (folder / "app").mkdir()
    (folder / "app" / "kustomization.yaml").write_text("resources: [../web.yaml]\n", encoding="utf-8")
    program(folder, 'test "$*" = "kustomize -- app" && cat web.yaml')
    monkeypatch.setenv("PATH", str(folder / "bin") + os.pathsep + os.environ["PATH"])
    assert run(["images", "app", "-o", "name"]) == 0
    assert capsys.readouterr().out == "registry.example.com/web:1\n"
    (folder / "bin" / "kubectl").write_text("#!/bin/sh\necho 'no such base' >&2; exit 1\n", encoding="utf-8")
    assert run(["images", "app"]) == 2
    assert capsys.readouterr().err == "error: app: kubectl kustomize: no such base\n"
    monkeypatch.setenv("PATH", str(folder / "app"))
    assert run(["images", "app"]) == 2
    assert capsys.readouterr().err == (
        "error: app: is a kustomization; building it requires kubectl, which is not installed\n"
        "hint:  Install kubectl, or use kustomize: `kustomize build app | ips-flow images -`.\n"
    )


def test_workloads(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`--workloads` reads one namespace and -A all namespaces, in addition to the given sources."""
    spec = {"template": {"spec": {"containers": [{"name": "c", "image": "api:1"}]}}}
    server.put("deployments", {"apiVersion": "apps/v1", "metadata": {"name": "api"}, "spec": spec})
    server.store.objects["deployments", "warm", "api"]["kind"] = "Deployment"
    assert run(["images", "--workloads", "-o", "name"]) == 0
    assert capsys.readouterr().out == "api:1\n"
    assert run(["images", "web.yaml", "-A", "-o", "table"]) == 0
    assert capsys.readouterr().out == (
        "IMAGE                        PODS   NODES      USED BY\n"
        "registry.example.com/web:1   3      disk=ssd   Deployment/web\n"
        "api:1                        1      any        Deployment/warm/api\n"
    )
    server.forbid("GET .*/cronjobs", "list", "cronjobs", "batch")
    assert run(["images", "--workloads", "-o", "name"]) == 1
    assert "missing: CronJob/warm/?: not read: me may not list" in capsys.readouterr().err


def test_a_pipe(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run -` accepts the output of `images -` unchanged."""
    stdin(monkeypatch, CHART + AGENT)
    assert run(["images", "-"]) == 0
    stdin(monkeypatch, capsys.readouterr().out)
    assert run(["run", "-", "--name", "piped", "--detach"]) == 0
    (parameter,) = server.get("workflows", "piped")["spec"]["arguments"]["parameters"]
    assert [spec.image for spec in from_canonical(parameter["value"]).images] == [
        "registry.example.com/web:1",
        "registry.example.com/agent:1",
        "busybox:1.37",
    ]


def test_one_task(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Pods with the same nodes make one task for these nodes; flags apply too."""
    assert run(["run", "--manifest", "web.yaml", "--name", "web", "--priority", "8", "--detach"]) == 0
    got = capsys.readouterr()
    assert got.out == "task web submitted\n"
    assert got.err == ("task web submitted in namespace warm\nfollow it:  ips-flow wait web -n warm\n")
    (parameter,) = server.get("workflows", "web")["spec"]["arguments"]["parameters"]
    request = from_canonical(parameter["value"])
    assert [spec.image for spec in request.images] == ["registry.example.com/web:1"]
    assert (request.node_selector, request.tolerations, request.pull_secrets, request.priority) == (
        {"disk": "ssd"},
        (),
        ("shop",),
        8,
    )


def test_a_task_for_each_set_of_nodes(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pods with different nodes make several tasks, which are followed together."""

    def play(argo: Argo) -> None:
        argo.phase("Running")
        if argo.name == "shop-1":
            assert second.wait(30)
        argo.planned(waves={"wave-1": 1})
        argo.results({"node1": pulled()})
        argo.verdict({"node1": pulled()})

    def listen(text: str) -> None:
        if text.startswith("shop-2: planned"):
            second.set()
        console.say(text)

    def changed(kind: str, item: dict[str, Any]) -> None:
        name = item["metadata"]["name"]
        if kind == "workflows" and name not in begun:
            begun.add(name)
            threading.Thread(target=play, args=(Argo(server, name),), daemon=True).start()

    begun: set[str] = set()
    second = threading.Event()
    server.on_change = changed
    monkeypatch.setattr("ips_flows.cli.output.lines.say", listen)
    stdin(monkeypatch, CHART + AGENT)
    assert run(["run", "--manifest", "-", "--name", "shop"]) == 0
    got = capsys.readouterr()
    assert got.err.splitlines()[:5] == [
        "2 tasks, because a task has one set of nodes and at most 50 images:",
        "  1 image on nodes disk=ssd",
        "  2 images on nodes any (tolerates all)",
        "task shop-1 submitted in namespace warm",
        "task shop-2 submitted in namespace warm",
    ]
    assert got.out.count("completed: every image is on 1 of 1 nodes") == 2


def test_a_task_that_takes_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    """After the timeout, the message names all tasks that continue."""
    assert run(["run", "--manifest", "both.yaml", "--name", "shop", "--timeout", "1s"]) == 124
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3:] == [
        "  follow it:  ips-flow wait shop-1 -n warm",
        "  cancel it:  ips-flow cancel shop-1 -n warm",
        "  follow the others:  ips-flow wait shop-2 -n warm",
    ]


def test_workflows_that_would_be_submitted(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` prints a Workflow for each task, and submits nothing."""
    assert run(["run", "--manifest", "both.yaml", "--dry-run"]) == 0
    assert capsys.readouterr().out.count("---\napiVersion: argoproj.io/v1alpha1") == 2
    assert not [call for call in server.calls if call.startswith("POST")]


def test_remarks_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A condition that cannot be expressed in a request is noted, and the task runs."""
    text = CHART.replace("nodeSelector: {disk: ssd}", "runtimeClassName: gvisor")
    (folder / "odd.yaml").write_text(text, encoding="utf-8")
    assert run(["run", "--manifest", "odd.yaml", "--name", "odd", "--detach"]) == 0
    assert capsys.readouterr().err.startswith(
        "note: Deployment/web (odd.yaml:8): runtimeClassName gvisor may restrict the nodes further; it is not evaluated\n"
    )
