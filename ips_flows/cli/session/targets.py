"""Where tasks go: a namespace of a cluster that is connected to. Of several, each is told apart by its context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ips_flows.cli.options.common import Target
from ips_flows.core.errors import UsageError
from ips_flows.core.escape import escape

if TYPE_CHECKING:
    from ips_flows.kube.client import Kube


@dataclass(frozen=True, slots=True)
class ConnectedTarget:
    """A namespace of a cluster, and the target that led there. `context` tells it apart; empty where it is the only one."""

    kube: Kube
    target: Target
    namespace: str
    context: str = ""

    @property
    def mark(self) -> str:
        """The beginning of lines about this target."""
        return f"[{escape(self.context)}] " if self.context else ""

    @property
    def flags(self) -> str:
        """The flags that lead another command here."""
        return self.target.flags(self.namespace)


def connected_target(target: Target) -> ConnectedTarget:
    """The only target of a command, connected. Raises as Target.connect does."""
    kube, namespace = target.connect()
    return ConnectedTarget(kube, target, namespace)


def connected_targets(targets: Sequence[Target]) -> list[ConnectedTarget]:
    """All targets of a command, connected, in the order given; several targets have a context each.

    Raises as Target.connect does, and UsageError where two of them are one: the task would be one too.
    """
    if len(targets) == 1:
        return [connected_target(targets[0])]
    connected: dict[tuple[str, str], ConnectedTarget] = {}
    for target in targets:
        kube, namespace = target.connect()
        here = ConnectedTarget(kube, target, namespace, context=target.context or "")
        other = connected.setdefault((kube.host.rstrip("/"), namespace), here)
        if other is not here:
            raise UsageError(
                f"contexts {other.context} and {here.context} lead to the same place, namespace {namespace} of"
                f" {kube.host}: a task there would be one, not two",
                hint="Leave one of them out.",
            )
    return list(connected.values())
