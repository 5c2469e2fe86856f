"""Platforms of images and nodes, matched by the rules of containerd (github.com/containerd/platforms)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i686": "386",
    "armhf": "arm",
    "armel": "arm",
}
_PLAIN_VARIANTS = {("amd64", "v1"), ("arm64", "v8"), ("arm64", "v8.0")}
_ARM = ("v8", "v7", "v6", "v5")
# The platforms that run on a node of an architecture, the best first. A Node object has no variant, so `arm` counts as
# the newest variant, and amd64 and arm64 as the oldest.
_RUNS: Mapping[str, Sequence[tuple[str, str]]] = {
    "amd64": (("amd64", ""), ("386", "")),
    "arm64": (("arm64", ""), *(("arm", variant) for variant in _ARM)),
    "arm": tuple(("arm", variant) for variant in _ARM[1:]),
}


class Platform(NamedTuple):
    """An operating system, an architecture (a GOARCH name), and an optional variant such as `v7`."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def read_platform(document: Mapping[str, Any]) -> Platform:
    """Return the normalised platform of an index entry or an image config."""
    os, architecture = (str(document.get(name) or "").lower() for name in ("os", "architecture"))
    architecture = _ALIASES.get(architecture, architecture)
    variant = str(document.get("variant") or "").lower()
    if variant[:1].isdigit():
        variant = f"v{variant}"
    if architecture == "arm" and not variant:
        variant = "v7"
    if (architecture, variant) in _PLAIN_VARIANTS:
        variant = ""
    return Platform(os, architecture, variant)


def match_rank(architecture: str, offered: Platform) -> int | None:
    """Return the rank of a platform on Linux nodes of an architecture: 0 is the best, None means it does not run."""
    runs = _RUNS.get(architecture, ((architecture, ""),))
    kind = (offered.architecture, offered.variant)
    return runs.index(kind) if offered.os == "linux" and kind in runs else None
