"""One attempt of a group: its plan, its nodes by completion index, and the names of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from ips_flows.core import clock
from ips_flows.core.constants import LABEL_WORKFLOW_UID, attempt_name, group_name
from ips_flows.core.errors import NotFoundError
from ips_flows.core.k8s.objects import Json, owner_reference
from ips_flows.core.plan.plan import GroupPlan, PlannedNode
from ips_flows.core.pods.pull_job import config_map, index_data, read_index, task_labels
from ips_flows.kube.client import core
from steps.context import ReplacePodError, StepContext


@dataclass(frozen=True, slots=True)
class Attempt:
    """Attempt `number` (0, 1, …) of a group. `nodes` are in the order of their completion indexes.

    `owner` is the owner reference of all objects of the attempt.
    """

    context: StepContext
    plan: GroupPlan
    number: int
    name: str
    owner: Json
    nodes: Sequence[PlannedNode]

    @classmethod
    def read_or_create(cls, context: StepContext, wave: str, number: int) -> Self:
        """Read the plan of `wave` and the index of the attempt; create the index if it is missing.

        Raises ReplacePodError if either belongs to another task, NotFoundError if the plan is missing.
        """
        group = int(wave.removeprefix("wave-")) - 1
        plan_map = _config_map_of_task(context, group_name(context.task, context.uid, group))
        plan = GroupPlan.decode(plan_map["binaryData"])
        name = attempt_name(context.task, context.uid, group, number)
        owned_by = owner_reference(
            "v1", "ConfigMap", plan_map["metadata"]["name"], plan_map["metadata"]["uid"]
        )
        try:
            index = _config_map_of_task(context, name)
        except NotFoundError:
            index = context.kube.create(
                core(context.namespace, "configmaps"),
                config_map(
                    name,
                    labels=task_labels(context.task, context.uid, "index", group, number),
                    owner=owned_by,
                    binary=index_data(_remaining_nodes(context, plan, number)),
                ),
            )
        planned = {node.name: node for node in plan.nodes}
        return cls(context, plan, number, name, owned_by, [planned[node] for node in read_index(index)])

    @property
    def earlier(self) -> list[Self]:
        """The attempts of the group before this one: names and labels only, without nodes."""
        context, group = self.context, self.plan.group
        return [
            replace(
                self, number=number, name=attempt_name(context.task, context.uid, group, number), nodes=()
            )
            for number in range(self.number)
        ]

    @property
    def pod_selector(self) -> str:
        """The selector of the attempt's pods."""
        return f"batch.kubernetes.io/job-name={self.name},{LABEL_WORKFLOW_UID}={self.context.uid}"

    @property
    def job_labels(self) -> Json:
        """The labels of the attempt's Job and its pods."""
        return task_labels(self.context.task, self.context.uid, "pull", self.plan.group, self.number)

    def path(self, kind: str, name: str = "") -> str:
        """Return the API path of a core object of the task, or of the collection if `name` is empty."""
        return core(self.context.namespace, kind, name)

    def seconds_left(self) -> float:
        """Return the seconds until the task's deadline; negative after it."""
        return (clock.parse(self.plan.deadline) - clock.now()).total_seconds()


def _config_map_of_task(context: StepContext, name: str) -> Json:
    """Return a ConfigMap of this task. Its name holds only the first digits of the task's uid, so check the label."""
    found = context.kube.get(core(context.namespace, "configmaps", name))
    if found["metadata"]["labels"].get(LABEL_WORKFLOW_UID) != context.uid:
        raise ReplacePodError(f"ConfigMap {name} belongs to another task")
    return found


def _remaining_nodes(context: StepContext, plan: GroupPlan, number: int) -> list[str]:
    """Return the nodes of a group that lack images after the earlier attempts."""
    done = {
        name
        for chunk in context.stored_chunks()
        if chunk.group == plan.group and chunk.attempt < number
        for name, node in chunk.nodes.items()
        if node.ok
    }
    return [node.name for node in plan.nodes if node.name not in done]
