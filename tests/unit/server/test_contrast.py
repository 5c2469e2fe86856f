"""The colours of the page, from its style sheet."""

from __future__ import annotations

import re

import pytest

from tests.browser.site import WEB

# Text and background.
_PAIRS = [
    ("text", "bg"),
    ("text", "surface"),
    ("text", "sunken"),
    ("muted", "bg"),
    ("muted", "surface"),
    ("muted", "sunken"),
    ("accent", "bg"),
    ("accent", "surface"),
    ("accent", "sunken"),
    ("accent", "accent-soft"),
    ("on-accent", "accent"),
    ("on-danger", "danger"),
    ("danger", "surface"),
    ("failed", "sunken"),
    ("completed", "surface"),
    ("failed", "surface"),
    ("cancelled", "surface"),
    ("bg", "text"),
    *((status, f"{status}-soft") for status in ("pending", "running", "completed", "failed", "cancelled")),
]
_FORMS = [("edge", "surface"), ("accent", "surface"), ("tile-ink", "tile-failed")]  # borders, focus, marks


def tokens() -> dict[str, dict[str, str]]:
    """Return the colours of both themes. The dark theme inherits those that it does not set."""
    text = (WEB / "style" / "tokens.css").read_text("utf-8")
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    themes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in (light, dark)]
    return {"light": themes[0], "dark": {**themes[0], **themes[1]}}


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read(theme: str) -> None:
    """Text has a contrast of at least 4.5 to its background; borders, focus and marks of at least 3."""
    colours = tokens()[theme]
    poor = [
        f"{one} on {other}: {contrast(colours[one], colours[other]):.2f}"
        for pairs, least in ((_PAIRS, 4.5), (_FORMS, 3.0))
        for one, other in pairs
        if contrast(colours[one], colours[other]) < least
    ]
    assert poor == []


def test_the_sheets_name_no_colour_of_their_own() -> None:
    """The other style sheets use colours of tokens.css only, so the test above covers them."""
    for sheet in (WEB / "style").glob("*.css"):
        if sheet.name != "tokens.css":
            found = re.findall(r"#[0-9a-f]{3,8}\b|\brgb\(|\bhsl\(", sheet.read_text("utf-8"))
            assert found == [], sheet.name
