"""Simulated nodes."""
from __future__ import annotations
NAME = "kwok"
def ensure(count: int) -> None: ...
def ready() -> int: return 0
