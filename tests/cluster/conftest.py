"""The real cluster of `deploy/local`: how tests ask IPS Flow, and how they ask the nodes themselves."""

from __future__ import annotations

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
from tests.support.paths import DEPLOY

LOCAL = DEPLOY / "local"
FREE_PORTS = range(5010, 5020)  # where the nodes speak plain HTTP, and nothing of the cluster listens
TASK_SECONDS = 240
_ASK_SECONDS = 60


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """What needs the cluster can be chosen by its mark."""
    for item in items:
        if "cluster" in Path(str(item.fspath)).parts:
            item.add_marker(pytest.mark.cluster)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the cluster down after the last tests, if `tests/run` started it: pytest's summary stays last."""
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and goes_down():
        done = subprocess.run([LOCAL / "down"], capture_output=True, text=True, check=False)
        if done.returncode != 0:  # said here, where nothing else would show it; the summary still follows
            sys.stderr.write(f"\ndeploy/local/down failed:\n{done.stdout}{done.stderr}")
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def goes_down() -> bool:
    """Whether the cluster is taken down after these tests."""
    return {"IPS_TESTS_DOWN", "IPS_TESTS_LAST"} <= set(os.environ)


def local(command: str, *arguments: str) -> str:
    """Run a command of `deploy/local`; what it prints. What it says beside that, pytest shows where a test fails."""
    return subprocess.run([LOCAL / command, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.out)


class Cluster:
    """The running local cluster, with the environment that `deploy/local/env` gives a shell."""

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
        """`ips-flow` as a user runs it."""
        done = subprocess.run(
            ["ips-flow", *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start_flow(self, *arguments: str) -> subprocess.Popen[str]:
        """`ips-flow` in the background, in a process group of its own."""
        return subprocess.Popen(
            ["ips-flow", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            # A shell starts background jobs with SIGINT ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def task(self, name: str) -> Any:
        """The task as `get -o json` prints it, without a program started each time that a test looks."""
        return as_json.task_json(tasks.get_task(self.kube, self.namespace, name), clock.now())

    def submit(self, text: str) -> None:
        """Submit a request and leave it to itself."""
        outcome = self.flow("run", "-", "--detach", text=text, seconds=_ASK_SECONDS)
        assert outcome.code == 0, outcome.err

    def await_driver(self, task: str) -> None:
        """Until the program of a task's driver runs."""
        self.await_that(lambda: bool(processes.drivers(task)), 120, lambda: f"no driver of {task} came")

    def await_pulling(self, task: str) -> None:
        """Until some node pulls for a task."""

        def pulling() -> bool:
            return any(wave["pullingNodes"] for wave in self.task(task)["waves"])

        self.await_that(pulling, 120, lambda: f"{task} never pulled: {self.task(task)}")

    def pods_made(self, task: str) -> int:
        """How many pull pods a task had, by the Job controller's events."""
        events = self.kube.list(core(self.namespace, "events"), fields="reason=SuccessfulCreate")
        return sum(task in event["involvedObject"]["name"] for event in events)

    def push(self, name: str, *flags: str, size: str = "64KiB") -> str:
        """An image of random bytes that no node has; its reference with tag and digest."""
        return local("image", "push", name, "--size", size, *flags).strip()

    @contextmanager
    def pull_secret(self, name: str) -> Iterator[None]:
        """An image pull Secret for the private registry, for a while."""
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
        """The references of all images that containerd itself lists on a node."""
        return set(local("ctr", node, "images", "ls", "-q").split())

    def digest_on_node(self, node: str, reference: str) -> str:
        """The digest that containerd itself gives for a reference."""
        listed = local("ctr", node, "images", "ls", f"name=={reference}")
        found = re.search(r"sha256:[0-9a-f]{64}", listed)
        assert found, listed
        return found[0]

    def left_of(self, task: str) -> dict[str, list[str]]:
        """Jobs, pull pods and plan ConfigMaps that a task left behind."""
        paths = {"jobs": jobs(self.namespace), "pods": core(self.namespace, "pods")}
        labels = f"{LABEL_TASK_NAME}={task}"
        left = {kind: _names(self.kube, path, labels) for kind, path in paths.items()}
        plans = _names(
            self.kube, core(self.namespace, "configmaps"), f"{labels},{LABEL_KIND} in (plan,index)"
        )
        return {kind: names for kind, names in {**left, "plans": plans}.items() if names}

    def await_nothing_left(self, task: str, seconds: float = 30) -> None:
        """Until no Job, pull pod or plan of a task is left; pods end a moment after their Job."""
        self.await_that(
            lambda: not self.left_of(task), seconds, lambda: f"left of {task}: {self.left_of(task)}"
        )

    def await_no_pods(self, task: str, seconds: float) -> None:
        """Until no Job and no pull pod of a task is left."""

        def gone() -> bool:
            return not {"jobs", "pods"} & self.left_of(task).keys()

        self.await_that(gone, seconds, lambda: f"left of {task}: {self.left_of(task)}")

    def await_forgotten(self, uid: str, seconds: float) -> None:
        """Until no ConfigMap of a deleted task is left: neither records, nor its copy, nor a notice."""
        path, labels = core(self.namespace, "configmaps"), f"{LABEL_WORKFLOW_UID}={uid}"
        self.await_that(
            lambda: not _names(self.kube, path, labels),
            seconds,
            lambda: f"left of {uid}: {_names(self.kube, path, labels)}",
        )

    def await_that(
        self, condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str] = lambda: ""
    ) -> None:
        """Until a condition of the cluster holds, looked at again on a short beat."""
        beat = threading.Event()
        for _ in range(int(seconds * 4)):
            if condition():
                return
            beat.wait(0.25)
        assert condition(), otherwise()

    def await_listed(self, node: str, *references: str) -> None:
        """Until a node's status lists images: the kubelet tells up to 35 s late."""

        def listed() -> bool:
            status = self.kube.get(f"/api/v1/nodes/{node}")["status"]
            names = {name for image in status.get("images") or () for name in image["names"]}
            return names >= set(references)

        self.await_that(listed, 90, lambda: f"{node} does not list {references}")

    def workflow(self, task: str) -> Any:
        """The Workflow object of a task."""
        return self.kube.get(workflows(self.namespace, task))

    def ended_workflow(self, task: str) -> Any:
        """The Workflow object of a task once Argo has ended it, which is a little after the verdict."""
        self.await_that(
            lambda: "finishedAt" in self.workflow(task).get("status", {}), 120, lambda: f"{task} never ended"
        )
        return self.workflow(task)

    def server_addresses(self) -> list[str]:
        """Where the server listens, `host:port`: the ready endpoints of its Service, for there is no kube-proxy."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        return [
            f"{address}:{one['ports'][0]['port']}"
            for one in self.kube.list(path, labels=f"kubernetes.io/service-name={SERVER_NAME}")
            for endpoint in one.get("endpoints") or ()
            if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
        ]

    def watch_pulls(self, task: str) -> TaskWatch:
        """Watch the pull pods and the verdicts of a task from now on."""
        return TaskWatch(self.kube, self.namespace, task)


def _names(kube: Kube, path: str, labels: str) -> list[str]:
    return [item["metadata"]["name"] for item in kube.list(path, labels=labels, metadata_only=True)]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The local cluster, which `tests/run` has started."""
    return Cluster()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A task name that no other test has."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_").lower())
    return f"{words[:30].strip('-')}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def registry(cluster: Cluster) -> Iterator[FaultyRegistry]:
    """A registry in front of the real one that misbehaves on order."""
    with faulty_registry("10.201.0.1", FREE_PORTS, cluster.registry) as running:
        yield running


def via(registry: FaultyRegistry, reference: str) -> str:
    """The same image by the way of the faulty registry."""
    return f"{registry.address}/{reference.partition('@')[0].partition('/')[2]}"


@dataclass(frozen=True)
class SlowTask:
    """A task in the middle of its pulls: `there` is on the nodes already, `held` comes when it is released."""

    name: str
    there: str
    held: str
    registry: FaultyRegistry

    def release(self) -> None:
        """Let the registry answer from now on."""
        self.registry.misbehave("none")


@pytest.fixture
def slow(cluster: Cluster, name: str, registry: FaultyRegistry) -> SlowTask:
    """A task of which every node has one image, and waits for the other one."""
    there = cluster.push(f"tests/{name}:1").partition("@")[0]
    held = via(registry, cluster.push(f"tests/{name}-held:1"))
    registry.misbehave("held")
    cluster.submit(json.dumps({"name": name, "images": [there, held], "nodeTimeout": "5m", "timeout": "10m"}))
    cluster.await_pulling(name)
    cluster.await_that(lambda: all(there in cluster.on_node(node) for node in cluster.nodes), 60)
    return SlowTask(name, there, held, registry)


@pytest.fixture
def tarpit() -> Iterator[str]:
    """A registry that takes connections and never answers: host:port."""
    with Tarpit("10.201.0.1", FREE_PORTS) as address:
        yield address


def interrupt(process: subprocess.Popen[str]) -> None:
    """What Ctrl-C does."""
    os.killpg(process.pid, signal.SIGINT)
