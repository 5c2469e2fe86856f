"""Connected targets of tasks: a namespace of a cluster. Several targets are identified by their contexts."""

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
    """A connection to a namespace of a cluster, and its target. `context` is empty if it is the only target."""

    kube: Kube
    target: Target
    namespace: str
    context: str = ""

    @property
    def mark(self) -> str:
        """The prefix of lines about this target."""
        return f"[{escape(self.context)}] " if self.context else ""

    @property
    def flags(self) -> str:
        """The flags that give another command this target."""
        return self.target.flags(self.namespace)


def connected_target(target: Target) -> ConnectedTarget:
    """Connect to the only target of a command. Raises as Target.connect does."""
    kube, namespace = target.connect()
    return ConnectedTarget(kube, target, namespace)


def connected_targets(targets: Sequence[Target]) -> list[ConnectedTarget]:
    """Connect to all targets of a command, in the given order. Several targets have one context each.

    Raises as Target.connect does, and UsageError if two contexts are the same namespace of the same cluster.
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
                f"contexts {other.context} and {here.context} are both namespace {namespace} of {kube.host};"
                " expected different namespaces or clusters",
                hint="Leave out one of them.",
            )
    return list(connected.values())
