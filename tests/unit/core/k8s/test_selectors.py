from __future__ import annotations

import pytest

from ips_flows.core.k8s.selectors import parse_selector

LABELS = {"disk": "ssd", "zone": "a", "empty": "", "example.com/x": "1", "in": "y"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("  ", True),
        ("disk=ssd", True),
        ("disk==ssd", True),
        ("disk = hdd", False),
        ("disk!=ssd", False),
        ("gone!=ssd", True),
        ("disk", True),
        ("gone", False),
        ("!gone", True),
        ("! disk", False),
        ("zone in (a,b)", True),
        ("zone in(b)", False),
        ("zone notin (b, c)", True),
        ("gone notin (b)", True),
        ("zone notin (a)", False),
        ("empty=", True),
        ("empty in (,x)", True),
        ("empty=,disk=ssd", True),
        ("disk=ssd,zone in (a),!gone,example.com/x", True),
        ("disk=ssd,zone=b", False),
        ("in in (y,notin)", True),
        ("in", True),
    ],
)
def test_matches(text: str, *, matches: bool) -> None:
    """A selector selects what kubectl would select with it."""
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",", "',' where a label key must stand"),
        ("a,", "the end where a label key must stand"),
        ("a,,b", "',' where a label key must stand"),
        ("a in b", "'b' where '(' must stand"),
        ("a in (b", "the end where ',' or ')' must stand"),
        ("a in ()", "')' where a label value must stand"),
        ("a in", "the end where '(' must stand"),
        ("a=b c", "'c' where ',' or the end must stand"),
        ("a b", "'b' where '=', '==', '!=', 'in', 'notin' or ',' must stand"),
        ("!a=b", "'=' where ',' or the end must stand"),
        ("!!a", "'!' where a label key must stand"),
        ("a>1", "'>' where '=', '==', '!=', 'in', 'notin' or ',' must stand"),
        ("a=(b)", "'(' where a label value must stand"),
        ("-a", "'-a' is not a label key"),
        ("X.io/a", "'X.io/a' is not a label key"),
        ("a=b/c", "'b/c' is not a label value"),
        ("a in (-)", "'-' is not a label value"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    """What kubectl would refuse is refused with what stands where it must not."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_selector(text)
    assert str(caught.value) == message
