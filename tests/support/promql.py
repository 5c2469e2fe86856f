"""Check of the metrics and labels in a PromQL query against those that the server exposes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ips_flows.core.metrics.families import FAMILIES

# Labels and metrics that Prometheus itself adds, and process metrics that the client library exposes.
_TARGET = {"namespace", "pod", "job", "instance"}
_FOREIGN = {"up": _TARGET, "process_resident_memory_bytes": _TARGET, "process_cpu_seconds_total": _TARGET}
_WORDS = {
    "by",
    "on",
    "and",
    "or",
    "unless",
    "sum",
    "max",
    "min",
    "rate",
    "increase",
    "histogram_quantile",
    "absent",
}
_SELECTOR = re.compile(r'([a-zA-Z_:][\w:]*)\s*\{((?:[^{}"]|"[^"]*")*)\}')
_MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
_VARIABLE = re.compile(r"label_values\((.*),\s*(\w+)\)")  # Grafana's query for the values of a variable
_NAME = re.compile(r"(?<![\w$])[a-zA-Z_:][\w:]*")


def exposed() -> dict[str, Mapping[str, tuple[str, ...]]]:
    """Return sample name → label → its values, empty where they are not known in advance."""
    found: dict[str, Mapping[str, tuple[str, ...]]] = {
        name: dict.fromkeys(labels, ()) for name, labels in _FOREIGN.items()
    }
    for family in FAMILIES:
        labels = {**dict.fromkeys(_TARGET, ()), **family.labels}
        if family.kind == "histogram":
            found[f"{family.name}_bucket"] = {**labels, "le": ()}
            found[f"{family.name}_sum"] = found[f"{family.name}_count"] = labels
        else:
            found[family.name] = labels
    return found


def complaints(query: str) -> list[str]:
    """Return the problems of a query: metrics, labels and label values that the server does not expose."""
    known = exposed()
    query = _VARIABLE.sub(r"max by (\2) (\1)", query)
    found = []
    for name, matchers in _SELECTOR.findall(query):
        for label, how, text in _MATCHER.findall(matchers):
            values = known.get(name, {}).get(label)
            if values is None:
                found.append(f"{name} has no label {label}")
            elif values and "$" not in text:
                asked = text.split("|") if "~" in how else [text]
                found += [f"{label} of {name} is never {one}" for one in asked if one not in values]
    bare = _SELECTOR.sub(r"\1", query)
    grouped = {one.strip() for group in _GROUPING.findall(bare) for one in group.split(",")}
    metrics = set(_NAME.findall(re.sub(r"\[[^]]*\]", "", _GROUPING.sub("", bare)))) - _WORDS
    found += [f"no metric {name} is exposed" for name in sorted(metrics - known.keys())]
    labels = set.intersection(*(set(known.get(name, {})) for name in metrics)) if metrics else set()
    found += [f"{label} is no label of {', '.join(sorted(metrics))}" for label in sorted(grouped - labels)]
    return found if metrics else [*found, "no metric at all"]
