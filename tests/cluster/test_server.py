"""The server on the real cluster: authorization, the life of a task, a restart under load."""

from __future__ import annotations

import base64
import itertools
import json
import shlex
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from ips_flows.kube.client import core, workflows
from ips_flows.operations.install.manifests import SERVER_NAME
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import LOCAL, Cluster
from tests.cluster.test_warming import request, tagged

_WORKFLOWS = {"apiGroups": ["argoproj.io"], "resources": ["workflows"]}
_RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


@dataclass(frozen=True)
class Caller:
    """A client of the server with a token of a ServiceAccount."""

    cluster: Cluster
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        """Send a request to a ready address of the server."""
        (address, *_) = self.cluster.server_addresses()
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return requests.request(
            method, f"http://{address}{path}", json=body, headers=headers, timeout=30, **more
        )


@pytest.fixture
def account(cluster: Cluster, name: str) -> Iterator[Any]:
    """Return a function that creates a caller whose ServiceAccount may use the given verbs on Workflows."""
    made: list[str] = []

    def make(*verbs: str) -> Caller:
        who = f"{name[:40]}-{len(made)}"
        accounts = core(cluster.namespace, "serviceaccounts")
        cluster.kube.create(accounts, {"kind": "ServiceAccount", "metadata": {"name": who}})
        made.append(core(cluster.namespace, "serviceaccounts", who))
        if verbs:
            rules = [{**_WORKFLOWS, "verbs": list(verbs)}]
            role = {"kind": "Role", "metadata": {"name": who}, "rules": rules}
            binding = {
                "kind": "RoleBinding",
                "metadata": {"name": who},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": who},
                "subjects": [{"kind": "ServiceAccount", "name": who, "namespace": cluster.namespace}],
            }
            for kind, body in (("roles", role), ("rolebindings", binding)):
                path = f"{_RBAC}/{cluster.namespace}/{kind}"
                cluster.kube.create(path, body)
                made.append(f"{path}/{who}")
        asked = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
        granted = cluster.kube.create(core(cluster.namespace, "serviceaccounts", f"{who}/token"), asked)
        return Caller(cluster, granted["status"]["token"])

    yield make
    for path in reversed(made):
        cluster.kube.delete(path)


def test_a_task_from_its_request_to_its_end(cluster: Cluster, name: str, account: Any) -> None:
    """Repeated requests create one task, the stream follows it until it ends, and the result is the same as `get`."""
    caller = account("get", "list", "create", "watch", "delete")
    image = tagged(cluster.push(f"tests/{name}:1"))
    asked = json.loads(request(name=name, images=[image]))
    made = caller.call("POST", "/api/v1/tasks", asked)
    assert (made.status_code, made.json()["taskId"]) == (201, name)
    assert caller.call("POST", "/api/v1/tasks", asked).status_code == 200
    assert caller.call("POST", "/api/v1/tasks", {**asked, "priority": 9}).status_code == 409
    told = list(_events(caller, name))
    assert told[-1]["status"] == "completed"
    assert {one["taskId"] for one in told} == {name}
    await_marks(cluster, name)
    assert audit(cluster, name)["status"] == "completed"
    shown = json.loads(cluster.flow("get", name, "-o", "json").out)
    assert caller.call("GET", f"/api/v1/tasks/{name}").json() == shown
    listed = caller.call("GET", "/api/v1/tasks?status=completed&limit=100").json()
    assert name in {one["taskId"] for one in listed["tasks"]}
    ended = caller.call("DELETE", f"/api/v1/tasks/{name}")
    assert (ended.status_code, "completed" in ended.json()["error"]) == (409, True)


def test_a_task_is_cancelled(cluster: Cluster, name: str, account: Any, tarpit: str) -> None:
    """DELETE cancels a task as `ips-flow cancel` does."""
    caller = account("get", "create", "delete")
    asked = json.loads(request(name=name, images=[f"{tarpit}/slow:1"]))
    assert caller.call("POST", "/api/v1/tasks", asked).status_code == 201
    cluster.await_pulling(name)
    assert caller.call("DELETE", f"/api/v1/tasks/{name}").status_code == 200
    cluster.await_no_pods(name, 31)
    await_marks(cluster, name)
    assert audit(cluster, name)["status"] == "cancelled"


@pytest.mark.parametrize(
    ("verbs", "answers"),
    [
        ((), (403, 403, 403)),
        (("get", "list"), (200, 403, 403)),
        (("create",), (403, 400, 403)),
        (("get", "list", "create", "delete"), (200, 400, 404)),
    ],
)
def test_kubernetes_authorizes_callers(
    cluster: Cluster, name: str, account: Any, verbs: tuple[str, ...], answers: tuple[int, ...]
) -> None:
    """Reading, creating and cancelling tasks need exactly the verbs on Workflows in the namespace."""
    caller = account(*verbs)
    asked: tuple[tuple[str, str, Any], ...] = (
        ("GET", "/api/v1/tasks", None),
        ("POST", "/api/v1/tasks", {}),
        ("DELETE", f"/api/v1/tasks/{name}", None),
    )
    got = [caller.call(method, path, body) for method, path, body in asked]
    assert tuple(one.status_code for one in got) == answers
    assert not list(cluster.kube.list(workflows(cluster.namespace), fields=f"metadata.name={name}"))
    for one in got:
        assert one.status_code == 200 or one.json()["error"]


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_a_caller_without_a_valid_token_gets_401(cluster: Cluster, token: str) -> None:
    """A caller without a valid token gets 401 and the authentication scheme; health and metrics are open."""
    caller = Caller(cluster, token)
    refused = caller.call("GET", "/api/v1/tasks")
    assert (refused.status_code, refused.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")
    for path in ("/health", "/readyz", "/metrics"):
        assert caller.call("GET", path).status_code == 200


@pytest.mark.alone
@pytest.mark.long
def test_a_new_server_takes_over_without_a_failed_request(cluster: Cluster, name: str, account: Any) -> None:
    """While the Deployment's pod is replaced, each request to a ready address succeeds."""
    caller = account("get", "list")
    before = set(cluster.server_addresses())
    over = threading.Event()
    codes: Counter[int] = Counter()

    def ask(_: int) -> None:
        while not over.is_set():
            codes[caller.call("GET", "/api/v1/tasks?limit=5").status_code] += 1

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, number) for number in range(4)]
        try:
            cluster.await_that(lambda: sum(codes.values()) > 20, 30)
            restarted = {"kubectl.kubernetes.io/restartedAt": name}
            patch = {"spec": {"template": {"metadata": {"annotations": restarted}}}}
            cluster.kube.patch(
                f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{SERVER_NAME}", patch
            )
            cluster.await_that(
                lambda: bool(cluster.server_addresses()) and not before & set(cluster.server_addresses()),
                120,
                lambda: f"ready: {cluster.server_addresses()}",
            )
            at = sum(codes.values())
            cluster.await_that(lambda: sum(codes.values()) > at + 20, 30)
        finally:
            over.set()
    for one in asking:
        one.result()
    assert set(codes) == {200}, codes


def _events(caller: Caller, name: str, seconds: float = 120.0) -> Iterator[Any]:
    """Follow the server's stream of a task until the server ends it."""
    until = time.monotonic() + seconds
    with caller.call("GET", f"/api/v1/tasks/{name}/events", stream=True) as response:
        assert response.status_code == 200
        lines = itertools.takewhile(
            lambda _: time.monotonic() < until, response.iter_lines(decode_unicode=True)
        )
        event = ""
        for line in lines:
            if line.startswith("event:"):
                event = line.removeprefix("event:").strip()
            elif line.startswith("data:") and event == "task":
                yield json.loads(line.removeprefix("data:"))


@pytest.mark.alone
def test_the_image_alone_with_a_kubeconfig(cluster: Cluster, name: str, tmp_path: Path) -> None:
    """The image serves as with `docker run -p 8080:8080`, here in a node's network, and stops on SIGTERM."""
    ours = Path(cluster.environment["KUBECONFIG"]).read_text(encoding="utf-8")
    config = yaml.safe_load(ours)
    for one in config["clusters"]:
        authority = Path(one["cluster"].pop("certificate-authority")).read_bytes()
        one["cluster"] |= {
            "server": "https://10.201.0.1:443",
            "certificate-authority-data": base64.b64encode(authority).decode(),
        }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    deployment = cluster.kube.get(f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{SERVER_NAME}")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    node, address = "node1", "http://10.201.0.11:18080"
    container = (
        f"run --rm --net-host --user 65532:65532 --mount type=bind,src={file},dst=/kubeconfig,options=rbind:ro "
        f"--env KUBECONFIG=/kubeconfig --env K8S_NAMESPACE={cluster.namespace}"
    )
    serve = "ips-flow serve --host 0.0.0.0 --port 18080"
    process = subprocess.Popen(
        [LOCAL / "ctr", node, *shlex.split(container), image, name, *shlex.split(serve)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        cluster.await_that(
            lambda: _status(f"{address}/readyz") == 200, 60, lambda: "the server did not become ready"
        )
        assert _status(f"{address}/api/v1/tasks") == 401
        assert _status(f"{address}/web/") == 200
    finally:
        subprocess.run([LOCAL / "ctr", node, "tasks", "kill", "--signal", "SIGTERM", name], check=False)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out


def _status(url: str) -> int:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return 0
