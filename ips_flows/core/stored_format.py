"""The version of what is stored in the cluster, so that a program never misreads what a newer one wrote.

Every plan, verdict and chunk of results says its format and the oldest program that reads it. What says nothing
was written before there was a second format, and is of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ips_flows.core.errors import NewerFormatError
from ips_flows.core.version import __version__

FORMAT = 1
NEEDED = "0.1.0"  # the oldest version of IPS Flow that reads FORMAT


def check_format(document: Mapping[str, Any], what: str, key: str = "v") -> None:
    """Raise NewerFormatError for a document of a format that this program does not know; `key` holds the format."""
    found = document.get(key, 1)
    if isinstance(found, int) and found > FORMAT:
        needed = document.get("needs")
        wanted = f"IPS Flow {needed} or later is needed" if needed else "a later IPS Flow is needed"
        raise NewerFormatError(
            f"{what} of format {found}: {wanted}, this is {__version__}, which reads up to format {FORMAT}",
            hint="Upgrade this program; `ips-flow version` shows what runs in the cluster.",
        )
