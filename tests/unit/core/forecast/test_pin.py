"""Tags replaced by digests."""

from __future__ import annotations

from ips_flows.core.forecast.pin import pin, unpinned
from ips_flows.core.request.model import parse_request


def test_pins() -> None:
    """Every unpinned image gets its digest, and keeps its tag and policy; duplicates are removed."""
    one, two = (f"sha256:{digit * 64}" for digit in "12")
    text = f'["app:1", {{"image": "app", "pullPolicy": "Always"}}, "tool@{two}", "other:2"]'
    request = parse_request(text)
    assert unpinned(request) == ["app:1", "app", "other:2"]
    pinned = pin(request, {"app:1": one, "app": one, "other:2": two})
    assert [spec.image for spec in pinned.request.images] == [f"app:1@{one}", f"tool@{two}", f"other:2@{two}"]
    assert pinned.tags == {"app:1": f"app:1@{one}", "app": f"app@{one}", "other:2": f"other:2@{two}"}
    assert pinned.doubled == ["app"]
