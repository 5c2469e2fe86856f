"""Challenges of registries."""

from __future__ import annotations

import pytest

from ips_flows.core.images.auth_challenge import Challenge, read_challenge


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            Challenge(
                "bearer",
                {
                    "realm": "https://auth.docker.io/token",
                    "service": "registry.docker.io",
                    "scope": "repository:a/b:pull,push",
                },
            ),
        ),
        ('Basic realm="private"', Challenge("basic", {"realm": "private"})),
        ("basic", Challenge("basic", {})),
        (
            'Basic realm="a, Bearer b", BEARER Realm="https://x/t", service=',
            Challenge("bearer", {"realm": "https://x/t"}),
        ),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_challenges(header: str, challenge: Challenge | None) -> None:
    """Bearer takes precedence over Basic. Quoted text is not a scheme."""
    assert read_challenge(header) == challenge
