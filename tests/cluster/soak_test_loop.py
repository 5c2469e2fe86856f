"""The soak test: rounds of random requests with a random fault and an audit, and a summary table at the end."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from ips_flows.core.constants import ANNOTATION_VERDICT, LABEL_WORKFLOW_UID
from ips_flows.core.errors import ApiError
from ips_flows.kube.client import core
from tests.cluster import faults
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import FREE_PORTS, Cluster
from tests.cluster.random_faults import MISHAPS
from tests.cluster.task_watch import TaskWatch
from tests.cluster.test_warming import tagged
from tests.fakes.faulty_registry import Fault, FaultyRegistry, faulty_registry
from tests.fakes.silent_server import Tarpit
from tests.fakes.webhook_receiver import Receiver, Reply, receiving

_GATEWAY = "10.201.0.1"
_MARKS_SECONDS = 300.0
_GONE_SECONDS = 60.0
_FORGOTTEN_SECONDS = 150.0
_FAULTY: tuple[Fault, ...] = ("429", "500", "truncated")


@dataclass
class Asked:
    """A request of the soak test. A `good` one fails only by a fault."""

    name: str
    fields: dict[str, Any]
    good: bool


@dataclass
class Tally:
    """Results of the rounds with one fault. Seconds run from the fault to a task's last mark."""

    rounds: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    faults: int = 0


@dataclass(frozen=True)
class Peers:
    """Servers used by nodes and tasks: a registry that never responds, one that injects faults, a webhook receiver."""

    tarpit: str
    registry: FaultyRegistry
    receiver: Receiver


class Soak:
    """A soak test: its cluster, its random generator, and its results so far."""

    def __init__(self, cluster: Cluster, seed: str, keep: Path, peers: Peers) -> None:
        self._cluster = cluster
        self._seed = seed
        self._keep = keep
        self._tarpit = peers.tarpit
        self._registry = peers.registry
        self._receiver = peers.receiver
        self._mishaps = self._deck()
        self.tallies: dict[str, Tally] = {}
        self.tasks = 0
        self.failures = 0

    def _deck(self) -> list[str]:
        """Return all faults in a random order. The rounds cycle through them."""
        names = list(MISHAPS)
        Random(self._seed).shuffle(names)
        return names

    def round(self, number: int) -> None:
        """Run one to three tasks, inject a fault, and audit each task."""
        dice = Random(f"{self._seed}-{number}")
        what = self._mishaps[number % len(self._mishaps)]
        asked = [self._draw(dice, f"soak-{number}-{letter}") for letter in "abc"[: dice.choice([1, 1, 2, 3])]]
        tally = self.tallies.setdefault(what, Tally())
        tally.rounds += 1
        self.tasks += len(asked)
        watches: dict[str, TaskWatch] = {}
        began = time.monotonic()
        with ExitStack() as stack:
            for one in asked:
                watches[one.name] = stack.enter_context(self._cluster.watch_pulls(one.name))
                self._cluster.submit(json.dumps({"name": one.name, **one.fields}))
            faults.outage(dice.uniform(0, 25))
            at = time.monotonic()
            victim = dice.choice(asked).name
            try:
                MISHAPS[what].happen(self._cluster, victim, dice)
            except (AssertionError, ApiError) as error:
                self._report(what, victim, error)
            for one in asked:
                deleted = what == "deleted" and one.name == victim
                try:
                    status = (
                        self._check_deleted(one) if deleted else self._check(one, watches[one.name], what)
                    )
                except (AssertionError, ApiError, subprocess.SubprocessError, KeyError, ValueError) as error:
                    status = "WRONG"
                    self._report(what, one.name, error)
                tally.statuses[status] += 1
                if one.name == victim:
                    tally.seconds.append(time.monotonic() - at)
        took = time.monotonic() - began
        names = ", ".join(f"{one.name}{'' if one.good else ' (bad)'}" for one in asked)
        print(f"{number:3} {what:24} {victim} of {names}: {dict(tally.statuses)}, {took:.0f} s", flush=True)
        self._await_whole()

    def _draw(self, dice: Random, stem: str) -> Asked:
        name = f"{stem}-{uuid.uuid4().hex[:5]}"
        images = [
            tagged(self._cluster.push(f"tests/{name}-{i}:1", size=dice.choice(["64KiB", "1MiB", "24MiB"])))
            for i in range(dice.randint(1, 3))
        ]
        good = True
        if dice.random() < 0.2:
            images.insert(dice.randrange(len(images) + 1), f"{self._cluster.registry}/tests/{name}-no:1")
            good = False
        if dice.random() < 0.15:
            images.insert(dice.randrange(len(images) + 1), f"{self._tarpit}/{name}:1")
            good = False
        if dice.random() < 0.2:
            self._registry.misbehave(dice.choice(_FAULTY), left=dice.randint(1, 3))
            images[0] = f"{self._registry.address}/{images[0].partition('/')[2]}"
        fields: dict[str, Any] = {
            "images": images,
            "batchSize": dice.choice([1, 2, 10, "50%"]),
            "priority": dice.randint(1, 10),
            "order": dice.choice(["rolling", "rolling", "batch"]),
            "maxRetries": dice.choice([0, 0, 1, 2]),
            "retryStrategy": dice.choice(["linear", "exponential"]),
            "retryDelay": dice.randint(1, 4),
            "maxFailedNodes": dice.choice([0, 0, 1, "50%"]),
            "pullPolicy": dice.choice(["IfNotPresent", "IfNotPresent", "Always"]),
            "nodeTimeout": "150s" if good else f"{dice.randint(15, 40)}s",
            "timeout": "8m" if good else f"{dice.randint(90, 150)}s",
        }
        if dice.random() < 0.3:
            fields["waves"] = [1, "100%"]
        if dice.random() < 0.5:
            fields["webhookUrl"] = f"http://{_GATEWAY}:{self._receiver.port}/{name}"
            self._receiver.will(*[Reply(503)] * dice.choice([0, 0, 1]))
        return Asked(name, fields, good)

    def _check(self, asked: Asked, watch: TaskWatch, what: str) -> str:
        waited = self._cluster.flow("wait", asked.name, seconds=600)
        await_marks(self._cluster, asked.name, _MARKS_SECONDS)
        size = asked.fields["batchSize"]
        window = 1 if isinstance(size, str) else size  # half of two nodes
        task = audit(self._cluster, asked.name, window=max(window, 2 * (what == "scaled")), watch=watch)
        status: str = task["status"]
        # A verdict written by the keeper comes later than the end of Argo's Workflow, so `wait` may fail.
        assert status == "completed" or waited.code != 0, f"wait exited with 0, but the task is {status}"
        if asked.good and MISHAPS[what].harmless:
            assert status == "completed", task["errorMessage"]
        if "webhookUrl" in asked.fields:
            verdict = json.loads(
                self._cluster.workflow(asked.name)["metadata"]["annotations"][ANNOTATION_VERDICT]
            )
            assert self._told(asked.name) == {(verdict["eventId"], f"task.{status}")}, self._told(asked.name)
        return status

    def _told(self, name: str) -> set[tuple[str, str]]:
        """Return id and event of each webhook that a task's receiver got."""
        received = list(self._receiver.received)
        return {(one.id, one.json()["event"]) for one in received if one.path == f"/{name}"}

    def _check_deleted(self, asked: Asked) -> str:
        name, owed = asked.name, int("webhookUrl" in asked.fields)
        self._cluster.await_no_pods(name, _GONE_SECONDS)
        # This comes first: until the keeper has seen the deletion there is no ConfigMap to wait for.
        self._cluster.await_that(
            lambda: len(self._told(name)) >= owed, _FORGOTTEN_SECONDS, lambda: "no webhook was sent"
        )
        self._cluster.await_nothing_left(name, _FORGOTTEN_SECONDS)

        def forgotten() -> bool:
            labels = f"ips-flow.io/kind=deleted,{LABEL_WORKFLOW_UID}"
            return not list(
                self._cluster.kube.list(
                    core(self._cluster.namespace, "configmaps"), labels=labels, metadata_only=True
                )
            )

        self._cluster.await_that(
            forgotten, _FORGOTTEN_SECONDS, lambda: "a ConfigMap of a deleted task is left"
        )
        assert len(self._told(name)) == owed, self._told(name)
        return "deleted"

    def _await_whole(self) -> None:
        """Repair the cluster and wait until it is complete, so that the next round has only its own fault."""
        self._registry.misbehave("none")
        faults.up()
        self._cluster.await_that(lambda: bool(faults.keeper_pods(self._cluster)), 120, lambda: "no keeper")

    def _report(self, what: str, name: str, error: BaseException) -> None:
        """Print a failure, and save data for its analysis."""
        self.failures += 1
        folder = self._keep / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        for words in (("get", name, "-o", "json"), ("logs", name)):
            (folder / f"{words[0]}.txt").write_text(self._cluster.flow(*words).out, encoding="utf-8")
        for kind in ("workflow", "job", "pod", "event"):
            got = subprocess.run(
                ["kubectl", "-n", self._cluster.namespace, "get", kind, "-o", "yaml"],
                env=self._cluster.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            (folder / f"{kind}.yaml").write_text(got.stdout, encoding="utf-8")
        said = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"    WRONG {name} under {what!r}: {said}; see {folder}", flush=True)

    def table(self) -> str:
        """Return a table with a line per fault."""
        lines = [f"{'fault':24} {'rounds':>6}  {'s median':>8} {'s most':>7}  ends"]
        for what, tally in sorted(self.tallies.items()):
            ends = ", ".join(f"{number} {status}" for status, number in sorted(tally.statuses.items()))
            middle = statistics.median(tally.seconds) if tally.seconds else 0.0
            most = max(tally.seconds, default=0.0)
            lines.append(f"{what:24} {tally.rounds:6}  {middle:8.1f} {most:7.1f}  {ends}")
        return "\n".join(lines)


def main() -> int:
    """Run the soak test; return 1 if a check failed."""
    parser = argparse.ArgumentParser(prog="tests/cluster/soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="start no round after this time (default: 60)"
    )
    parser.add_argument("--tasks", type=int, default=10_000, help="start no round after this many tasks")
    parser.add_argument("--seed", default=uuid.uuid4().hex[:8], help="the same seed gives the same rounds")
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path(tempfile.gettempdir()) / "ips-flow-soak",
        help="folder for data of failures",
    )
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    began = time.monotonic()
    cluster = Cluster()
    with (
        Tarpit(_GATEWAY, FREE_PORTS) as tarpit,
        faulty_registry(_GATEWAY, FREE_PORTS, cluster.registry) as registry,
        receiving(_GATEWAY) as receiver,
    ):
        soak = Soak(cluster, options.seed, options.keep, Peers(tarpit, registry, receiver))
        for number in count(options.first):
            if time.monotonic() - began >= options.minutes * 60 or soak.tasks >= options.tasks:
                break
            soak.round(number)
    took = (time.monotonic() - began) / 60
    rounds = sum(tally.rounds for tally in soak.tallies.values())
    print(
        f"\n{soak.table()}\n\nseed {options.seed}: {rounds} rounds, {soak.tasks} tasks in {took:.1f} minutes, ",
        end="",
    )
    print(f"{soak.failures} failures" if soak.failures else "no failures")
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
