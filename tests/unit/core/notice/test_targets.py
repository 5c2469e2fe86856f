"""The addresses to which a notification may be sent."""

from __future__ import annotations

import ipaddress

import pytest

from ips_flows.core.notice.targets import (
    ForbiddenTargetError,
    Rules,
    allowed_target,
    endpoint,
    parse_networks,
    shown_url,
)

API = frozenset({endpoint("10.96.0.1", 443), endpoint("192.0.2.7", 6443), endpoint("2001:db8::7", 6443)})


def refusal(address: str, port: int = 80, allowed: str = "") -> str:
    """Return the error for one address; '' if it is allowed."""
    rules = Rules(parse_networks(allowed)[0], API)
    try:
        target = allowed_target(f"http://hooks.example:{port}/x", rules, lambda _host, _port: [address])
    except ForbiddenTargetError as error:
        return str(error)
    assert target.addresses == (address,)
    return ""


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),  # noqa: S104
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("::ffff:127.0.0.1", "loopback (127.0.0.1 inside)"),
        ("::ffff:169.254.169.254", "link-local (169.254.169.254 inside)"),
        ("::ffff:0:127.0.0.1", "loopback (127.0.0.1 inside)"),
        ("::127.0.0.1", "loopback (127.0.0.1 inside)"),
        ("::ffff:0.0.0.0", "unspecified (0.0.0.0 inside)"),
        ("64:ff9b::7f00:1", "loopback (127.0.0.1 inside)"),
        ("64:ff9b::a9fe:a9fe", "link-local (169.254.169.254 inside)"),
        ("64:ff9b:1:a9fe:a9:fe00::", "link-local (169.254.169.254 inside)"),
        ("64:ff9b:1::a9fe:a9fe", "unspecified (0.0.0.0 inside)"),
        ("2002:7f00:1::", "loopback (127.0.0.1 inside)"),
        ("2002:a9fe:a9fe::1", "link-local (169.254.169.254 inside)"),
        ("2001:0:102:304::80ff:fffe", "loopback (127.0.0.1 inside)"),
        ("2002:e000:1::", "multicast (224.0.0.1 inside)"),
    ],
)
def test_special_addresses_are_refused(address: str, kind: str) -> None:
    """Special addresses are refused in every notation."""
    error = f"http://hooks.example has the address {address}, which is {kind}, and not in webhook-allowed-networks"
    assert refusal(address) == error


@pytest.mark.parametrize(
    "address", ["10.201.0.1", "192.168.1.1", "203.0.113.9", "fd00::1", "2001:db8::1", "2002:cb00:7109::"]
)
def test_other_addresses_are_allowed(address: str) -> None:
    """Private networks are allowed, since receivers are often there."""
    assert refusal(address) == ""


@pytest.mark.parametrize(
    ("address", "port", "refused"),
    [
        ("10.96.0.1", 443, True),
        ("10.96.0.1", 80, False),
        ("192.0.2.7", 6443, True),
        ("192.0.2.7", 5000, False),
        ("2001:db8::7", 6443, True),
        ("::ffff:10.96.0.1", 443, True),
        ("64:ff9b::a60:1", 443, True),
    ],
)
def test_the_api_server_is_an_address_and_a_port(address: str, port: int, refused: bool) -> None:
    """Another port on the API server's machine is allowed."""
    assert ("the API server" in refusal(address, port)) == refused


@pytest.mark.parametrize(
    ("address", "allowed", "fits"),
    [
        ("127.0.0.1", "127.0.0.0/8", True),
        ("127.0.0.1", " 10.0.0.0/8 ,127.0.0.1/32,", True),
        ("::ffff:127.0.0.1", "127.0.0.0/8", True),
        ("127.0.0.1", "10.0.0.0/8", False),
        ("::1", "127.0.0.0/8", False),
        ("10.96.0.1", "10.96.0.0/12", True),
    ],
)
def test_allowed_networks(address: str, allowed: str, fits: bool) -> None:
    """The setting applies to the address itself and to an embedded address."""
    assert (refusal(address, 443, allowed) == "") == fits


def test_the_setting() -> None:
    """The setting is a comma-separated list of CIDRs and addresses; invalid entries are returned."""
    known, unknown = parse_networks("10.0.0.0/8, ::1, 10.0.0.1/8, localhost,, *")
    assert known == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
    assert unknown == ("10.0.0.1/8", "localhost", "*")
    assert parse_networks("") == ((), ())


def test_a_host_without_addresses() -> None:
    """A host without addresses can't be called."""
    with pytest.raises(OSError, match="no address"):
        allowed_target("http://hooks.example/", Rules(), lambda _host, _port: [])


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://hooks.example/T0/B0/x?token=1#f", "https://hooks.example"),
        ("https://me:pw@hooks.example:443/x", "https://hooks.example"),
        ("http://hooks.example:443/", "http://hooks.example:443"),
        ("http://[::1]:8080/é", "http://[::1]:8080"),
        ("http://h:99999/", "an invalid URL"),
    ],
)
def test_what_may_be_logged_of_a_url(url: str, text: str) -> None:
    """Only scheme, host and port may be logged: path and query often contain a secret."""
    assert shown_url(url) == text
