"""Where the parts of the checkout are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
EXAMPLES = DEPLOY / "examples"
MANIFESTS = ROOT / "tests" / "support" / "manifests"  # objects in which images are looked for
README = ROOT / "README.md"


def readmes() -> list[Path]:
    """Every README.md of the checkout."""
    folders = ("deploy", "ips_flows", "steps", "templates", "tests")
    return [README, *sorted(path for folder in folders for path in (ROOT / folder).rglob("README.md"))]
