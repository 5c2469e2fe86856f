"""Every relative link of every README has a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.markdown import anchors, links
from tests.support.paths import README, ROOT, documents

NAMES = [str(path.relative_to(ROOT)) for path in documents()]


def broken(path: Path) -> list[str]:
    """Return the relative links of a file whose target file or heading does not exist."""
    text = path.read_text(encoding="utf-8")
    return [link for link in links(text) if "://" not in link and not _leads(path, link)]


def _leads(path: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = (path.parent / file).resolve() if file else path
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", NAMES)
def test_every_link_has_a_target(name: str) -> None:
    """The file and the heading of a link exist."""
    assert not broken(ROOT / name)


def test_every_readme_is_found_from_the_top() -> None:
    """Every README can be reached from the top README through links."""
    seen: set[Path] = set()
    ahead = [README]
    while ahead:
        path = ahead.pop()
        seen.add(path)
        files = [
            link.partition("#")[0] for link in links(path.read_text(encoding="utf-8")) if "://" not in link
        ]
        targets = {(path.parent / file).resolve() for file in files if file.endswith(".md")}
        ahead += targets - seen
    assert set(documents()) <= seen


def test_broken_links_are_reported(tmp_path: Path) -> None:
    """Missing files and headings are reported, also headings of the same file; links in code are ignored."""
    (tmp_path / "there.md").write_text(
        "# One, `two` & three\n\n## One\n\n## One\n\n```\n# none\n```\n", encoding="utf-8"
    )
    path = tmp_path / "README.md"
    path.write_text(
        "# Here\n[a](there.md) [b](there.md#one-two--three) [c](#here) [d](there.md#one-1) [e](https://x.example/#y)\n"
        "[f](gone.md) [g](there.md#none) [h](#there) `[i](code.md)`\n```\n[j](code.md)\n```\n",
        encoding="utf-8",
    )
    assert broken(path) == ["gone.md", "there.md#none", "#there"]
