"""Uses of images in objects, with their locations, and notes on parts that could not be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ips_flows.core.discover.placement import Placement
from ips_flows.core.images.reference import Reference

EACH_NODE: Final = "each node"
Pods = int | Literal["each node"] | None  # None: unknown


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """Location of an object or a part of it. `line` counts from 1, 0 is unknown; `part` is the container or volume."""

    source: str = ""
    line: int = 0
    namespace: str = ""
    kind: str = ""
    name: str = ""
    part: str = ""

    def part_at(self, part: str, line: int) -> SourceLocation:
        """Return the location of a part of this object."""
        # Do not use `replace`: it takes five times as long, and this is called for every container of every pod.
        return SourceLocation(self.source, line, self.namespace, self.kind, self.name, part)

    @property
    def object_name(self) -> str:
        """The object's kind, namespace and name: `Deployment/shop/web`."""
        space = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind}/{space}{self.name or '?'}"

    def __str__(self) -> str:
        """Return text such as `Deployment/web, container app (chart.yaml:12)`."""
        text = ", ".join(part for part in (self.object_name if self.kind else "", self.part) if part)
        where = f"{self.source}:{self.line}" if self.source and self.line else self.source
        if not text:
            return where
        return f"{text} ({where})" if where else text


@dataclass(frozen=True, slots=True)
class ImageUse:
    """A use of an image by pods, with their number and the nodes on which they may run.

    `policy` is the pull policy that the kubelet applies. `secrets` are the pod's own pull Secrets; if it has none, those
    of the ServiceAccount `account` apply. `again` is True if another container of the same pods uses the image too and
    counts the pods.
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
        """The reference as written in the object."""
        return self.reference.text


@dataclass(frozen=True, slots=True)
class Note:
    """A remark on input that could not be used as written. `missing` is True if an image may be missing because of it."""

    location: SourceLocation
    text: str
    missing: bool = False

    def __str__(self) -> str:
        where = str(self.location)
        return f"{where}: {self.text}" if where else self.text
