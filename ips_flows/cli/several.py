"""Doing one thing to several tasks: one that can't be done does not keep the others from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ips_flows.cli.narration import failure
from ips_flows.errors import IpsFlowError


def each(names: Iterable[str], action: Callable[[str], None]) -> int:
    """Carry an action out for each name; 1 if any failed, each failure told."""
    code = 0
    for name in dict.fromkeys(names):
        try:
            action(name)
        except IpsFlowError as error:
            failure(error.message, error.hint)
            code = 1
    return code
