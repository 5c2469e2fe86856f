"""Servers of tests on the first free port of those that they may have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

ServerT = TypeVar("ServerT")


def first_free(ports: Iterable[int], bind: Callable[[int], ServerT]) -> ServerT:
    """What `bind` makes of the first port that is not in use; OSError where all are."""
    for port in ports:
        try:
            return bind(port)
        except OSError:  # in use
            continue
    raise OSError("no free port")
