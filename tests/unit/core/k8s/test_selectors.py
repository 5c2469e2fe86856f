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
    """A selector matches the same labels as in kubectl."""
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",", "expected a label key, got ','"),
        ("a,", "expected a label key, got the end"),
        ("a,,b", "expected a label key, got ','"),
        ("a in b", "expected '(' after 'in', got 'b'"),
        ("a in (b", "expected ',' or ')', got the end"),
        ("a in ()", "expected a label value, got ')'"),
        ("a in", "expected '(' after 'in', got the end"),
        ("a=b c", "expected ',' or the end, got 'c'"),
        ("a b", "expected '=', '==', '!=', 'in', 'notin' or ',', got 'b'"),
        ("!a=b", "expected ',' or the end, got '='"),
        ("!!a", "expected a label key, got '!'"),
        ("a>1", "expected '=', '==', '!=', 'in', 'notin' or ',', got '>'"),
        ("a=(b)", "expected a label value, got '('"),
        ("-a", "'-a' is not a label key"),
        ("X.io/a", "'X.io/a' is not a label key"),
        ("a=b/c", "'b/c' is not a label value"),
        ("a in (-)", "'-' is not a label value"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    """A selector that kubectl rejects is rejected; the message has what was expected and what was got."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_selector(text)
    assert str(caught.value) == message
