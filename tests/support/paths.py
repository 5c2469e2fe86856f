"""Where the parts of the checkout are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
EXAMPLES = DEPLOY / "examples"
MANIFESTS = ROOT / "tests" / "support" / "manifests"  # objects in which images are looked for
README = ROOT / "README.md"
