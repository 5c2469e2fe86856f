"""Servers of tests on the first free port of a range."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

ServerT = TypeVar("ServerT")


def first_free(ports: Iterable[int], bind: Callable[[int], ServerT]) -> ServerT:
    """Call `bind` with the first port that is not in use and return its result. OSError if all are in use."""
    for port in ports:
        try:
            return bind(port)
        except OSError:  # in use
            continue
    raise OSError("no free port")
