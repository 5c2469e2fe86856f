"""Faults of the soak test: each breaks a part for a random time and repairs it before it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from ips_flows.core.errors import NotFoundError
from ips_flows.kube.client import core, workflows
from tests.cluster import faults, processes
from tests.cluster.conftest import Cluster

_STEP_SECONDS = 60.0  # timeout for a step to start; the task may have no such step any more
_LAST_STEP_SECONDS = 500.0  # the same for finish, which may start only after the task's timeout


@dataclass(frozen=True)
class Mishap:
    """A fault for one task. A `harmless` fault may cost time, but tasks whose images are good still complete."""

    happen: Callable[[Cluster, str, Random], None]
    harmless: bool = True


def _nothing(_cluster: Cluster, _task: str, _dice: Random) -> None:
    return


def _driver_killed(cluster: Cluster, task: str, _dice: Random) -> None:
    _await_step(cluster, "drive", task)
    faults.kill_step("drive", task)


def _driver_frozen(cluster: Cluster, task: str, dice: Random) -> None:
    for pid in _await_step(cluster, "drive", task)[:1]:
        with faults.frozen(pid):
            if dice.random() < 0.5:
                faults.delete_step_pods(cluster, "drive", task)
            faults.outage(dice.uniform(2, 30))


def _finish_killed(cluster: Cluster, task: str, dice: Random) -> None:
    if _await_step(cluster, "finish", task, _LAST_STEP_SECONDS):
        faults.outage(dice.uniform(0, 3))  # at a random point of its work
        faults.kill_step("finish", task)


def _away(part: str, longest: float) -> Callable[[Cluster, str, Random], None]:
    def happen(_cluster: Cluster, _task: str, dice: Random) -> None:
        with faults.away(part):
            faults.outage(dice.uniform(0, longest))

    return happen


def _kubelet_away(cluster: Cluster, _task: str, dice: Random) -> None:
    with faults.away(f"{dice.choice(cluster.nodes)}-kubelet"):
        faults.outage(dice.uniform(0, 20))


def _node_dies(cluster: Cluster, _task: str, dice: Random) -> None:
    with faults.away(dice.choice(cluster.nodes)):
        faults.outage(dice.choice([0, 10, 60]))


def _cut_off(cluster: Cluster, _task: str, dice: Random) -> None:
    with faults.cut_off(dice.choice(cluster.nodes)):
        faults.outage(dice.uniform(1, 20))


def _cordoned(cluster: Cluster, _task: str, dice: Random) -> None:
    with faults.cordoned(cluster, dice.choice(cluster.nodes)):
        faults.outage(dice.uniform(5, 20))


def _keeper_deleted(cluster: Cluster, _task: str, _dice: Random) -> None:
    for pod in faults.keeper_pods(cluster):
        cluster.kube.delete(core(cluster.namespace, "pods", pod), grace_seconds=0)


def _scaled(cluster: Cluster, task: str, dice: Random) -> None:
    cluster.flow("scale", task, "--batch-size", str(dice.choice([0, 1, 2])))
    faults.outage(dice.uniform(1, 15))
    cluster.flow("scale", task, "--batch-size", "2")


def _cancelled(cluster: Cluster, task: str, _dice: Random) -> None:
    cluster.flow("cancel", task)


def _shut_down(how: str) -> Callable[[Cluster, str, Random], None]:
    def happen(cluster: Cluster, task: str, _dice: Random) -> None:
        faults.shut_down(cluster, task, how)

    return happen


def _deleted(cluster: Cluster, task: str, dice: Random) -> None:
    path = workflows(cluster.namespace, task)
    cluster.kube.delete(path, propagation=dice.choice(["Background", "Foreground", "Orphan"]))

    def gone() -> bool:
        try:
            cluster.kube.get(path, metadata_only=True)
        except NotFoundError:
            return True
        return False

    cluster.await_that(gone, 60, lambda: f"{task} still exists")


def _await_step(cluster: Cluster, step: str, task: str, seconds: float = _STEP_SECONDS) -> list[int]:
    """Wait for the processes of a step; return their ids, or none if the task ends before."""

    def come() -> bool:
        if processes.of_step(step, task):
            return True
        return "finishedAt" in (cluster.workflow(task).get("status") or {})

    cluster.await_that(come, seconds, lambda: f"no {step} of {task} started in {seconds:.0f} s")
    return processes.of_step(step, task)


MISHAPS: Mapping[str, Mishap] = {
    "nothing": Mishap(_nothing),
    "driver killed": Mishap(_driver_killed),
    "driver frozen": Mishap(_driver_frozen),
    "finish killed": Mishap(_finish_killed),
    "keeper deleted": Mishap(_keeper_deleted),
    "controller away": Mishap(_away("argo-controller", 30)),
    "API server away": Mishap(_away("apiserver", 20)),
    "controller-manager away": Mishap(_away("controller-manager", 20)),
    "scheduler away": Mishap(_away("scheduler", 20)),
    "registry away": Mishap(_away("registry", 20)),
    "kubelet away": Mishap(_kubelet_away),
    "node cut off": Mishap(_cut_off),
    "node dies": Mishap(_node_dies, harmless=False),
    "node cordoned": Mishap(_cordoned),
    "scaled": Mishap(_scaled),
    "cancelled": Mishap(_cancelled, harmless=False),
    "Argo's stop": Mishap(_shut_down("Stop"), harmless=False),
    "Argo's terminate": Mishap(_shut_down("Terminate"), harmless=False),
    "deleted": Mishap(_deleted, harmless=False),
}
