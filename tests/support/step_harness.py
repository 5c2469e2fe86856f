"""Harness that runs the steps of a task against the fake API server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_PLAN, ANNOTATION_VERDICT, CONFIG_MAP, LABEL_TASK, group_name
from ips_flows.core.plan.plan import GroupPlan
from ips_flows.core.pods.pull_job import config_map, results_map, task_labels, workflow_owner
from ips_flows.core.results.records import Verdict
from ips_flows.core.results.results import Chunk, NodeResult, fold
from ips_flows.core.results.stored_results import decode
from ips_flows.kube.client import Kube
from steps import filter  # noqa: A004  (the step's name)
from steps.context import StepContext
from steps.drive import driver
from steps.drive.timings import DriverTimings
from steps.finish import finish
from steps.finish.timings import FinishTimings
from tests.fakes.apiserver import ApiServer
from tests.fakes.kubelets import Cluster
from tests.support import kube_objects
from tests.support.paths import ROOT

TASK = "warm-x"
Json = dict[str, Any]


class Stage:
    """A task with the context of its steps. Waits are shortened; decisions are those of the product."""

    def __init__(self, server: ApiServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.folder = folder
        self.kubeconfig = server.kubeconfig(folder)
        self.monkeypatch = monkeypatch
        self.kube = Kube.connect(str(self.kubeconfig))
        workflow = {
            "metadata": {"name": TASK, "labels": {LABEL_TASK: "true"}},
            "spec": {},
            "status": {"startedAt": clock.stamp(clock.now())},
        }
        self.uid = server.put("workflows", workflow)["metadata"]["uid"]
        self.context = StepContext(self.kube, TASK, self.uid)
        self.outputs = folder / "outputs"
        monkeypatch.setattr(filter, "OUTPUTS", self.outputs)
        self.timings = DriverTimings(rest=0.01, idle=0.05, first_pause=0.05, pull_event=0.2)
        self.finish_timings = FinishTimings(retry=0.05)

    def set_timings(self, **seconds: float) -> None:
        """Change the timings of drivers in this process, even of a running one."""
        set_timings(self.timings, **seconds)

    def workflow(self, patch: Json | None = None) -> Json:
        """Apply a merge patch, if given, to the Workflow; return the Workflow."""
        return self.server.change("workflows", TASK, patch) if patch else self.server.get("workflows", TASK)

    def annotations(self) -> Json:
        """Return the Workflow's annotations."""
        return dict(self.workflow()["metadata"].get("annotations") or {})

    def planned(
        self, *images: str, nodes: Sequence[str], window: int = 10, seconds: float = 3600, **fields: Any
    ) -> GroupPlan:
        """Store the plan of one group as filter does, with a deadline in this many seconds."""
        changes = {"deadline": clock.stamp(clock.now() + timedelta(seconds=seconds)), **fields}
        plan = kube_objects.group_plan(*images, nodes=nodes, window=window).model_copy(update=changes)
        labels = task_labels(TASK, self.uid, "plan", plan.group)
        stored = config_map(
            group_name(TASK, self.uid, plan.group),
            labels=labels,
            owner=workflow_owner(TASK, self.uid),
            binary=plan.encode(),
        )
        self.server.put("configmaps", stored)
        return plan

    def asks(self, **fields: Any) -> None:
        """Set the task's request, mark its Workflow Running, and run filter."""
        request = [{"name": "request", "value": json.dumps(fields)}]
        labels = {"workflows.argoproj.io/phase": "Running"}
        self.workflow(
            {
                "metadata": {"labels": labels},
                "spec": {"arguments": {"parameters": request}},
                "status": {"phase": "Running"},
            }
        )
        self.server.change("configmaps", CONFIG_MAP, {"data": {"worker-image": kube_objects.WORKER}})
        assert filter.run(self.context, ()) == 0

    def announced(self, *images: str, nodes: Sequence[str], losses: int = 0, retries: int = 0) -> GroupPlan:
        """Store the plan of one group, and its summary on the Workflow."""
        plan = self.planned(*images, nodes=nodes, losses_allowed=losses, max_retries=retries)
        changes = {"images": images, "max_retries": retries, "deadline": plan.deadline}
        summary = kube_objects.summary(eligible=len(nodes), losses=losses).model_copy(update=changes)
        self.workflow({"metadata": {"annotations": {ANNOTATION_PLAN: summary.to_json()}}})
        return plan

    def verdict(self) -> Verdict:
        """Return the verdict that finish wrote."""
        return Verdict.from_json(self.annotations()[ANNOTATION_VERDICT])

    def recorded(self, name: str, chunk: Chunk) -> None:
        """Store results as a driver does."""
        self.server.put("configmaps", results_map(name, TASK, self.uid, chunk))

    def drive(self, attempt: int = 0, *, me: str = "driver-1", wave: str = "wave-1") -> int:
        """Run a driver in this process; return its exit code."""
        self.monkeypatch.setenv("HOSTNAME", me)
        return driver.run(self.context, (wave, str(attempt)), self.timings)

    @contextlib.contextmanager
    def driver(self, me: str, attempt: int = 0) -> Iterator[subprocess.Popen[str]]:
        """Run a driver in its own process; kill it at the end if it still runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "steps.drive", TASK, self.uid, "wave-1", str(attempt)],
            cwd=ROOT,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOSTNAME": me},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def passes(self) -> int:
        """Return how often drivers have read their Job so far."""
        return sum(call.startswith("GET") and "/jobs/" in call for call in self.server.calls)

    def looks(self, cluster: Cluster, times: int = 3) -> None:
        """Make the driver read its Job this many times more, each time by a pod event without a change."""
        for _ in range(times):
            seen = self.passes()
            self.server.change("pods", cluster.objects("pods")[-1]["metadata"]["name"], {})
            cluster.wait_for(lambda seen=seen: self.passes() > seen)  # type: ignore[misc]

    @contextlib.contextmanager
    def meanwhile(self, act: Callable[[], None]) -> Iterator[None]:
        """Run a function in a thread beside the step; its failure fails the test."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001  (raised below)
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join(60)
            if failed:
                raise failed[0]
            assert not thread.is_alive(), "the function beside the step did not end in 60 s"

    def finish(self) -> int:
        """Run finish in this process; return its exit code."""
        return finish.run(self.context, (), self.finish_timings)

    def results(self) -> Mapping[str, NodeResult]:
        """Return the recorded results, read from the store directly so that no call to the API is recorded."""
        stored = [item for key, item in self.server.store.objects.items() if key[0] == "configmaps"]
        results = task_labels(TASK, self.uid, "results")
        return fold(
            decode(item["binaryData"]) for item in stored if item["metadata"].get("labels") == results
        )


def set_timings(timings: DriverTimings | FinishTimings, **seconds: float) -> None:
    """Change timings in place, so that a step that runs already sees the change."""
    for name, value in seconds.items():
        getattr(timings, name)  # raises if the timing does not exist
        object.__setattr__(timings, name, value)


def terminate() -> None:
    """Send SIGTERM to this process, to the thread that runs the step."""
    main = threading.main_thread().ident
    assert main
    signal.pthread_kill(main, signal.SIGTERM)
