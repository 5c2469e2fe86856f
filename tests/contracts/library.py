"""The Python library: what `import ips_flows` offers, with the parameters of its functions."""

from __future__ import annotations

import inspect
from typing import Any

import ips_flows


def library() -> dict[str, Any]:
    """The document: name → parameters in their order, with kind and default; nothing for a class."""
    return {name: _parameters(getattr(ips_flows, name)) for name in sorted(ips_flows.__all__)}


def _parameters(thing: Any) -> list[str]:
    if not inspect.isfunction(thing):
        return []
    return [
        f"{one.name}{'' if one.default is one.empty else f' = {one.default!r}'} ({one.kind.description})"
        for one in inspect.signature(thing).parameters.values()
    ]
