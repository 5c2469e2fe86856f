"""IPS Flow warms container images on Kubernetes nodes with Argo Workflows, and records evidence per node and image.

As a library: `submit` creates a task from a `PrewarmRequest`, and `wait` waits until the task ends; see `api`.
Both raise an `IpsFlowError` on failure.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ips_flows.core.version import __version__

if TYPE_CHECKING:
    from ips_flows.api import submit, wait
    from ips_flows.core.errors import IpsFlowError
    from ips_flows.core.request.model import PrewarmRequest

__all__ = ["IpsFlowError", "PrewarmRequest", "__version__", "submit", "wait"]

_HOMES = {
    "IpsFlowError": "ips_flows.core.errors",
    "PrewarmRequest": "ips_flows.core.request.model",
    "submit": "ips_flows.api",
    "wait": "ips_flows.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, because `--help` of the command line needs none of them."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
