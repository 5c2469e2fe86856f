"""The format version of documents that are stored in the cluster.

Every plan, verdict and chunk of results stores its format and the oldest version of IPS Flow that reads it. A program
refuses a newer format, so it never misreads a document. A document without a format has format 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ips_flows.core.errors import NewerFormatError
from ips_flows.core.version import __version__

FORMAT = 1
NEEDED = "0.1.0"  # the oldest version of IPS Flow that reads FORMAT


def check_format(document: Mapping[str, Any], what: str, key: str = "v") -> None:
    """Raise NewerFormatError if the document has a newer format. `key` is the field that stores the format."""
    found = document.get(key, 1)
    if isinstance(found, int) and found > FORMAT:
        needed = document.get("needs")
        wanted = f"IPS Flow {needed} or later is needed" if needed else "a later IPS Flow is needed"
        raise NewerFormatError(
            f"{what} in format {found}: {wanted}; this is {__version__}, which reads up to format {FORMAT}",
            hint="Upgrade this program; `ips-flow version` shows the version in the cluster.",
        )
