from __future__ import annotations

from typing import Any

import pytest

from ips_flows.core.request.text_values import parse_text_value
from ips_flows.core.request.types import FieldError


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("batchSize", " 20 ", 20),
        ("batchSize", "20%", "20%"),
        ("batchSize", "9" * 30, "9" * 30),
        ("priority", "-1", -1),
        ("name", "20", "20"),
        ("includeCordoned", "True", True),
        ("includeCordoned", "yes", "yes"),
        ("images", "a\n#b\n\n c # d", ["a", "c"]),
        ("images", ("a", {"image": "b"}), ["a", {"image": "b"}]),
        ("images", 3, 3),
        ("nodes", "a, b\nc,", ["a", "b", "c"]),
        ("nodes", ["a,b", 3], ["a", "b", 3]),
        ("waves", "1, 10%", [1, "10%"]),
        ("waves", (1, "5"), [1, 5]),
        ("nodeSelector", "a=b,c=", {"a": "b", "c": ""}),
        ("nodeSelector", {"a": 1}, {"a": 1}),
        (
            "tolerations",
            "a=b:NoSchedule",
            [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}],
        ),
        ("tolerations", [{"key": "a"}], [{"key": "a"}]),
    ],
)
def test_reads(field: str, value: Any, expected: Any) -> None:
    """A text becomes the value that YAML would have. An invalid value is unchanged, so that the model rejects it."""
    assert parse_text_value(field, value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a", 'got "a"; allowed: key=value, or several separated by commas'),
        ("a=b,a=c", 'duplicate key "a"'),
    ],
)
def test_refuses(value: str, message: str) -> None:
    """A pair needs an equals sign, and each key is allowed once."""
    with pytest.raises(FieldError) as caught:
        parse_text_value("labels", value)
    assert str(caught.value) == message
