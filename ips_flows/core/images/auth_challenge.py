"""The `WWW-Authenticate` header: the authentication that a registry requires."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import NamedTuple
from urllib.request import parse_http_list, parse_keqv_list

_SCHEME = re.compile(r'(?:^|,)\s*(Bearer|Basic)(?=\s|$)(?=(?:[^"]*"[^"]*")*[^"]*$)', re.IGNORECASE)


class Challenge(NamedTuple):
    """A scheme (`bearer` or `basic`) and its parameters: `realm`, `service`, `scope`."""

    scheme: str
    parameters: Mapping[str, str]


def read_challenge(header: str) -> Challenge | None:
    """Return the challenge to respond to: Bearer if the registry offers it, else Basic; None if it offers neither."""
    starts = list(_SCHEME.finditer(header))
    found: dict[str, Challenge] = {}
    for match, following in zip_longest(starts, starts[1:]):
        rest = header[match.end() : following.start() if following else None]
        pairs = [pair for pair in parse_http_list(rest) if pair.partition("=")[2]]
        scheme = match[1].lower()
        found[scheme] = Challenge(scheme, {key.lower(): text for key, text in parse_keqv_list(pairs).items()})
    return found.get("bearer") or found.get("basic")
