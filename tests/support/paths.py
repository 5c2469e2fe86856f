"""Paths of the checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
EXAMPLES = DEPLOY / "examples"
MANIFESTS = ROOT / "tests" / "support" / "manifests"  # input of the tests of `ips-flow images`
README = ROOT / "README.md"
GITHUB = ROOT / ".github"


def readmes() -> list[Path]:
    """Return the paths of all README.md files of the checkout."""
    folders = ("deploy", "ips_flows", "steps", "templates", "tests")
    return [README, *sorted(path for folder in folders for path in (ROOT / folder).rglob("README.md"))]


def documents() -> list[Path]:
    """Return the paths of all Markdown documents: every README.md, and those of `.github`."""
    return [*readmes(), *sorted(GITHUB.glob("*.md"))]
