"""A task whose steps can be run against the fake API server, with a simulated cluster behind it."""

from __future__ import annotations

import contextlib
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

from ips_flows import clock
from ips_flows.conventions import group_name
from ips_flows.jobgroup import config_map, results_map, task_labels, workflow_owner
from ips_flows.kube import Kube
from ips_flows.plan import GroupPlan
from ips_flows.results import Chunk, NodeResult, decode, fold
from steps import drive, filter, finish, witness  # noqa: A004  (the step's name)
from steps.footing import Footing
from tests.fakes.apiserver import ApiServer
from tests.unit import samples

ROOT = Path(__file__).resolve().parents[2]
TASK = "warm-x"
Json = dict[str, Any]


class Stage:
    """A task and what a step needs to work for it. Waits are shortened, what is decided stays."""

    def __init__(self, server: ApiServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.folder = folder
        self.kubeconfig = server.kubeconfig(folder)
        self.monkeypatch = monkeypatch
        self.kube = Kube.connect(str(self.kubeconfig))
        workflow = {"metadata": {"name": TASK}, "spec": {}, "status": {"startedAt": clock.stamp(clock.now())}}
        self.uid = server.put("workflows", workflow)["metadata"]["uid"]
        self.footing = Footing(self.kube, TASK, self.uid)
        self.outputs = folder / "outputs"
        monkeypatch.setattr(filter, "OUTPUTS", self.outputs)
        monkeypatch.setattr(drive, "_PASS_SECONDS", 0.01)
        monkeypatch.setattr(drive, "_IDLE_SECONDS", 0.05)
        monkeypatch.setattr(witness, "_WORD_SECONDS", 0.2)
        monkeypatch.setattr(finish, "_RETRY_SECONDS", 0.05)

    def workflow(self, patch: Json | None = None) -> Json:
        """The Workflow, changed first by a merge patch where one is given."""
        return self.server.change("workflows", TASK, patch) if patch else self.server.get("workflows", TASK)

    def annotations(self) -> Json:
        """The Workflow's annotations."""
        return dict(self.workflow()["metadata"].get("annotations") or {})

    def planned(
        self, *images: str, nodes: Sequence[str], window: int = 10, seconds: float = 3600, **fields: Any
    ) -> GroupPlan:
        """Store the plan of one group, as filter does; its deadline is so many seconds from now."""
        changes = {"deadline": clock.stamp(clock.now() + timedelta(seconds=seconds)), **fields}
        plan = samples.group_plan(*images, nodes=nodes, window=window).model_copy(update=changes)
        labels = task_labels(TASK, self.uid, "plan", plan.group)
        stored = config_map(
            group_name(TASK, self.uid, plan.group),
            labels=labels,
            owner_reference=workflow_owner(TASK, self.uid),
            binary=plan.encode(),
        )
        self.server.put("configmaps", stored)
        return plan

    def recorded(self, name: str, chunk: Chunk) -> None:
        """Store results, as a driver does."""
        self.server.put("configmaps", results_map(name, TASK, self.uid, chunk))

    def drive(self, attempt: int = 0, *, me: str = "driver-1", wave: str = "wave-1") -> int:
        """Run a driver here, and return its exit code."""
        self.monkeypatch.setenv("HOSTNAME", me)
        return drive.run(self.footing, (wave, str(attempt)))

    @contextlib.contextmanager
    def driver(self, me: str, attempt: int = 0) -> Iterator[subprocess.Popen[str]]:
        """A driver as a process of its own; killed at the end, if it is still there."""
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
        """How often drivers have looked at their Job so far."""
        return sum(call.startswith("GET") and "/jobs/" in call for call in self.server.calls)

    @contextlib.contextmanager
    def meanwhile(self, act: Callable[[], None]) -> Iterator[None]:
        """Do something beside the step; its failure fails the test."""
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
            thread.join(10)
            if failed:
                raise failed[0]

    def results(self) -> Mapping[str, NodeResult]:
        """What is recorded of each node; read past the API, so that it counts for no step."""
        stored = [item for key, item in self.server.store.objects.items() if key[0] == "configmaps"]
        results = task_labels(TASK, self.uid, "results")
        return fold(
            decode(item["binaryData"]) for item in stored if item["metadata"].get("labels") == results
        )


def terminate() -> None:
    """SIGTERM to this process, delivered to the thread that runs the step."""
    main = threading.main_thread().ident
    assert main
    signal.pthread_kill(main, signal.SIGTERM)
