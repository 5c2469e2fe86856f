"""Results that cannot be written, and names that are used twice; each test ends with the audit."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ips_flows.kube.client import workflows
from tests.cluster import faults
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import Cluster, SlowTask
from tests.cluster.test_warming import request, tagged


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize("how", ["quota", "rights"])
def test_results_that_cannot_be_written(cluster: Cluster, slow: SlowTask, how: str) -> None:
    """The task is not completed and the logs show the error; when writes succeed again, the keeper adds the verdict."""
    name = slow.name
    with ExitStack() as broken:
        if how == "quota":
            broken.enter_context(faults.without_room_for_results(cluster, name))
        else:
            for step in ("drive", "finish"):
                broken.enter_context(faults.without_right(cluster, step, "configmaps", "create"))
        slow.release()
        waited = cluster.flow("wait", name)
        assert waited.code == 1, waited.err
        task = cluster.task(name)
        assert task["status"] == "failed"
        assert "without a verdict" in task["errorMessage"]
        said = {"quota": "exceeded quota", "rights": "may not create configmaps"}[how]
        assert said in cluster.flow("logs", name).out
    await_marks(cluster, name)
    task = audit(cluster, name)
    assert task["status"] == "completed"
    assert {one["result"] for images in task["nodeStatuses"].values() for one in images.values()} == {
        "pulled"
    }


def test_one_name_twice_at_the_same_moment(cluster: Cluster, name: str) -> None:
    """Of two submissions of the same name and request one creates the task, and both follow it until it ends."""
    image = tagged(cluster.push(f"tests/{name}:1"))
    both = [cluster.start_flow("run", "--image", image, "--name", name) for _ in range(2)]
    narrations = [process.communicate(timeout=200)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], narrations
    assert sum("unchanged" in text for text in narrations) == 1
    audit(cluster, name)


@pytest.mark.parametrize("running", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_name_is_used_again(cluster: Cluster, name: str, tarpit: str, *, running: bool) -> None:
    """A task created under the name of a deleted one ignores the objects that are left of the deleted one."""
    second = tagged(cluster.push(f"tests/{name}-2:1"))
    if running:
        cluster.submit(request(name=name, images=[f"{tarpit}/slow:1"]))
        cluster.await_pulling(name)
    else:
        first = tagged(cluster.push(f"tests/{name}-1:1"))
        assert cluster.flow("run", "--image", first, "--name", name).code == 0
    cluster.kube.delete(workflows(cluster.namespace, name))
    outcome = cluster.flow("run", "--image", second, "--name", name)
    assert outcome.code == 0, outcome.err
    task = audit(cluster, name)
    assert {image for images in task["nodeStatuses"].values() for image in images} == {second}
