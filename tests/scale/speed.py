"""Benchmark of IPS Flow on the local cluster, as ratios within one run: `python -m tests.scale.speed [--rounds N]`.

It prints values and checks no limits. The noise of the machine affects all values alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from ips_flows.argo.prewarm import prewarm_template
from ips_flows.core.constants import LABEL_TASK_NAME
from ips_flows.core.k8s.objects import Json
from ips_flows.kube.client import core, workflows
from tests.cluster.conftest import Cluster

_LIMIT_SECONDS = 180.0


def main() -> None:
    """Measure and print a line per value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    cluster = Cluster()
    show("ips-flow --help", [command(cluster, "--help") for _ in range(5 * rounds)])
    show("ips-flow list", [command(cluster, "list") for _ in range(3 * rounds)])
    bare, first, again = [], [], []
    for _ in range(rounds):
        bare.append(second_step(cluster))
        image = cluster.push(f"bench/{uuid.uuid4().hex[:8]}:1").partition("@")[0]
        first.append(first_pull(cluster, image))
        for node in cluster.nodes:
            cluster.await_listed(node, image)
        again.append(warm_run(cluster, image))
    show("a minimal two-step workflow, until its second step starts", bare)
    show("ips-flow run, until the first pull starts", first)
    show("ips-flow run on warm nodes, until it ends", again)
    median = statistics.median
    print(f"first pull ÷ second step of the minimal workflow: {median(first) / median(bare):.2f}")
    print(f"warm run ÷ second step of the minimal workflow: {median(again) / median(bare):.2f}")


def show(what: str, seconds: list[float]) -> None:
    """Print median, minimum and maximum of a measurement."""
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{what}: {middle:.2f} s (min {low:.2f}, max {high:.2f}, n {len(seconds)})", flush=True)


def command(cluster: Cluster, *arguments: str) -> float:
    """Return the seconds that a command takes."""
    start = time.monotonic()
    subprocess.run(["ips-flow", *arguments], env=cluster.environment, check=True, capture_output=True)
    return time.monotonic() - start


def second_step(cluster: Cluster) -> float:
    """Return the seconds from the creation of a minimal workflow with two steps until the second one runs."""
    name = f"bare-{uuid.uuid4().hex[:6]}"
    manifest = bare_workflow(cluster, name)

    def seen(pod: Json) -> bool:
        second = pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"].startswith(f"{name}[1]")
        states = [one["state"] for one in pod["status"].get("containerStatuses", []) if one["name"] == "main"]
        return second and any({"running", "terminated"} & set(state) for state in states)

    def create() -> None:
        cluster.kube.create(workflows(cluster.namespace), manifest)

    labels = f"workflows.argoproj.io/workflow={name}"
    took = until(cluster, core(cluster.namespace, "pods"), seen, create, labels=labels)
    cluster.await_that(lambda: "finishedAt" in cluster.workflow(name)["status"], 60)
    cluster.kube.delete(workflows(cluster.namespace, name))
    return took


def first_pull(cluster: Cluster, image: str) -> float:
    """Return the seconds from `ips-flow run` until the kubelet's event that it pulls."""

    def seen(event: Json) -> bool:
        return event.get("reason") == "Pulling" and image in (event.get("message") or "")

    process: list[subprocess.Popen[str]] = []

    def submit() -> None:
        process.append(cluster.start_flow("run", "--image", image))

    took = until(cluster, core(cluster.namespace, "events"), seen, submit, fields="reason=Pulling")
    process[0].communicate(timeout=_LIMIT_SECONDS)
    if process[0].returncode:
        sys.exit(f"the task for {image} failed")
    return took


def warm_run(cluster: Cluster, image: str) -> float:
    """Return the seconds of an `ips-flow run` on warm nodes; exit if it creates a pull pod."""
    name = f"warm-{uuid.uuid4().hex[:6]}"
    with cluster.watch_pulls(name) as watch:
        took = command(cluster, "run", "--image", image, "--name", name)
    if watch.names:
        sys.exit(f"{name} had pull pods: {LABEL_TASK_NAME}={name}")
    return took


def until(
    cluster: Cluster,
    path: str,
    seen: Callable[[Json], bool],
    begin: Callable[[], None],
    *,
    labels: str = "",
    fields: str = "",
) -> float:
    """Return the seconds from `begin` until an object of a collection meets a condition."""
    version = cluster.kube.get(path, limit=1)["metadata"]["resourceVersion"]
    end: list[float] = []

    def events() -> Iterator[Json]:
        yield from cluster.kube.watch(
            path, resource_version=version, seconds=_LIMIT_SECONDS, labels=labels, fields=fields
        )

    def look() -> None:
        for event in events():
            if event["type"] != "BOOKMARK" and seen(event["object"]):
                end.append(time.monotonic())
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    start = time.monotonic()
    begin()
    watcher.join(_LIMIT_SECONDS)
    if not end:
        sys.exit(f"nothing seen at {path} within {_LIMIT_SECONDS:.0f} s")
    return end[0] - start


def bare_workflow(cluster: Cluster, name: str) -> dict[str, Any]:
    """Return a workflow of two empty steps, with the product's security context and ServiceAccount."""
    ours = prewarm_template().to_dict()["spec"]
    worker = cluster.kube.get(core(cluster.namespace, "configmaps", "ips-config"))["data"]["worker-image"]
    container = next(entry["container"] for entry in ours["templates"] if "container" in entry)
    nothing = {
        "image": worker,
        "command": ["/bin/busybox", "true"],
        "securityContext": container["securityContext"],
    }
    steps = [[{"name": "first", "template": "nothing"}], [{"name": "second", "template": "nothing"}]]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {
            "entrypoint": "main",
            "serviceAccountName": "ips-flow-filter",
            "securityContext": ours["securityContext"],
            "podSpecPatch": ours["podSpecPatch"],
            "templates": [{"name": "main", "steps": steps}, {"name": "nothing", "container": nothing}],
        },
    }


if __name__ == "__main__":
    main()
