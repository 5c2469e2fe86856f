"""The Python library: the public names of `ips_flows`, with the parameters of its functions."""

from __future__ import annotations

import inspect
from typing import Any

import ips_flows


def library() -> dict[str, Any]:
    """Return the document: name → parameters in their order, with kind and default; none for a class."""
    return {name: _parameters(getattr(ips_flows, name)) for name in sorted(ips_flows.__all__)}


def _parameters(thing: Any) -> list[str]:
    if not inspect.isfunction(thing):
        return []
    return [
        f"{one.name}{'' if one.default is one.empty else f' = {one.default!r}'} ({one.kind.description})"
        for one in inspect.signature(thing).parameters.values()
    ]
