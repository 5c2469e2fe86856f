"""Create requests from uses of images: each image once, grouped by the nodes on which its pods may run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ips_flows.core.counts import several
from ips_flows.core.discover.finder import Findings
from ips_flows.core.discover.image_uses import EACH_NODE, ImageUse, Pods, SourceLocation
from ips_flows.core.discover.placement import Placement, joined
from ips_flows.core.escape import escape
from ips_flows.core.request.limits import IMAGES

_MOST_USES = 3  # in a comment
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_.@:/-]*[A-Za-z0-9])?")
_NOT_TEXT = ("true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan")


@dataclass(slots=True)
class UsedImage:
    """An image with all its uses. Its reference is written as in the first use."""

    uses: list[ImageUse] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The reference."""
        return self.uses[0].image

    @property
    def canonical(self) -> str:
        """The full reference, with registry and tag."""
        return self.uses[0].reference.canonical

    @property
    def policy(self) -> str:
        """`Always` if any pod has that policy, else `IfNotPresent` if any pod has it, else `Never`."""
        policies = {use.policy for use in self.uses}
        return next(one for one in ("Always", "IfNotPresent", "Never") if one in policies)

    @property
    def secrets(self) -> list[str]:
        """The pull Secrets of its pods."""
        return list(dict.fromkeys(name for use in self.uses for name in use.secrets))

    @property
    def placements(self) -> list[Placement]:
        """The nodes on which its pods may run."""
        return list(dict.fromkeys(one for use in self.uses for one in use.placements))

    @property
    def pods(self) -> int | None:
        """The number of pods that use it, without those on each node; None if it is unknown."""
        counts = [use.pods for use in self.uses if use.pods != EACH_NODE and not use.again]
        return None if None in counts else sum(one for one in counts if isinstance(one, int))

    @property
    def each_node(self) -> bool:
        """Whether a pod with it runs on each possible node, as of a DaemonSet."""
        return any(use.pods == EACH_NODE for use in self.uses)


@dataclass(frozen=True, slots=True)
class RequestDraft:
    """Images for the same nodes: the content of one request."""

    placement: Placement
    images: tuple[UsedImage, ...]

    @property
    def secrets(self) -> list[str]:
        """The pull Secrets of all images."""
        return list(dict.fromkeys(name for image in self.images for name in image.secrets))

    def fields(self) -> dict[str, Any]:
        """Return the fields of the request."""
        images = [
            {"image": one.text, "pullPolicy": "Always"} if _asks(one) else one.text for one in self.images
        ]
        secrets = {"pullSecrets": self.secrets} if self.secrets else {}
        return {"images": images, **secrets, **self.placement.fields()}


def images_of(uses: Iterable[ImageUse]) -> list[UsedImage]:
    """Return each image once, in the order of its first use."""
    found: dict[str, UsedImage] = {}
    for use in uses:
        found.setdefault(use.reference.identity, UsedImage()).uses.append(use)
    return list(found.values())


def by_placement(uses: Iterable[ImageUse]) -> list[RequestDraft]:
    """Return requests that warm each image on exactly the nodes on which its pods may run; at most 50 images each.

    If an image has two placements and one covers the other, the image is only in the request of the covering one.
    """
    groups: dict[Placement, dict[str, UsedImage]] = {}
    for image in images_of(uses):
        wide = _widest(image.placements)
        for use in image.uses:
            for placement in dict.fromkeys(
                next(one for one in wide if one.covers(mine)) for mine in use.placements
            ):
                group = groups.setdefault(placement, {})
                group.setdefault(use.reference.identity, UsedImage()).uses.append(use)
    return [
        RequestDraft(placement, part)
        for placement, group in groups.items()
        for part in _parts([*group.values()])
    ]


def everywhere(uses: Iterable[ImageUse]) -> RequestDraft | None:
    """Return one request that warms all images on all nodes on which any of the pods may run; None without images.

    It may have more images than a request allows.
    """
    images = images_of(uses)
    if not images:
        return None
    return RequestDraft(
        joined(placement for image in images for placement in image.placements), tuple(images)
    )


def request_text(draft: RequestDraft, notes: Sequence[str] = ()) -> str:
    """Return a request as YAML, with comments that list the uses of each image."""
    return "\n".join(_lines(draft, notes)) + "\n"


def pods_text(image: UsedImage) -> str:
    """Return the number of pods that use an image: `3`, `each node`, `3 + each node`, or `–` if it is unknown."""
    parts = ["–" if image.pods is None else str(image.pods)] if image.pods != 0 or not image.each_node else []
    return " + ".join([*parts, *([EACH_NODE] if image.each_node else [])])


def findings_json(found: Findings) -> dict[str, Any]:
    """Return the output of `-o json`: images, placements and notes. An image refers to its placements by index."""
    images = images_of(found.uses)
    numbers: dict[Placement, int] = {}
    for image in images:
        for placement in image.placements:
            numbers.setdefault(placement, len(numbers))
    return {
        "images": [
            {
                "image": image.text,
                "reference": image.canonical,
                "pullPolicy": image.policy,
                "pods": image.pods,
                "eachNode": image.each_node,
                "pullSecrets": image.secrets,
                "placements": [numbers[one] for one in image.placements],
                "usedBy": [_use_json(use, numbers) for use in image.uses],
            }
            for image in images
        ],
        "placements": [one.fields() for one in numbers],
        "remarks": [
            {**_location_json(one.location), "message": one.text, "imageMissing": one.missing}
            for one in found.notes
        ],
        "objects": found.objects,
        "leftOut": dict(found.left_out),
    }


def _location_json(location: SourceLocation) -> dict[str, Any]:
    """Return the known fields of a location."""
    return {name: value for name, value in asdict(location).items() if value}


def _use_json(use: ImageUse, numbers: Mapping[Placement, int]) -> dict[str, Any]:
    return {
        **_location_json(use.location),
        "image": use.image,
        "pods": use.pods,
        "pullPolicy": use.policy,
        "pullSecrets": list(use.secrets),
        "placements": [numbers[one] for one in use.placements],
    }


def _asks(image: UsedImage) -> bool:
    """Return whether nodes must check the registry at each pull. A digest's content can't change, so it needs no check."""
    return image.policy == "Always" and not image.uses[0].reference.pinned


def _widest(placements: Sequence[Placement]) -> list[Placement]:
    """Return the same nodes in fewer placements: merge node names, and remove placements that another one covers."""
    merged: dict[Placement, frozenset[str] | None] = {}
    for one in placements:
        rest = one if one.nodes is None else replace(one, nodes=frozenset())
        merged[rest] = None if one.nodes is None else (merged.get(rest) or frozenset()) | one.nodes
    found = [replace(rest, nodes=nodes) for rest, nodes in merged.items()]
    return [one for one in found if not any(other != one and other.covers(one) for other in found)]


def _parts(images: list[UsedImage]) -> Iterator[tuple[UsedImage, ...]]:
    for start in range(0, len(images), IMAGES.high):
        yield tuple(images[start : start + IMAGES.high])


def _lines(draft: RequestDraft, notes: Sequence[str]) -> Iterator[str]:
    for note in notes:
        yield f"# {escape(note)}"
    fields = draft.fields()
    yield "images:"
    for image, written in zip(draft.images, fields.pop("images"), strict=True):
        yield from (f"  # {escape(text)}" for text in _comments(image))
        if isinstance(written, str):
            yield f"  - {_scalar(written)}"
        else:
            yield f"  - image: {_scalar(written['image'])}"
            yield f"    pullPolicy: {written['pullPolicy']}"
    if "pullSecrets" in fields:
        yield "# These Secrets must be in the task's namespace; missing Secrets are ignored."
    for name, value in fields.items():
        yield from _field(name, value)


def _field(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list | Mapping):
        yield f"{name}: {_scalar(value)}"
    elif isinstance(value, Mapping):
        yield f"{name}:"
        yield from (f"  {_scalar(key)}: {_scalar(text)}" for key, text in value.items())
    elif not value:
        yield f"{name}: [] # nodes with taints are excluded"
    else:
        yield f"{name}:"
        for item in value:
            if isinstance(item, Mapping):
                yield "  - { " + ", ".join(f"{key}: {_scalar(text)}" for key, text in item.items()) + " }"
            else:
                yield f"  - {_scalar(item)}"


def _comments(image: UsedImage) -> Iterator[str]:
    for use in image.uses[:_MOST_USES]:
        never = "pull policy Never" if use.policy == "Never" else ""
        yield "; ".join(part for part in (str(use.location), _counted(use.pods), never) if part)
    if len(image.uses) > _MOST_USES:
        yield f"and {len(image.uses) - _MOST_USES} more"


def _counted(pods: Pods) -> str:
    if pods is None:
        return ""
    return "on each node" if pods == EACH_NODE else several(pods, "pod")


def _scalar(text: str) -> str:
    """Return a text as a scalar that YAML 1.1 and 1.2 both read as this text."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT
    return text if plain else json.dumps(text)
