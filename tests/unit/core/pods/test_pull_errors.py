"""The failure classes that the texts of runtimes and registries can have."""

from __future__ import annotations

import pytest

from ips_flows.core.pods.pull_errors import PATTERNS, classify
from ips_flows.core.results.reasons import FailureCategory, FailureReason

_BY_TEXT = (FailureCategory.IMAGE, FailureCategory.REGISTRY)


@pytest.mark.parametrize("reason", [one for one in FailureReason if one.category in _BY_TEXT])
def test_a_class_of_an_image_or_a_registry_has_a_pattern(reason: FailureReason) -> None:
    """Only an error text shows such a failure, so a class without a pattern would never be used."""
    assert reason in {one for one, _ in PATTERNS}


# One text of a runtime or a registry for each class that a text can have.
TEXTS = {
    FailureReason.NO_SPACE: "failed to copy: write /var/lib/containerd/x: no space left on device",
    FailureReason.RATE_LIMITED: "unexpected status from HEAD request: 429 Too Many Requests",
    FailureReason.WRONG_PLATFORM: "no match for platform in manifest: not found",
    FailureReason.UNAUTHORIZED: "failed to authorize: unexpected status: 403 Forbidden: not found",
    FailureReason.REGISTRY_UNAVAILABLE: "dial tcp 10.0.0.1:443: connect: connection refused",
    FailureReason.NOT_FOUND: "r.example.com/app:9: not found",
    FailureReason.INVALID_IMAGE: "failed to extract layer: archive/tar: invalid tar header",
}


@pytest.mark.parametrize("reason", [one for one, _ in PATTERNS])
def test_a_pattern_is_reached(reason: FailureReason) -> None:
    """Each class has a text that results in it, even if wider patterns match the text, too."""
    assert classify(TEXTS[reason]) is reason
