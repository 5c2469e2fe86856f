"""Results that can't be written: no step reports a false result, and the true one is written later."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from ips_flows.cli.main import run
from ips_flows.core.constants import ANNOTATION_VERDICT
from steps import context
from steps.context import StepContext
from steps.drive import driver
from steps.finish import finish
from tests.fakes.argo import Argo
from tests.fakes.kubelets import Cluster, Play
from tests.support.kube_objects import GOOD
from tests.support.step_harness import TASK, Stage, set_timings

REFUSALS = {
    "quota": 'configmaps "x" is forbidden: exceeded quota: full, requested: count/configmaps=1, used: '
    "count/configmaps=4, limited: count/configmaps=0",
    "rights": 'configmaps is forbidden: User "system:serviceaccount:warm:ips-flow-drive" cannot create resource '
    '"configmaps" in API group "" in the namespace "warm"',
}


@pytest.fixture
def as_pod(whole: Stage, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Run a step as its pod does, and return the exit code."""
    monkeypatch.setenv("KUBECONFIG", str(whole.kubeconfig))
    monkeypatch.setenv("HOSTNAME", "driver-1")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def start(step: Callable[[StepContext, Sequence[str]], int], **extra: str) -> object:
        monkeypatch.setattr(sys, "argv", ["step", TASK, whole.uid, *extra.values()])
        with pytest.raises(SystemExit) as ended:
            context.start(step, list(extra))
        return ended.value.code

    return start


@pytest.mark.parametrize("how", ["quota", "rights"])
def test_results_that_cannot_be_written(
    whole: Stage,
    as_pod: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    """No output says completed, and the logs have the results. When writes work again, a later finish stores them.

    No exit code is 1: a failed write is not a failed attempt.
    """
    set_timings(whole.finish_timings, refused=0.0)
    nodes = ["n1", "n2"]
    whole.announced(GOOD, nodes=nodes)
    said = {"quota": "exceeded quota: full", "rights": "may not create configmaps in namespace warm"}[how]

    def refuse() -> None:
        cluster.wait_for(lambda: sorted(cluster.pulling()) == nodes)
        whole.server.fail("POST .*/configmaps", 403, "Forbidden", REFUSALS[how])
        cluster.release()

    with Cluster(whole.server, nodes, {GOOD: Play.SLOW}) as cluster:
        with whole.meanwhile(refuse):
            assert as_pod(driver.run, wave="wave-1", attempt="0") == 4
        *_, last = capsys.readouterr().out.splitlines()
        assert last.startswith("error: ")
        assert said in last
        assert as_pod(driver.run, wave="wave-1", attempt="0") == 4  # the next driver
        assert as_pod(partial(finish.run, timings=whole.finish_timings)) == 4
        *_, last = capsys.readouterr().out.splitlines()
        assert last.startswith("error: ")
        assert said in last
        assert ANNOTATION_VERDICT not in whole.annotations()
        Argo(whole.server, TASK).phase("Failed", "child failed")
        assert run(["get", TASK, "-o", "json"]) == 0
        task = json.loads(capsys.readouterr().out)
        assert task["status"] == "failed"
        assert "without a verdict" in task["errorMessage"]
        whole.server.faults.clear()
        assert whole.finish() == 0
    assert (whole.verdict().status, whole.verdict().message) == (
        "completed",
        "every image is on 2 of 2 nodes",
    )
    assert len(cluster.pods_made()) == len(nodes)
