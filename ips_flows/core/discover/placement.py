"""Convert the scheduling constraints of a pod's spec to the node selection fields of a request.

Only hard constraints count: node selector, required node affinity, node name, tolerations. Preferences, topology
spread and affinity to other pods depend on running pods, so they do not restrict the nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ips_flows.core.k8s.names import is_dns_name, is_label_key, is_label_value
from ips_flows.core.request.types import shown

_OS = "kubernetes.io/os"
_NODE_NAME = "metadata.name"
_STRICT_EFFECTS = ("NoSchedule", "NoExecute")
# Temporary states of a node. A request checks the first two by the Ready condition and the third by
# `includeCordoned`; a node under pressure gets no images.
_STATES = frozenset(
    f"node.kubernetes.io/{state}"
    for state in (
        "not-ready",
        "unreachable",
        "unschedulable",
        "memory-pressure",
        "disk-pressure",
        "pid-pressure",
        "network-unavailable",
    )
)


class Tolerated(NamedTuple):
    """A toleration. Key "" with operator Exists matches any key, effect "" any effect."""

    key: str
    operator: str
    value: str
    effect: str

    def __str__(self) -> str:
        """Return `key=value:Effect`, as kubectl writes taints; `*` is any key."""
        value = f"={self.value}" if self.operator == "Equal" else ""
        return (self.key or "*") + value + (f":{self.effect}" if self.effect else "")

    def covers(self, other: Tolerated) -> bool:
        """Return whether this toleration tolerates all taints that the other one tolerates."""
        if self.effect not in ("", other.effect):
            return False
        if not self.key:
            return True
        same_key = self.key == other.key
        return same_key and (self.operator == "Exists" or (self.operator, self.value) == other[1:3])


@dataclass(frozen=True, slots=True)
class Placement:
    """A set of nodes: those that meet all of these conditions.

    `requirements` are parts of a label selector. `nodes` is None for any name, `tolerations` is None for all taints.
    """

    labels: frozenset[tuple[str, str]] = frozenset()
    requirements: frozenset[str] = frozenset()
    nodes: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    tolerations: frozenset[Tolerated] | None = frozenset()

    def covers(self, other: Placement) -> bool:
        """Return whether every node of the other placement is in this one too, for any labels of nodes."""
        return (
            self.labels <= other.labels
            and self.requirements <= other.requirements
            and (self.nodes is None or (other.nodes is not None and other.nodes <= self.nodes))
            and self.excluded <= other.excluded
            and _tolerates_all_of(self.tolerations, other.tolerations)
        )

    def fields(self) -> dict[str, Any]:
        """Return the fields of a request for these nodes."""
        labels: dict[str, str] = {}
        parts = set(self.requirements)
        for key, value in sorted(self.labels):
            if key in labels:  # two values of one label: only a selector can express it
                parts.add(f"{key}={value}")
            else:
                labels[key] = value
        found: dict[str, Any] = {
            "nodeSelector": labels,
            "selector": ",".join(sorted(parts)),
            "nodes": sorted(self.nodes or ()),
            "excludeNodes": sorted(self.excluded),
        }
        found = {name: value for name, value in found.items() if value}
        if self.tolerations is not None:
            found["tolerations"] = [_written(one) for one in sorted(self.tolerations)]
        return found

    def __str__(self) -> str:
        """Return a short text such as `disk=ssd,zone in (a,b)` or `any (tolerates all)`."""
        parts = [f"{key}={value}" for key, value in sorted(self.labels)] + sorted(self.requirements)
        if self.nodes is not None:
            parts.append("name in (" + ",".join(sorted(self.nodes)) + ")")
        if self.excluded:
            parts.append("name notin (" + ",".join(sorted(self.excluded)) + ")")
        taints = ",".join(map(str, sorted(self.tolerations or ()))) if self.tolerations is not None else "all"
        return (",".join(parts) or "any") + (f" (tolerates {taints})" if taints else "")


def joined(placements: Iterable[Placement]) -> Placement:
    """Return the smallest set of nodes that a request can express and that covers all placements (at least one)."""
    first, *rest = placements
    for other in rest:
        nodes = None if first.nodes is None or other.nodes is None else first.nodes | other.nodes
        both = None
        if first.tolerations is not None and other.tolerations is not None:
            both = first.tolerations | other.tolerations
        first = Placement(
            labels=first.labels & other.labels,
            requirements=first.requirements & other.requirements,
            nodes=nodes,
            excluded=first.excluded & other.excluded,
            tolerations=_essential(both),
        )
    return first


def placements_of(spec: Mapping[str, Any]) -> tuple[tuple[Placement, ...], list[str]]:
    """Return the alternative placements of a spec's pods, and notes on invalid or inexpressible conditions.

    The terms of a node affinity are alternatives, so there may be several placements, or none if no Linux node matches.
    A condition that a request can't express is ignored, so there may be too many nodes. A toleration that it can't
    express is ignored too, so there may be too few.
    """
    notes: list[str] = []
    base = _Nodes(notes, Placement())
    if _get(spec, "os", "name") == "windows":
        base.rule_out("its pods run on Windows, and only Linux nodes are warmed")
    selector = spec.get("nodeSelector")
    for key, value in selector.items() if isinstance(selector, Mapping) else ():
        base.require("node selector", key, "In", [value])
    if name := spec.get("nodeName"):
        base.name("node name", "In", [name])
    alternatives = _alternatives(spec, base)
    tolerations = _tolerations(spec.get("tolerations"), notes, unscheduled=bool(spec.get("nodeName")))
    found = [
        replace(one.placement, tolerations=tolerations) for one in alternatives if one.placement is not None
    ]
    return tuple(dict.fromkeys(found)), list(dict.fromkeys(notes))


class _Nodes:
    """A placement that each condition restricts further. `placement` is None if no node matches."""

    def __init__(self, notes: list[str], placement: Placement | None) -> None:
        self._remarks = notes
        self.placement = placement

    def copy(self) -> _Nodes:
        """Return a copy that other conditions can restrict."""
        return _Nodes(self._remarks, self.placement)

    def rule_out(self, why: str) -> None:
        """Record that no node matches, with the reason."""
        self._remarks.append(why)
        self.placement = None

    def require(self, where: str, key: Any, operator: Any, values: Any) -> None:
        """Restrict the nodes by a condition on labels."""
        listed = values if isinstance(values, list) else []
        wants_values = operator in ("In", "NotIn")
        if not isinstance(key, str) or not is_label_key(key):
            self.unfit(f"{where}: got {shown(key)}, which is not a label key")
            return
        if operator in ("Gt", "Lt"):
            self.unfit(
                f"{where}: {key} {operator} {shown(listed[0] if listed else None)}: a request can't express it"
            )
            return
        if not wants_values and operator not in ("Exists", "DoesNotExist"):
            self.unfit(f"{where}: {key}: unknown operator {shown(operator)}")
            return
        if wants_values and not listed:
            self.unfit(f"{where}: {key} {operator}: got no values")
            return
        for value in listed:
            if not isinstance(value, str) or not is_label_value(value):
                self.unfit(f"{where}: {key}: got {shown(value)}, which is not a label value")
                return
        if key == _OS and wants_values:
            if ("linux" in listed) != (operator == "In"):
                self.rule_out(f"{where}: {key} {operator} {', '.join(listed)}: only Linux nodes are warmed")
            return  # every eligible node runs Linux
        self._narrow(key, operator, tuple(sorted(set(listed))))

    def name(self, where: str, operator: Any, values: Any) -> None:
        """Restrict the nodes by a condition on the node's name."""
        listed = values if isinstance(values, list) else []
        wrong = [one for one in listed if not isinstance(one, str) or not is_dns_name(one)]
        if operator not in ("In", "NotIn") or not listed or wrong:
            got = shown(wrong[0] if wrong else operator)
            self.unfit(f"{where}: got {got} for the node name")
        elif self.placement is not None and operator == "NotIn":
            self.placement = replace(self.placement, excluded=self.placement.excluded | set(listed))
        elif self.placement is not None:
            before = self.placement.nodes
            nodes = frozenset(listed) if before is None else before & set(listed)
            self.placement = replace(self.placement, nodes=nodes)
            if not nodes:
                self.rule_out(f"{where}: no node matches, since a node can't have two names")

    def _narrow(self, key: str, operator: str, values: tuple[str, ...]) -> None:
        if self.placement is None:
            return
        if operator == "In" and len(values) == 1:
            self.placement = replace(self.placement, labels=self.placement.labels | {(key, values[0])})
            return
        text = {
            "In": f"{key} in ({','.join(values)})",
            "NotIn": f"{key}!={values[0] if values else ''}"
            if len(values) < 2
            else f"{key} notin ({','.join(values)})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }[operator]
        self.placement = replace(self.placement, requirements=self.placement.requirements | {text})

    def unfit(self, what: str) -> None:
        """Add a note on a condition that is ignored."""
        self._remarks.append(f"{what}; the condition is ignored")


def _alternatives(spec: Mapping[str, Any], base: _Nodes) -> list[_Nodes]:
    required = _get(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    if not isinstance(required, Mapping):
        return [base]
    terms = required.get("nodeSelectorTerms")
    found = []
    for term in terms if isinstance(terms, list) else ():
        expressions, names = (_mappings(_get(term, part)) for part in ("matchExpressions", "matchFields"))
        if not expressions and not names:
            continue  # such a term matches no node
        one = base.copy()
        for entry in expressions:
            one.require("node affinity", entry.get("key"), entry.get("operator"), entry.get("values"))
        for entry in names:
            if entry.get("key") == _NODE_NAME:
                one.name("node affinity", entry.get("operator"), entry.get("values"))
            else:
                one.unfit(f"node affinity: unknown field {shown(entry.get('key'))}")
        found.append(one)
    if not found:
        base.rule_out("its node affinity has no term that a node can match")
    return found


def _tolerations(entries: Any, notes: list[str], *, unscheduled: bool) -> frozenset[Tolerated] | None:
    """Return the tolerations that affect scheduling; None is all taints.

    NoSchedule taints do not apply to an `unscheduled` pod, which names its node itself.
    """
    found = {Tolerated("", "Exists", "", "NoSchedule")} if unscheduled else set()
    for entry in _mappings(entries):
        key, operator = entry.get("key") or "", entry.get("operator") or "Equal"
        value, effect = entry.get("value") or "", entry.get("effect") or ""
        if effect == "PreferNoSchedule" or (isinstance(key, str) and key in _STATES):
            continue
        if (
            operator not in ("Exists", "Equal")
            or effect not in ("", *_STRICT_EFFECTS)
            or not isinstance(key, str)
            or not isinstance(value, str)
            or not (is_label_key(key) if key else operator == "Exists")
            or not is_label_value(value)
        ):
            notes.append(
                f"toleration {shown(key)} {shown(operator)} {shown(value)}: a request can't express it,"
                " so nodes with such a taint are excluded"
            )
            continue
        found.add(Tolerated(key, operator, "" if operator == "Exists" else value, effect))
    return _essential(frozenset(found))


def _essential(tolerations: frozenset[Tolerated] | None) -> frozenset[Tolerated] | None:
    """Remove tolerations that others cover. Return None if the tolerations cover all taints."""
    if tolerations is None or all(
        any(one.covers(Tolerated("", "Exists", "", effect)) for one in tolerations)
        for effect in _STRICT_EFFECTS
    ):
        return None
    return frozenset(
        one for one in tolerations if not any(other != one and other.covers(one) for other in tolerations)
    )


def _tolerates_all_of(mine: frozenset[Tolerated] | None, others: frozenset[Tolerated] | None) -> bool:
    if mine is None:
        return True
    return others is not None and all(any(one.covers(other) for one in mine) for other in others)


def _written(toleration: Tolerated) -> dict[str, str]:
    fields = toleration._asdict()
    return {name: text for name, text in fields.items() if text and (name, text) != ("operator", "Equal")}


def _get(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
