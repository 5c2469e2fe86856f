"""Several files name the version; they must agree."""

from __future__ import annotations

import re
import tomllib

import pytest

from ips_flows import __version__
from tests.support.paths import ROOT

_NAMED = re.compile(r"\bips-flow:(\d+\.\d+\.\d+)\b|newTag: (\d+\.\d+\.\d+)\b")


def test_the_package_has_the_version_of_the_program() -> None:
    """`pip show` and `ips-flow version` agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


@pytest.mark.parametrize("folder", ["ips_flows", "deploy", "README.md"])
def test_every_image_of_ours_has_the_version_of_the_program(folder: str) -> None:
    """Manifests, examples and documents name the image of this version."""
    files = sorted((ROOT / folder).rglob("*")) if (ROOT / folder).is_dir() else [ROOT / folder]
    named = {
        (str(path.relative_to(ROOT)), match[1] or match[2])
        for path in files
        if path.suffix in {".py", ".yaml", ".md", ""} and path.is_file()
        for match in _NAMED.finditer(path.read_text(encoding="utf-8"))
    }
    assert {version for _, version in named} == {__version__}, named
