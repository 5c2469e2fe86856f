"""Every metric has a name of its own and is counted somewhere."""

from __future__ import annotations

import re

from ips_flows.core.metrics import families
from ips_flows.core.metrics.families import FAMILIES, MetricFamily
from tests.support.paths import ROOT

SOURCES = ("ips_flows/core/metrics/counter.py", "ips_flows/server/metrics.py")


def test_every_metric_is_exposed_once() -> None:
    """Two metrics can't have one name."""
    assert len({one.name for one in FAMILIES}) == len(FAMILIES)


def test_every_metric_is_counted() -> None:
    """One that no code records would stay 0 for ever."""
    text = "".join((ROOT / source).read_text(encoding="utf-8") for source in SOURCES)
    counted = set(re.findall(r"\b\w+\.([A-Z_]+)\b", text))
    assert {name for name, one in vars(families).items() if isinstance(one, MetricFamily)} <= counted
