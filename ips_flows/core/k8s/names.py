"""The syntax of Kubernetes names and labels."""

from __future__ import annotations

import re

_PART = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_PART)
_DNS_NAME = re.compile(rf"{_PART}(?:\.{_PART})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")


def is_dns_label(text: str, longest: int = 63) -> bool:
    """Return whether a text is a DNS label (RFC 1123): lower-case letters, digits and '-'."""
    return len(text) <= longest and _DNS_LABEL.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Return whether a text is a DNS subdomain (RFC 1123), the syntax for names of nodes and Secrets."""
    return len(text) <= 253 and _DNS_NAME.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """Return whether a text is a label key: `[prefix/]name`."""
    prefix, slash, name = text.rpartition("/")
    return (not slash or is_dns_name(prefix)) and len(name) <= 63 and _QUALIFIED.fullmatch(name) is not None


def is_label_value(text: str) -> bool:
    """Return whether a text is a label value. The empty text is one."""
    return not text or (len(text) <= 63 and _QUALIFIED.fullmatch(text) is not None)
