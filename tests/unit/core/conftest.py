"""Coverage of the core: measured in tests with fixed examples, not in those with generated ones."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from coverage import Coverage


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Stop coverage during tests with generated examples: they run the same code many times."""
    measured = Coverage.current()
    generated = isinstance(item, pytest.Function) and getattr(item.obj, "is_hypothesis_test", False)
    if measured is None or not generated:
        return (yield)
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()
