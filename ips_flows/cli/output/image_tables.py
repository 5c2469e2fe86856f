"""Tables of found images."""

from __future__ import annotations

from collections.abc import Sequence

from ips_flows.cli.output.tables import NOTHING, fitted, human_seconds
from ips_flows.core.discover.requests import UsedImage, pods_text
from ips_flows.core.discover.suggest import Suggestion

_MOST_USES = 2
_CUT = ({"USED BY": 24, "NODES": 24}, {"IMAGE": 32, "USED BY": 12, "NODES": 12})


def image_table(images: Sequence[UsedImage], *, wide: bool, width: int | None = None) -> str:
    """Return a table with one image per row: its pods, nodes and users. `width` is that of a terminal, if any."""
    header = ["IMAGE", "PODS", "NODES", "USED BY"]
    if wide:
        header[2:2] = ["POLICY", "PULL SECRETS"]
    rows = []
    for image in images:
        row = [image.text, pods_text(image), _nodes(image), _users(image, limit=None if wide else _MOST_USES)]
        if wide:
            row[2:2] = [image.policy, ",".join(image.secrets) or NOTHING]
        rows.append(row)
    return fitted(header, rows, None if wide else width, _CUT)


def suggestion_table(found: Sequence[Suggestion], *, wide: bool, width: int | None = None) -> str:
    """Return a table with one image per row: the nodes without it, the time of a pull, and the total time saved."""
    rows = [
        [
            one.image.text,
            f"{len(one.lacking)} of {one.eligible}",
            ("~" if one.estimated and one.seconds is not None else "") + human_seconds(one.seconds),
            human_seconds(one.saved),
            _users(one.image, limit=None if wide else _MOST_USES),
        ]
        for one in found
    ]
    return fitted(
        ["IMAGE", "MISSING ON", "PULL TIME", "SAVED", "USED BY"], rows, None if wide else width, _CUT
    )


def _nodes(image: UsedImage) -> str:
    return " or ".join(dict.fromkeys(str(one) for one in image.placements))


def _users(image: UsedImage, *, limit: int | None) -> str:
    users = list(dict.fromkeys(one.location.object_name for one in image.uses))
    more = f" and {len(users) - limit} more" if limit is not None and len(users) > limit else ""
    return ", ".join(users[:limit]) + more
