"""Access of tests to the real cluster of `deploy/local`: through IPS Flow, and directly to the nodes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.core.constants import LABEL_KIND, LABEL_TASK_NAME, LABEL_WORKFLOW_UID
from ips_flows.core.task import as_json
from ips_flows.kube.client import Kube, core, jobs, workflows
from ips_flows.operations import tasks
from ips_flows.operations.install.manifests import SERVER_NAME
from tests.cluster import processes
from tests.cluster.task_watch import TaskWatch
from tests.fakes.faulty_registry import FaultyRegistry, faulty_registry
from tests.fakes.silent_server import Tarpit
from tests.support.forks import Fork
from tests.support.paths import DEPLOY

LOCAL = DEPLOY / "local"
FREE_PORTS = range(5010, 5020)  # unused ports for which the nodes' containerd uses plain HTTP
TASK_SECONDS = 240
_ASK_SECONDS = 60


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark all tests that need the cluster."""
    for item in items:
        if "cluster" in Path(str(item.fspath)).parts:
            item.add_marker(pytest.mark.cluster)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the cluster down after the last tests if `tests/run` started it; pytest's summary stays the last output."""
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and goes_down():
        done = subprocess.run([LOCAL / "down"], capture_output=True, text=True, check=False)
        if done.returncode != 0:  # nothing else would show it; the summary follows
            sys.stderr.write(f"\ndeploy/local/down failed:\n{done.stdout}{done.stderr}")
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def goes_down() -> bool:
    """Return whether the cluster is taken down after these tests."""
    return {"IPS_TESTS_DOWN", "IPS_TESTS_LAST"} <= set(os.environ)


def local(command: str, *arguments: str) -> str:
    """Run a command of `deploy/local`; return its stdout. pytest shows its stderr if a test fails."""
    return subprocess.run([LOCAL / command, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


@dataclass(frozen=True)
class Outcome:
    """The result of a command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return its stdout as JSON."""
        return json.loads(self.out)


class Cluster:
    """The running local cluster, with the environment that `deploy/local/env` sets."""

    def __init__(self) -> None:
        exports = local("env")
        given = {
            name: shlex.split(value)[0]
            for name, value in re.findall(r"^export (\w+)=(.*)$", exports, re.MULTILINE)
        }
        self.environment = {**os.environ, **given, "NO_COLOR": "1"}
        self.namespace = given["IPS_FLOW_NAMESPACE"]
        self.registry = given["IPS_LOCAL_REGISTRY"]
        self.private_registry = given["IPS_LOCAL_PRIVATE_REGISTRY"]
        self.kube = Kube.connect(given["KUBECONFIG"])
        self.nodes = sorted(
            node["metadata"]["name"]
            for node in self.kube.list("/api/v1/nodes", labels="type!=kwok", metadata_only=True)
        )

    def flow(self, *arguments: str, text: str = "", seconds: float = TASK_SECONDS) -> Outcome:
        """Run `ips-flow` with these arguments, in a fork that has loaded its modules."""
        fork = Fork(*arguments, folder=Path.cwd(), environment=self.environment, text=text)
        with contextlib.closing(fork):
            out, err = fork.communicate(seconds)
            return Outcome(fork.wait(0), out, err)

    def start_flow(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `ips-flow` in the background, in its own process group."""
        return subprocess.Popen(
            ["ips-flow", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            # A shell starts background jobs with SIGINT ignored, and child processes inherit this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def task(self, name: str) -> Any:
        """Return the task as `get -o json` prints it, without starting a process."""
        return as_json.task_json(tasks.get_task(self.kube, self.namespace, name), clock.now())

    def submit(self, text: str) -> None:
        """Submit a request without waiting."""
        outcome = self.flow("run", "-", "--detach", text=text, seconds=_ASK_SECONDS)
        assert outcome.code == 0, outcome.err

    def await_driver(self, task: str) -> None:
        """Wait until the process of a task's driver runs."""
        self.await_that(lambda: bool(processes.drivers(task)), 120, lambda: f"no driver of {task} started")

    def await_pulling(self, task: str) -> None:
        """Wait until a node pulls for a task."""

        def pulling() -> bool:
            return any(wave["pullingNodes"] for wave in self.task(task)["waves"])

        self.await_that(pulling, 120, lambda: f"{task} never pulled: {self.task(task)}")

    def pods_made(self, task: str) -> int:
        """Return the number of pull pods that a task has had, from the Job controller's events."""
        events = self.kube.list(core(self.namespace, "events"), fields="reason=SuccessfulCreate")
        return sum(task in event["involvedObject"]["name"] for event in events)

    def push(self, name: str, *flags: str, size: str = "64KiB") -> str:
        """Push an image of random bytes, which no node has; return its reference with tag and digest."""
        return local("image", "push", name, "--size", size, *flags).strip()

    @contextmanager
    def pull_secret(self, name: str) -> Iterator[None]:
        """Create an image pull Secret for the private registry; delete it at the end."""
        auths = {"auths": {self.private_registry: {"username": "robot", "password": "local-only"}}}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": json.dumps(auths)},
        }
        self.kube.create(core(self.namespace, "secrets"), secret)
        try:
            yield
        finally:
            self.kube.delete(core(self.namespace, "secrets", name))

    def on_node(self, node: str) -> set[str]:
        """Return the references of all images that containerd lists on a node."""
        return set(local("ctr", node, "images", "ls", "-q").split())

    def digest_on_node(self, node: str, reference: str) -> str:
        """Return the digest that containerd lists for a reference."""
        listed = local("ctr", node, "images", "ls", f"name=={reference}")
        found = re.search(r"sha256:[0-9a-f]{64}", listed)
        assert found, listed
        return found[0]

    def left_of(self, task: str) -> dict[str, list[str]]:
        """Return the remaining Jobs, pull pods and plan ConfigMaps of a task."""
        paths = {"jobs": jobs(self.namespace), "pods": core(self.namespace, "pods")}
        labels = f"{LABEL_TASK_NAME}={task}"
        left = {kind: _names(self.kube, path, labels) for kind, path in paths.items()}
        plans = _names(
            self.kube, core(self.namespace, "configmaps"), f"{labels},{LABEL_KIND} in (plan,index)"
        )
        return {kind: names for kind, names in {**left, "plans": plans}.items() if names}

    def await_nothing_left(self, task: str, seconds: float = 30) -> None:
        """Wait until no Job, pull pod or plan of a task is left. Pods are deleted a moment after their Job."""
        self.await_that(
            lambda: not self.left_of(task), seconds, lambda: f"left of {task}: {self.left_of(task)}"
        )

    def await_no_pods(self, task: str, seconds: float) -> None:
        """Wait until no Job and no pull pod of a task is left."""

        def gone() -> bool:
            return not {"jobs", "pods"} & self.left_of(task).keys()

        self.await_that(gone, seconds, lambda: f"left of {task}: {self.left_of(task)}")

    def await_forgotten(self, uid: str, seconds: float) -> None:
        """Wait until no ConfigMap of a deleted task is left: records, copy or webhook notification."""
        path, labels = core(self.namespace, "configmaps"), f"{LABEL_WORKFLOW_UID}={uid}"
        self.await_that(
            lambda: not _names(self.kube, path, labels),
            seconds,
            lambda: f"left of {uid}: {_names(self.kube, path, labels)}",
        )

    def await_that(
        self, condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str] = lambda: ""
    ) -> None:
        """Wait until a condition holds; it is checked at short intervals."""
        beat = threading.Event()
        for _ in range(int(seconds * 4)):
            if condition():
                return
            beat.wait(0.25)
        assert condition(), otherwise()

    def await_listed(self, node: str, *references: str) -> None:
        """Wait until a node's status lists images. The kubelet reports them up to 35 s late."""

        def listed() -> bool:
            status = self.kube.get(f"/api/v1/nodes/{node}")["status"]
            names = {name for image in status.get("images") or () for name in image["names"]}
            return names >= set(references)

        self.await_that(listed, 90, lambda: f"{node} does not list {references}")

    def workflow(self, task: str) -> Any:
        """Return the Workflow object of a task."""
        return self.kube.get(workflows(self.namespace, task))

    def ended_workflow(self, task: str) -> Any:
        """Wait until Argo has ended the Workflow of a task, a little after the verdict; return the Workflow."""
        self.await_that(
            lambda: "finishedAt" in self.workflow(task).get("status", {}), 120, lambda: f"{task} never ended"
        )
        return self.workflow(task)

    def server_addresses(self) -> list[str]:
        """Return the ready endpoints of the server's Service, `host:port` each. The cluster has no kube-proxy."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        return [
            f"{address}:{one['ports'][0]['port']}"
            for one in self.kube.list(path, labels=f"kubernetes.io/service-name={SERVER_NAME}")
            for endpoint in one.get("endpoints") or ()
            if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
        ]

    def watch_pulls(self, task: str) -> TaskWatch:
        """Return a watch of the pull pods and the verdicts of a task."""
        return TaskWatch(self.kube, self.namespace, task)


def _names(kube: Kube, path: str, labels: str) -> list[str]:
    return [item["metadata"]["name"] for item in kube.list(path, labels=labels, metadata_only=True)]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the local cluster, which `tests/run` has started."""
    return Cluster()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Return a unique task name."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_").lower())
    return f"{words[:30].strip('-')}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def registry(cluster: Cluster) -> Iterator[FaultyRegistry]:
    """Run a registry in front of the real one that injects faults."""
    with faulty_registry("10.201.0.1", FREE_PORTS, cluster.registry) as running:
        yield running


def via(registry: FaultyRegistry, reference: str) -> str:
    """Return the reference of the same image in the faulty registry."""
    return f"{registry.address}/{reference.partition('@')[0].partition('/')[2]}"


@dataclass(frozen=True)
class SlowTask:
    """A task during its pulls: the image `there` is on the nodes, `held` is pulled after `release`."""

    name: str
    there: str
    held: str
    registry: FaultyRegistry

    def release(self) -> None:
        """Let the registry respond."""
        self.registry.misbehave("none")


@pytest.fixture
def slow(cluster: Cluster, name: str, registry: FaultyRegistry) -> SlowTask:
    """Start a task; every node has pulled one image and waits for the other."""
    there = cluster.push(f"tests/{name}:1").partition("@")[0]
    held = via(registry, cluster.push(f"tests/{name}-held:1"))
    registry.misbehave("held")
    cluster.submit(json.dumps({"name": name, "images": [there, held], "nodeTimeout": "5m", "timeout": "10m"}))
    cluster.await_pulling(name)
    cluster.await_that(lambda: all(there in cluster.on_node(node) for node in cluster.nodes), 60)
    return SlowTask(name, there, held, registry)


@pytest.fixture
def tarpit() -> Iterator[str]:
    """Run a registry that accepts connections and never responds; the value is `host:port`."""
    with Tarpit("10.201.0.1", FREE_PORTS) as address:
        yield address


def interrupt(process: subprocess.Popen[str]) -> None:
    """Interrupt a process as Ctrl-C does."""
    os.killpg(process.pid, signal.SIGINT)
