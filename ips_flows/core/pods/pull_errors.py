"""Classify pull errors by the messages of containerd, CRI-O and registries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ips_flows.core.images.reference import Reference
from ips_flows.core.results.reasons import FailureReason

# Only a change outside the cluster can fix these.
PERMANENT = (
    FailureReason.NOT_FOUND,
    FailureReason.UNAUTHORIZED,
    FailureReason.WRONG_PLATFORM,
    FailureReason.INVALID_IMAGE,
)

# The first pattern that matches decides, so specific patterns come before general patterns.
PATTERNS: Sequence[tuple[FailureReason, re.Pattern[str]]] = [
    (failure, re.compile(pattern, re.IGNORECASE))
    for failure, pattern in (
        (FailureReason.NO_SPACE, r"no space left on device|disk quota exceeded"),
        (FailureReason.RATE_LIMITED, r"\b429\b|toomanyrequests|too many requests|rate limit"),
        (
            FailureReason.WRONG_PLATFORM,
            r"no match for platform|no matching manifest|no image found .* for architecture",
        ),
        (
            FailureReason.UNAUTHORIZED,
            (
                r"\b401\b|\b403\b|unauthorized|forbidden|authorization failed|authentication required|no basic auth"
                r"|access denied|access to the resource is denied|insufficient_scope"
            ),
        ),
        (
            FailureReason.REGISTRY_UNAVAILABLE,
            (
                r"connection refused|connection reset|no such host|i/o timeout|tls handshake|x509:|no route to host"
                r"|network is unreachable|server misbehaving|unexpected eof|: eof\b|deadline ?exceeded|timeout awaiting"
                r"|server closed"
                r"|\b50[0234]\b|client.timeout|http: server gave http response to https client|short read"
            ),
        ),
        (
            FailureReason.NOT_FOUND,
            r"not found|manifest unknown|name unknown|name_unknown|manifest_unknown|does not exist",
        ),
        (
            FailureReason.INVALID_IMAGE,
            (
                r"invalid reference|invalidimagename|couldn't parse image|failed to parse|unsupported media ?type"
                r"|unexpected media ?type|digest mismatch|unexpected commit digest|failed to extract|archive/tar"
            ),
        ),
    )
]
_FRAMES = re.compile(
    r'^(?:Failed to pull image "[^"]*": |rpc error: code = \w+ desc = '
    r'|failed to (?:pull and unpack|resolve|copy|unpack)(?: image| reference)?(?: "[^"]*")?: )+'
)


def classify(message: str, *names: str) -> FailureReason:
    """Return the class of a pull error.

    `names` are the spellings of images. They are removed from the message, since an image may be named
    `forbidden:401`.
    """
    for name in names:
        message = message.replace(name, "")
    return next((failure for failure, pattern in PATTERNS if pattern.search(message)), FailureReason.UNKNOWN)


def strip_runtime_frames(message: str) -> str:
    """Return a pull error without the text that kubelet and containerd put before the registry's message.

    `… desc = failed to pull and unpack image "X": failed to resolve reference "X": X: not found` → `X: not found`.
    """
    return _FRAMES.sub("", message) or message


def error_spellings(reference: Reference) -> tuple[str, ...]:
    """Return the spellings of an image in error messages: its references and its registry URLs, longest first."""
    manifest = f"{reference.repository}/manifests/{reference.digest or reference.tag or 'latest'}"
    return (reference.canonical, reference.text, manifest, f"{reference.registry}/{reference.repository}")
