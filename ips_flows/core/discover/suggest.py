"""Rank images by pull time saved: count the eligible nodes that lack an image, and multiply by the time of a pull.

The time of a pull comes from kubelets' events. Without an event it is estimated: the image's size at the average rate
of all pulls in events.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ips_flows.core.discover.placement import Placement
from ips_flows.core.discover.requests import UsedImage
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.eligibility import Eligibility
from ips_flows.core.plan.node import Node
from ips_flows.core.pods.pull_events import parse_events
from ips_flows.core.request.model import parse_request

_IMAGE = re.compile(r'Successfully pulled image "([^"]+)"')


@dataclass(slots=True)
class Pulls:
    """Reported pulls of one image: their number, total seconds and total bytes."""

    count: int = 0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An image, the number of nodes on which its pods may run, and those of them that lack it.

    `seconds` is the time of one pull, None if it is unknown. `estimated` is True if no event reports a pull.
    """

    image: UsedImage
    eligible: int
    lacking: tuple[str, ...]
    seconds: float | None
    estimated: bool

    @property
    def saved(self) -> float | None:
        """The pull time saved, in seconds, if one pod starts on each node that lacks the image."""
        return None if self.seconds is None else self.seconds * len(self.lacking)


def pulls_of(events: Iterable[Mapping[str, Any]]) -> dict[str, Pulls]:
    """Return the pulls that events report: identity of an image → pulls."""
    found: dict[str, Pulls] = defaultdict(Pulls)
    for one in parse_events(events):
        match = _IMAGE.search(one.text)
        if match is None or one.took is None:
            continue
        try:
            identity = parse_reference(match[1]).identity
        except ValueError:
            continue
        pulls = found[identity]
        pulls.count += 1
        pulls.seconds += one.took
        pulls.bytes += one.size or 0
    return dict(found)


def suggestions(
    images: Sequence[UsedImage], nodes: Sequence[Node], pulls: Mapping[str, Pulls]
) -> list[Suggestion]:
    """Return the images that a node lacks, sorted by pull time saved in descending order; unknown times come last."""
    holders: dict[str, set[int]] = defaultdict(set)
    sizes: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name, held in node.images.items():
            holders[name].add(index)
            sizes[name] = held.bytes
    places: dict[Placement, set[int]] = {}
    rate = _rate(pulls.values())
    found = []
    for image in images:
        names = image.uses[0].reference.names()
        eligible: set[int] = set()
        for placement in image.placements:
            if placement not in places:
                places[placement] = _eligible(placement, nodes)
            eligible |= places[placement]
        lacking = eligible.difference(*(holders[name] for name in names if name in holders))
        if lacking:
            size = next((sizes[name] for name in names if sizes.get(name)), None)
            seen = pulls.get(image.uses[0].reference.identity)
            seconds = seen.seconds / seen.count if seen else size / rate if size and rate else None
            where = tuple(nodes[index].name for index in sorted(lacking))
            found.append(Suggestion(image, len(eligible), where, seconds, estimated=seen is None))
    return sorted(found, key=lambda one: -1.0 if one.saved is None else one.saved, reverse=True)


def suggestion_json(one: Suggestion) -> dict[str, Any]:
    """Return a suggestion for `-o json`."""
    return {
        "image": one.image.text,
        "eligibleNodes": one.eligible,
        "lackingNodes": list(one.lacking),
        "pullSeconds": one.seconds,
        "estimated": one.estimated if one.seconds is not None else None,
        "savedSeconds": one.saved,
    }


def _eligible(placement: Placement, nodes: Sequence[Node]) -> set[int]:
    request = parse_request(json.dumps({"images": ["a"], **placement.fields()}))
    rule = Eligibility(request)
    return {index for index, node in enumerate(nodes) if rule.skip_reason(node) is None}


def _rate(pulls: Iterable[Pulls]) -> float:
    """Return the bytes per second over all pulls with a known size; 0 without such a pull."""
    known = [one for one in pulls if one.bytes and one.seconds]
    return sum(one.bytes for one in known) / sum(one.seconds for one in known) if known else 0.0
