"""How a receiver tells that a message is ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from ips_flows.core.notice import signature


def test_dingtalks_signature() -> None:
    """HMAC-SHA256 over time and secret, as its documentation has it."""
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    url = signature.dingtalk_url("https://oapi.example/robot/send?access_token=x", at=at, secret="SECx\n")  # noqa: S106
    query = parse_qs(urlsplit(url).query)
    signed = hmac.new(b"SECx", f"{query['timestamp'][0]}\nSECx".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(signed).decode()]
    assert query["timestamp"] == ["1769860800000"]
    assert query["access_token"] == ["x"]


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "whsec_%%"])
def test_keys_that_are_none(secret: str) -> None:
    """An empty key would sign nothing."""
    with pytest.raises(ValueError, match="allowed: "):
        signature.signing_key(secret)
