"""What a forecast warns of: an error would fail the task, a warning would not, or can't be told from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem. `nodes` counts the nodes that it is about, 0 where it is about none, and `node` is the first of them.

    `kind` is a class of failure, where it makes nodes fail, else a word of its own (see KINDS).
    """

    level: Level
    kind: str
    message: str
    image: str = ""
    nodes: int = 0
    node: str = ""
    hint: str = ""


# Beside the classes of failure: what each word means.
KINDS = {
    "Unverified": "whether the image is there for the nodes can't be told from here",
    "Unsuited": "the image stands alone, made for another platform: nodes may fetch it, but can't run it",
    "NoImage": "it is another artifact in an image's wrapping, such as a chart",
    "Elsewhere": "layers come from another place than the registry, which was not asked",
    "Stale": "nodes hold another content under this tag than the registry, and `IfNotPresent` leaves it so",
    "DiskTight": "unpacked, the images may not fit into a node's ephemeral storage",
    "ImageCollection": "the kubelet would begin to remove images that no pod uses",
    "DiskUnknown": "`--check-disk` got no word from nodes",
    "PullSecret": "a pull Secret is missing, unreadable or malformed",
    "NodeTimeout": "at this bandwidth a node needs longer than `nodeTimeout`",
    "TaskTimeout": "at this bandwidth the task needs longer than `timeout`",
    "Window": "the window is more than stock controllers can feed",
    "Mode": "the mode could not be told for certain",
}
