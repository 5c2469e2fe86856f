"""Metrics of the server, parsed from its exposition, and the alerts based on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.contracts.serving import Served, served
from tests.support.paths import DEPLOY

Json = dict[str, Any]

_COMPONENTS = DEPLOY / "components"


def metrics() -> Json:
    """Return the document: content types, each metric with its labels and their values, and the alerts."""
    one = served()
    plain, text = one.metrics.exposition("")
    openmetrics, _ = one.metrics.exposition("application/openmetrics-text; version=1.0.0")
    families = text_string_to_metric_families(text.decode())
    return {
        "contentTypes": {"plain": plain, "openMetrics": openmetrics},
        "metrics": {_name(family): _metric(family) for family in families},
        "routes": _routes(one),
        "alerts": _alerts(),
    }


def _name(family: Metric) -> str:
    """Return the name of the series, for a histogram their common prefix."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def _metric(family: Metric) -> Json:
    labels: dict[str, list[str]] = {}
    for sample in family.samples:
        for name, value in sample.labels.items():
            labels.setdefault(name, [])
            if value not in labels[name]:
                labels[name].append(value)
    buckets = labels.pop("le", [])
    document: Json = {
        "type": family.type,
        "help": "<text>" if family.documentation else "",
        "series": sorted({sample.name for sample in family.samples}),
        "labels": {name: sorted(values) for name, values in sorted(labels.items())},
    }
    return {**document, "buckets": buckets} if buckets else document


def _routes(one: Served) -> list[str]:
    """Return the responses whose counters exist from the start."""
    return sorted(f"{method} {route} {code}" for method, route, code in one.counted)


def _alerts() -> Json:
    found: Json = {}
    for path in sorted(_COMPONENTS.glob("*/prometheusrule-*.yaml")):
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["groups"]
        for group in groups:
            for rule in group["rules"]:
                found[rule["alert"]] = {
                    "group": group["name"],
                    "for": rule.get("for", "0s"),
                    "labels": rule["labels"],
                    "annotations": _keys(rule["annotations"]),
                }
    return found


def _keys(names: Iterable[str]) -> list[str]:
    return sorted(names)
