"""The texts of runtimes and registries: which classes they can give."""

from __future__ import annotations

import pytest

from ips_flows.core.pods.pull_errors import PATTERNS
from ips_flows.core.results.reasons import FailureCategory, FailureReason

_BY_TEXT = (FailureCategory.IMAGE, FailureCategory.REGISTRY)


@pytest.mark.parametrize("reason", [one for one in FailureReason if one.category in _BY_TEXT])
def test_a_class_of_an_image_or_a_registry_has_a_pattern(reason: FailureReason) -> None:
    """Only an error text tells of such a failure, so a class without a pattern would never be seen."""
    assert reason in {one for one, _ in PATTERNS}
