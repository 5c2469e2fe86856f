"""What is found in objects: uses of images, each with its location, and notes on what could not be taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ips_flows.core.discover.placement import Placement
from ips_flows.core.images.reference import Reference

EACH_NODE: Final = "each node"
Pods = int | Literal["each node"] | None  # None: nobody can say


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """Where something stands. `line` counts from 1; 0 is "not known"; `part` is the container or volume."""

    source: str = ""
    line: int = 0
    namespace: str = ""
    kind: str = ""
    name: str = ""
    part: str = ""

    def part_at(self, part: str, line: int) -> SourceLocation:
        """A part of what stands here."""
        # Not `replace`, which takes five times as long: every container of every pod has one.
        return SourceLocation(self.source, line, self.namespace, self.kind, self.name, part)

    @property
    def object_name(self) -> str:
        """The object: `Deployment/shop/web`."""
        space = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind}/{space}{self.name or '?'}"

    def __str__(self) -> str:
        """`Deployment/web, container app (chart.yaml:12)`."""
        text = ", ".join(part for part in (self.object_name if self.kind else "", self.part) if part)
        where = f"{self.source}:{self.line}" if self.source and self.line else self.source
        if not text:
            return where
        return f"{text} ({where})" if where else text


@dataclass(frozen=True, slots=True)
class ImageUse:
    """A use of an image: by which pods, how many of them, and where they may land.

    `policy` is the pull policy that the kubelet will follow; `secrets` are the pod's own pull Secrets, `account`
    the ServiceAccount whose Secrets count where the pod has none. `again`: another container of the same pods
    uses the image too, and counts them.
    """

    reference: Reference
    policy: str
    pods: Pods
    location: SourceLocation
    placements: tuple[Placement, ...]
    secrets: tuple[str, ...] = ()
    account: str = ""
    again: bool = False

    @property
    def image(self) -> str:
        """The reference as it is written."""
        return self.reference.text


@dataclass(frozen=True, slots=True)
class Note:
    """Something that could not be taken as it stands. `missing`: an image may be missing because of it."""

    location: SourceLocation
    text: str
    missing: bool = False

    def __str__(self) -> str:
        where = str(self.location)
        return f"{where}: {self.text}" if where else self.text
