"""Quantities of Kubernetes."""

from __future__ import annotations

import pytest

from ips_flows.core.k8s.quantity import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("95551679124", 95551679124),
        ("50Gi", 50 << 30),
        ("1.5G", 1_500_000_000),
        ("1e3", 1000),
        ("5k", 5000),
        ("2500m", 2),
        (".5Ki", 512),
        ("", None),
        ("many", None),
        ("5 Gi", None),
    ],
)
def test_quantities(text: str, number: int | None) -> None:
    """Quantities of Kubernetes are converted to whole numbers; other texts give None."""
    assert quantity(text) == number
