"""Where a webhook may lead: every address of its host is judged, and only a judged one is connected to.

Whoever may submit a task chooses a URL that a pod of ours then calls, so it must not reach what only that pod can:
its own loopback, the link (where clouds keep their credentials), groups, and the API server. Addresses that carry
another inside (IPv4-mapped, NAT64, 6to4, …) are judged by both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Iterable[str]]  # host, port → addresses; OSError where there are none

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
    """This target is not to be called; the message says why, with scheme and host alone."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed though it is special, and where the API server is: pairs of address and port."""

    allowed: tuple[Network, ...] = ()
    api_server: frozenset[tuple[Address, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class AllowedTarget:
    """A host whose every address may be connected to. `name` is what Host and TLS call it."""

    scheme: str
    name: str
    port: int
    addresses: tuple[str, ...]


def shown_url(url: str) -> str:
    """Scheme and host of a URL, with its port where it is not the usual one; all of it that may stand in a log."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "a URL that can't be read"
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    usual = port is None or port == _PORTS.get(parts.scheme)
    return f"{parts.scheme}://{name}" + ("" if usual else f":{port}")


def parse_networks(text: str) -> tuple[tuple[Network, ...], tuple[str, ...]]:
    """The networks of the setting, a list of CIDRs with commas between, and those entries that are none."""
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
    """An address and a port as `Rules` has them; ValueError where `host` is no address."""
    return _address(host), port


def allowed_target(url: str, rules: Rules, resolve: Resolver) -> AllowedTarget:
    """Resolve a URL's host, once, and judge every address of it.

    Raises ForbiddenTargetError where one of them may not be connected to, OSError where the host has none.
    """
    parts = urlsplit(url)
    name = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    addresses = tuple(dict.fromkeys(resolve(name, port)))
    if not addresses:
        raise OSError("the host has no address")
    for address in addresses:
        why = _objection(_address(address), port, rules)
        if why:
            also = "" if address == name else f" has the address {address}, which"
            raise ForbiddenTargetError(f"{shown_url(url)}{also} is {why}")
    return AllowedTarget(parts.scheme, name, port, addresses)


def _objection(address: Address, port: int, rules: Rules) -> str:
    """What speaks against an address; '' when nothing does."""
    for form in _forms(address):
        if (form, port) in rules.api_server:
            kind = "the API server"
        else:
            kind = next((kind for kind, network in _REFUSED if _in(form, network)), "")
        if kind and not any(_in(form, network) for network in rules.allowed):
            inside = "" if form == address else f" ({form} inside)"
            return f"{kind}{inside}, and not in webhook-allowed-networks"
    return ""


def _forms(address: Address) -> Iterator[Address]:
    """An address, and those that it carries inside."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    bits = int(address)
    if any(address in network for network in (_MAPPED, _TRANSLATED, _COMPATIBLE, _NAT64)):
        if bits > 1:  # :: and ::1 are themselves
            yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    elif address in _LOCAL_NAT64:
        # RFC 6052: behind a prefix of 48 bits around bits 64 to 71, behind one of 96 at the end.
        yield ipaddress.IPv4Address((bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF)
        yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    elif address in _6TO4:
        yield ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF)
    elif address in _TEREDO:
        yield ipaddress.IPv4Address(~bits & 0xFFFFFFFF)


def _in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _address(text: str) -> Address:
    """An address without its zone: `fe80::1%eth0` is judged like `fe80::1`."""
    return ipaddress.ip_address(text.partition("%")[0])
