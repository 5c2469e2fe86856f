"""The keeper on the real cluster: no objects are left, whenever finish fails and whatever a user deletes."""

from __future__ import annotations

import pytest

from ips_flows.core.constants import ANNOTATION_VERDICT
from ips_flows.core.reconcile.finish_job import job_name
from ips_flows.kube.client import core, jobs, workflows
from ips_flows.kube.lease import holder_of, lease_path
from tests.cluster.audit import audit, await_marks, marks
from tests.cluster.conftest import Cluster
from tests.cluster.faults import delete_step_pods, keeper_pods, kill_step, without_right
from tests.cluster.test_warming import request, tagged


def submit(cluster: Cluster, name: str, *images: str) -> str:
    """Submit a task; return its uid."""
    cluster.submit(request(name=name, images=list(images)))
    return str(cluster.workflow(name)["metadata"]["uid"])


def await_argos_end(cluster: Cluster, name: str) -> None:
    cluster.await_that(lambda: bool(cluster.workflow(name)["status"].get("finishedAt")), 120)


def test_a_keeper_runs(cluster: Cluster) -> None:
    """The local cluster has a keeper that holds the Lease and is ready."""

    def held() -> bool:
        holder = holder_of(cluster.kube.get(lease_path(cluster.namespace))) or ""
        return any(holder.startswith(pod) for pod in keeper_pods(cluster))

    cluster.await_that(held, 30, lambda: f"none of {keeper_pods(cluster)} holds the Lease")
    findings = {one["subject"]: one for one in cluster.flow("doctor", "-o", "json").json()["findings"]}
    assert findings["keeper"]["level"] == "ok"


LOST_BEFORE = (  # the right that finish lacks in this stage, and whether it has written the verdict before
    ("pods", "list", False),  # waits for the drivers
    ("configmaps", "list", False),  # folds the results
    ("workflows", "patch", False),  # writes the verdict
    ("jobs", "delete", True),  # deletes the remaining objects
    ("configmaps", "deletecollection", True),
)


@pytest.mark.alone
@pytest.mark.long
def test_finish_fails_in_each_stage(cluster: Cluster, name: str) -> None:
    """The keeper does the rest of finish's work; an existing verdict stays the only one."""
    lost: dict[str, dict[str, str]] = {}
    for number, (resource, verb, judged) in enumerate(LOST_BEFORE):
        task = f"{name}-{number}"
        image = tagged(
            cluster.push(f"tests/{task}:1")
        )  # a new image for each, because a warm task has no Job to delete
        with without_right(cluster, "finish", resource, verb):
            submit(cluster, task, image)
            await_argos_end(cluster, task)
            lost[task] = marks(cluster, task)
            assert set(lost[task]) == ({ANNOTATION_VERDICT} if judged else set())
    for task, before in lost.items():
        await_marks(cluster, task)
        assert before.items() <= marks(cluster, task).items()
        assert audit(cluster, task)["status"] == "completed"


@pytest.mark.alone
@pytest.mark.long
def test_finish_is_killed_as_it_begins(cluster: Cluster, name: str) -> None:
    """If finish is killed and its pod deleted, the keeper's finish Job does its work."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    submit(cluster, name, image)
    cluster.await_that(lambda: bool(kill_step("finish", name)), 120, lambda: "no finish started")
    delete_step_pods(cluster, "finish", name)
    await_argos_end(cluster, name)
    await_marks(cluster, name)
    assert audit(cluster, name)["status"] == "completed"


@pytest.mark.alone
@pytest.mark.long
def test_the_keeper_is_killed_too(cluster: Cluster, name: str) -> None:
    """Another keeper acquires the Lease and does the remaining work once."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    with without_right(cluster, "finish", "workflows", "patch"):
        uid = submit(cluster, name, image)
        await_argos_end(cluster, name)
    (first,) = keeper_pods(cluster)
    cluster.kube.delete(core(cluster.namespace, "pods", first), grace_seconds=0)
    await_marks(cluster, name)
    assert audit(cluster, name)["status"] == "completed"
    assert not (holder_of(cluster.kube.get(lease_path(cluster.namespace))) or "").startswith(first)
    job = cluster.kube.get(jobs(cluster.namespace, job_name(uid)))
    assert job["metadata"]["annotations"]["ips-flow.io/try"] == "1"


@pytest.mark.long
@pytest.mark.parametrize("propagation", ["Background", "Orphan"])
def test_a_workflow_deleted_while_it_runs(cluster: Cluster, name: str, tarpit: str, propagation: str) -> None:
    """No Job, pull pod, plan or copy is left, even if the deletion orphaned them."""
    uid = submit(cluster, name, f"{tarpit}/slow:1")
    cluster.await_pulling(name)
    cluster.kube.delete(workflows(cluster.namespace, name), propagation=propagation)
    cluster.await_nothing_left(name, 40 if propagation == "Background" else 90)
    cluster.await_forgotten(uid, 90)
