"""Allowed targets of webhooks. Every address of a host is checked, and a connection uses only checked addresses.

The user who submits a task chooses the URL that our pod calls. The URL must not reach addresses that only our pod can
reach: its loopback, link-local addresses (cloud credentials), multicast groups, and the API server. If an address
embeds another one (IPv4-mapped, NAT64, 6to4, …), both are checked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Iterable[str]]  # host, port → addresses; OSError if there are none

_PORTS = {"http": 80, "https": 443}
_SPECIAL: Sequence[tuple[str, Sequence[str]]] = (
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("broadcast", ("255.255.255.255/32",)),
)
_REFUSED = [(kind, ipaddress.ip_network(text)) for kind, texts in _SPECIAL for text in texts]
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")  # SIIT
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_6TO4 = ipaddress.IPv6Network("2002::/16")
_TEREDO = ipaddress.IPv6Network("2001::/32")


class ForbiddenTargetError(Exception):
    """The target is not allowed. The message has the reason, and only scheme and host of the URL."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Special networks that are allowed, and the addresses and ports of the API server."""

    allowed: tuple[Network, ...] = ()
    api_server: frozenset[tuple[Address, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class AllowedTarget:
    """A host whose addresses are all allowed. `name` is used in the Host header and in TLS."""

    scheme: str
    name: str
    port: int
    addresses: tuple[str, ...]


def shown_url(url: str) -> str:
    """Return the part of a URL that may be logged: scheme, host, and the port if it is not the default."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "an invalid URL"
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    usual = port is None or port == _PORTS.get(parts.scheme)
    return f"{parts.scheme}://{name}" + ("" if usual else f":{port}")


def parse_networks(text: str) -> tuple[tuple[Network, ...], tuple[str, ...]]:
    """Parse a comma-separated list of CIDRs. Return the networks and the invalid entries."""
    known: list[Network] = []
    unknown: list[str] = []
    for entry in (one.strip() for one in text.split(",")):
        if not entry:
            continue
        try:
            known.append(ipaddress.ip_network(entry))
        except ValueError:
            unknown.append(entry)
    return tuple(known), tuple(unknown)


def endpoint(host: str, port: int) -> tuple[Address, int]:
    """Return an address and a port in the form that `Rules` uses. ValueError if `host` is not an address."""
    return _address(host), port


def allowed_target(url: str, rules: Rules, resolve: Resolver) -> AllowedTarget:
    """Resolve the host of a URL once, and check every address.

    Raises ForbiddenTargetError if an address is not allowed, OSError if the host has no address.
    """
    parts = urlsplit(url)
    name = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    addresses = tuple(dict.fromkeys(resolve(name, port)))
    if not addresses:
        raise OSError("the host has no address")
    for address in addresses:
        violation = _violation(_address(address), port, rules)
        if violation:
            also = "" if address == name else f" has the address {address}, which"
            raise ForbiddenTargetError(f"{shown_url(url)}{also} is {violation}")
    return AllowedTarget(parts.scheme, name, port, addresses)


def _violation(address: Address, port: int, rules: Rules) -> str | None:
    """Return why an address is not allowed; None if it is allowed."""
    for form in _forms(address):
        if (form, port) in rules.api_server:
            kind = "the API server"
        else:
            kind = next((kind for kind, network in _REFUSED if _in(form, network)), "")
        if kind and not any(_in(form, network) for network in rules.allowed):
            inside = "" if form == address else f" ({form} inside)"
            return f"{kind}{inside}, and not in webhook-allowed-networks"
    return None


def _forms(address: Address) -> Iterator[Address]:
    """Yield an address and the addresses that it embeds."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    bits = int(address)
    if any(address in network for network in (_MAPPED, _TRANSLATED, _COMPATIBLE, _NAT64)):
        if bits > 1:  # :: and ::1 embed no IPv4 address
            yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    elif address in _LOCAL_NAT64:
        # RFC 6052: after a 48-bit prefix, the IPv4 address is split around bits 64 to 71; after a 96-bit prefix, it is
        # the last 32 bits.
        yield ipaddress.IPv4Address((bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF)
        yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    elif address in _6TO4:
        yield ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF)
    elif address in _TEREDO:
        yield ipaddress.IPv4Address(~bits & 0xFFFFFFFF)


def _in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _address(text: str) -> Address:
    """Parse an address without its zone: `fe80::1%eth0` is checked as `fe80::1`."""
    return ipaddress.ip_address(text.partition("%")[0])
