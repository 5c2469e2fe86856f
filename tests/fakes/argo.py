"""Changes that Argo and the steps of IPS Flow make to a task, applied to the fake API server one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_ERROR,
    ANNOTATION_PLAN,
    ANNOTATION_PROGRESS,
    ANNOTATION_VERDICT,
    LABEL_KIND,
    LABEL_STEP,
    LABEL_VERDICT,
    LABEL_WORKFLOW_UID,
)
from ips_flows.core.results import stored_results
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import FailureLine, GroupProgress, PlanSummary, Verdict, WaveSummary
from ips_flows.core.results.results import Chunk, ImageResult, NodeResult
from ips_flows.core.results.verdict import decide_verdict
from tests.fakes.apiserver import ApiServer

Json = dict[str, Any]
AT = "2026-01-31T12:00:00Z"


def on_submit(server: ApiServer, play: Callable[[Argo], None]) -> None:
    """Play a scene for the next Workflow that is created."""
    played = threading.Event()

    def changed(kind: str, item: Json) -> None:
        if kind == "workflows" and not played.is_set():
            played.set()
            threading.Thread(target=play, args=(Argo(server, item["metadata"]["name"]),), daemon=True).start()

    server.on_change = changed


def completes(argo: Argo) -> None:
    """Scene: one node pulls its image."""
    _plays(argo, pulled())


def fails(argo: Argo) -> None:
    """Scene: the image of the one node is not found."""
    _plays(argo, failed())


def _plays(argo: Argo, node: NodeResult) -> None:
    argo.phase("Running")
    argo.planned(waves={"wave-1": 1})
    argo.ends({"n1": node})


class Argo:
    """The changes of one task, from its creation until it ends."""

    def __init__(self, server: ApiServer, name: str, namespace: str = "warm", *, started: str = AT) -> None:
        self.server, self.name, self.namespace, self.started = server, name, namespace, started
        self.workflow = server.get("workflows", name, namespace)
        self.uid = self.workflow["metadata"]["uid"]
        self.plan: PlanSummary | None = None

    def phase(self, phase: str, message: str = "") -> None:
        """Set Argo's phase in the status and on the label."""
        status: Json = {"phase": phase, "startedAt": self.started}
        if message:
            status["message"] = message
        if phase in ("Succeeded", "Failed", "Error"):
            status["finishedAt"] = clock.stamp(clock.now())
        self._change({"metadata": {"labels": {"workflows.argoproj.io/phase": phase}}, "status": status})

    def planned(
        self,
        *,
        waves: Mapping[str, int],
        images: tuple[str, ...] = ("busybox:1",),
        warm: int = 0,
        skipped: Mapping[str, int] | None = None,
        window: int = 10,
        losses_allowed: int = 0,
    ) -> PlanSummary:
        """Write the plan as filter does."""
        to_do = sum(waves.values())
        self.plan = PlanSummary(
            mode="volume",
            mode_reason="",
            window=window,
            eligible=warm + to_do,
            warm=warm,
            to_do=to_do,
            skipped=dict(skipped or {}),
            waves=tuple(WaveSummary(name=name, nodes=nodes) for name, nodes in waves.items()),
            images=images,
            priority=5,
            losses_allowed=losses_allowed,
            deadline=clock.stamp(clock.now()),
            planned_at=clock.stamp(clock.now()),
        )
        self._annotate(ANNOTATION_PLAN, self.plan.to_json())
        return self.plan

    def no_plan(self, error: str) -> None:
        """Write the error that filter records when it cannot plan."""
        self._annotate(ANNOTATION_ERROR, error)

    def progress(
        self,
        group: int = 0,
        attempt: int = 0,
        *,
        done: int = 0,
        pulling: int = 0,
        failed: int = 0,
        failures: tuple[FailureLine, ...] = (),
    ) -> None:
        """Write progress on a Job as drive does."""
        assert self.plan
        wave = self.plan.waves[group]
        said = GroupProgress(
            group=group,
            attempt=attempt,
            wave=wave.name,
            total=wave.nodes,
            done=done,
            pulling=pulling,
            failed=failed,
            failures=failures,
        )
        self.server.put(
            "jobs",
            {
                "metadata": {
                    "name": f"{self.name}-g{group}-a{attempt}",
                    "labels": {LABEL_KIND: "pull", LABEL_WORKFLOW_UID: self.uid},
                    "annotations": {ANNOTATION_PROGRESS: said.to_json()},
                }
            },
            self.namespace,
        )

    def results(self, nodes: Mapping[str, NodeResult], group: int = 0) -> None:
        """Store results as drive does."""
        self.server.put(
            "configmaps",
            {
                "metadata": {
                    "name": f"{self.name}-results-{group}",
                    "labels": {LABEL_KIND: "results", LABEL_WORKFLOW_UID: self.uid},
                },
                "binaryData": stored_results.encode(Chunk(group, 0, nodes)),
            },
            self.namespace,
        )

    def verdict(
        self,
        nodes: Mapping[str, NodeResult],
        *,
        stopped: bool = False,
        error: str = "",
        seconds: float = 12.0,
    ) -> Verdict:
        """Write the verdict and delete the Jobs, as finish does."""
        said = decide_verdict(
            self.plan,
            nodes,
            stopped=stopped,
            error=error,
            uid=self.uid,
            started_at=AT,
            at=clock.stamp(clock.now()),
            seconds=seconds,
        )
        self._change(
            {
                "metadata": {
                    "labels": {LABEL_VERDICT: said.status},
                    "annotations": {ANNOTATION_VERDICT: said.to_json()},
                }
            }
        )
        for kind, namespace, name in list(self.server.store.objects):
            if kind == "jobs" and name.startswith(f"{self.name}-g"):
                self.server.remove(kind, name, namespace)
        return said

    def ends(self, nodes: Mapping[str, NodeResult]) -> None:
        """End the task: store all results, write the verdict, set Argo's final phase."""
        self.results(nodes)
        self.verdict(nodes)
        self.phase("Succeeded" if all(node.ok for node in nodes.values()) else "Failed")

    def pod(self, step: str, state: str = "terminated", *, lines: tuple[str, ...] = ()) -> None:
        """Create a step pod with a log."""
        name = f"{self.name}-{step}-1234567"
        self.server.logs[name] = list(lines)
        self.server.put(
            "pods",
            {
                "metadata": {
                    "name": name,
                    "labels": {"workflows.argoproj.io/workflow": self.name, LABEL_STEP: step},
                },
                "status": {"containerStatuses": [{"name": "main", "state": {state: {}}}]},
            },
            self.namespace,
        )

    def wait_for(self, holds: Callable[[Json], bool], seconds: float = 60.0) -> None:
        """Wait until the Workflow meets a condition."""
        store = self.server.store
        with store.changed:
            assert store.changed.wait_for(
                lambda: holds(store.objects["workflows", self.namespace, self.name]), timeout=seconds
            )

    def _annotate(self, key: str, value: str) -> None:
        self._change({"metadata": {"annotations": {key: value}}})

    def _change(self, patch: Json) -> None:
        self.server.change("workflows", self.name, patch, self.namespace)


def pulled(seconds: float = 1.5, size: int = 4_000_000) -> NodeResult:
    """Return the result of a node that pulled its one image."""
    return NodeResult(
        (ImageResult(Result.PULLED, seconds=seconds, bytes=size, digest="sha256:" + "a" * 64),), AT
    )


def failed(reason: str = "NotFound", message: str = "manifest unknown") -> NodeResult:
    """Return the result of a node whose one image failed."""
    return NodeResult((ImageResult(Result.FAILED, reason=reason, message=message, tries=2),), AT)
