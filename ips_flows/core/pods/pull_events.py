"""Parse the events that kubelets write about image pulls.

The texts come from the kubelet's image manager:
`Successfully pulled image "X" in 70ms (…). Image size: 4196390 bytes.`
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ips_flows.core.images.reference import Reference

_PULLED = re.compile(r"Successfully pulled image .*? in (?P<took>[0-9a-zµ.]+)", re.DOTALL)
_SIZE = re.compile(r"Image size: (?P<bytes>\d+) bytes")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|µs|us|ns)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class PullEvent:
    """An event of a pod. `took` is in seconds; None if the image was already present."""

    reason: str
    text: str
    count: int
    took: float | None
    size: int | None

    def failed_to_pull(self, reference: Reference) -> bool:
        """Return whether this event reports that the image could not be pulled."""
        return self.reason == "Failed" and _mentions(self.text, reference, "pull image ")


def parse_events(events: Iterable[Mapping[str, Any]]) -> list[PullEvent]:
    """Return the events ordered by time. Within the same second, real pulls come before `already present`."""
    pull_events: list[tuple[str, int, PullEvent]] = []
    for event in events:
        text = str(event.get("message") or "")
        pulled = _PULLED.search(text)
        size = _SIZE.search(text)
        one = PullEvent(
            reason=event.get("reason") or "",
            text=text,
            count=int((event.get("series") or {}).get("count") or event.get("count") or 1),
            took=_seconds(pulled["took"]) if pulled else None,
            size=int(size["bytes"]) if size else None,
        )
        when = event.get("firstTimestamp") or event.get("eventTime") or ""
        pull_events.append((when, 0 if pulled else 1, one))
    return [one for _, _, one in sorted(pull_events, key=lambda row: row[:2])]


def pulled_event(reference: Reference, pull_events: Sequence[PullEvent]) -> PullEvent | None:
    """Return the first event that shows an image on the node, pulled or present; None if there is none."""
    return next(
        (one for one in pull_events if one.reason == "Pulled" and _mentions(one.text, reference, "mage ")),
        None,
    )


def _mentions(text: str, reference: Reference, before: str) -> bool:
    """Return whether a text names the image, as it was written or with the tag that the kubelet adds."""
    return any(
        f'{before}"{name}"' in text
        for name in (reference.text, f"{reference.text}:latest", reference.canonical)
    )


def _seconds(text: str) -> float:
    return round(sum(float(amount) * _UNITS[unit] for amount, unit in _DURATION.findall(text)), 3)
