"""Signatures, with which a receiver verifies the sender."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from ips_flows.core.notice import signature


def test_dingtalks_signature() -> None:
    """The signature is HMAC-SHA256 over time and secret, as DingTalk documents it."""
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    url = signature.dingtalk_url("https://oapi.example/robot/send?access_token=x", at=at, secret="SECx\n")  # noqa: S106
    query = parse_qs(urlsplit(url).query)
    signed = hmac.new(b"SECx", f"{query['timestamp'][0]}\nSECx".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(signed).decode()]
    assert query["timestamp"] == ["1769860800000"]
    assert query["access_token"] == ["x"]


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "whsec_%%"])
def test_invalid_keys(secret: str) -> None:
    """An empty or invalid key is refused, since its signature would prove nothing."""
    with pytest.raises(ValueError, match="allowed: "):
        signature.signing_key(secret)
