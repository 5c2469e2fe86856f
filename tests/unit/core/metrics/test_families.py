"""Every metric has a unique name and is recorded by code."""

from __future__ import annotations

import re

from ips_flows.core.metrics import families
from ips_flows.core.metrics.families import FAMILIES, MetricFamily
from tests.support.paths import ROOT

SOURCES = ("ips_flows/core/metrics/counter.py", "ips_flows/server/metrics.py")


def test_every_metric_is_exposed_once() -> None:
    """No two metrics have the same name."""
    assert len({one.name for one in FAMILIES}) == len(FAMILIES)


def test_every_metric_is_counted() -> None:
    """A metric that no code records would always be 0."""
    text = "".join((ROOT / source).read_text(encoding="utf-8") for source in SOURCES)
    counted = set(re.findall(r"\b\w+\.([A-Z_]+)\b", text))
    assert {name for name, one in vars(families).items() if isinstance(one, MetricFamily)} <= counted
