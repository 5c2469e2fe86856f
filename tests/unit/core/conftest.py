"""What coverage measures of the core's tests: those with examples of their own, not those with generated examples."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from coverage import Coverage


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Stop coverage during tests with generated examples, which run code many times that other tests reach, too."""
    measured = Coverage.current()
    generated = isinstance(item, pytest.Function) and getattr(item.obj, "is_hypothesis_test", False)
    if measured is None or not generated:
        return (yield)
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()
