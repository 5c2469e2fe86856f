"""Progress of a task in nodes, waves and batches, from its plan, the progress of its groups and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ips_flows.core.results.records import GroupProgress, PlanSummary, Verdict


@dataclass(frozen=True, slots=True)
class WaveProgress:
    """The progress of a wave. Of its `nodes`, `done` have every image, and `failed` failed in the latest attempt."""

    name: str
    nodes: int
    done: int = 0
    pulling: int = 0
    failed: int = 0
    attempt: int = 0

    @property
    def waiting(self) -> int:
        """The number of nodes that have not been started."""
        return max(0, self.nodes - self.done - self.pulling - self.failed)


@dataclass(frozen=True, slots=True)
class Progress:
    """The counts of a task. `completed` includes warm nodes. `ended` counts the nodes to do that have ended."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    ended: int = 0
    to_do: int = 0
    window: int = 0

    @property
    def warm(self) -> int:
        """The number of nodes that had every image before the task."""
        return self.total - self.to_do

    @property
    def total_batches(self) -> int:
        """The number of batches (of the window's size) for all nodes to do."""
        return math.ceil(self.to_do / self.window) if self.window else 0

    @property
    def current_batch(self) -> int:
        """The number of the current batch, from 1; 0 if there are no nodes to do."""
        return min(self.total_batches, self.ended // self.window + 1) if self.window else 0

    @property
    def percentage(self) -> int:
        """The percentage of eligible nodes that are completed, rounded down, so that 100 means all nodes."""
        return self.completed * 100 // self.total if self.total else 0


def wave_progress(
    plan: PlanSummary | None, groups: Sequence[GroupProgress], verdict: Verdict | None = None
) -> tuple[WaveProgress, ...]:
    """Return the progress of each wave; empty if it is no longer known.

    Completed nodes of all attempts are added up, because a later attempt takes only the failed nodes. Waves run one
    after another, so a wave without Jobs is done if a later wave has Jobs. The Jobs are deleted after the verdict.
    """
    if plan is None:
        return ()
    if verdict:
        if verdict.summary and not verdict.summary.failed:
            return tuple(WaveProgress(wave.name, wave.nodes, done=wave.nodes) for wave in plan.waves)
        if not groups:
            return ()
    attempts: dict[int, list[GroupProgress]] = {}
    for group in sorted(groups, key=lambda one: one.attempt):
        attempts.setdefault(group.group, []).append(group)
    latest = max(attempts, default=-1)
    waves = []
    for index, wave in enumerate(plan.waves):
        tries = attempts.get(index)
        waves.append(
            WaveProgress(
                wave.name,
                wave.nodes,
                done=sum(one.done for one in tries),
                pulling=0 if verdict else tries[-1].pulling,
                failed=tries[-1].failed,
                attempt=tries[-1].attempt,
            )
            if tries
            else WaveProgress(wave.name, wave.nodes, done=wave.nodes if index < latest else 0)
        )
    return tuple(waves)


def count_progress(
    plan: PlanSummary | None, verdict: Verdict | None, waves: tuple[WaveProgress, ...], *, ended: bool
) -> Progress:
    """Count the nodes of a task: from the verdict or, before the verdict, from the plan and the waves.

    After the task's end, every eligible node that is not completed counts as failed, even if it was never started.
    """
    window = plan.window if plan else 0
    if verdict and verdict.summary:
        summary = verdict.summary
        to_do = summary.eligible - summary.warm
        return Progress(
            total=summary.eligible,
            completed=summary.completed,
            failed=summary.failed,
            ended=to_do - summary.not_reached,
            to_do=to_do,
            window=window,
        )
    if plan is None:
        return Progress()
    completed = plan.warm + sum(wave.done for wave in waves)
    failed = sum(wave.failed for wave in waves)
    return Progress(
        total=plan.eligible,
        completed=completed,
        failed=plan.eligible - completed if ended else failed,
        ended=completed - plan.warm + failed,
        to_do=plan.to_do,
        window=window,
    )
