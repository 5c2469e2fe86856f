"""The local cluster: it stops even if the kernel removes a part of it at the same time; its caches stay bounded."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from localcluster import cgroups, layout, network, product
from localcluster.errors import LocalClusterError

# A fake `ip`. Links are files next to it; the commands in a file run just before its link is deleted.
_IP = """#!/bin/sh
cd "$(dirname "$0")"
case "$2" in
  show) [ -e "link-$3" ] ;;
  del) sh "link-$3"; rm "link-$3" ;;
esac
"""

Link = Callable[[str, str], Path]


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Link:
    """Return a function that creates a link, with a command to run just before the link is deleted."""
    (tmp_path / "ip").write_text(_IP)
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def make(name: str, then: str) -> Path:
        file = tmp_path / f"link-{name}"
        file.write_text(then)
        return file

    return make


def test_a_link_that_the_kernel_removes_meanwhile(link: Link) -> None:
    """The kernel deletes a link with its network namespace, between the listing and the deletion."""
    gone, bridge = link("lcv2", "rm link-lcv2"), link(layout.BRIDGE, "true")
    network.remove()
    assert not gone.exists()
    assert not bridge.exists()


def test_a_link_that_cannot_be_removed(link: Link) -> None:
    link("lcv1", "rm link-lcv1; mkdir link-lcv1")
    with pytest.raises(LocalClusterError, match="ip link del lcv1"):
        network.remove()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
def test_a_pods_group_that_is_deleted_while_it_is_read(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path)
    for name, text in {"": "", "node1": "12\n", "node1/pod": "13\n"}.items():
        group = tmp_path / cgroups.ROOT / name
        group.mkdir(parents=True)
        (group / "cgroup.procs").write_text(text)
    (tmp_path / "cgroup.procs").touch()
    read = Path.read_text

    def vanishing(path: Path) -> str:
        if path.parent.name == "pod":
            raise OSError(number, "gone")
        return read(path)

    monkeypatch.setattr(Path, "read_text", vanishing)
    assert cgroups.members() == {12}


def test_virtual_environments_of_deleted_checkouts_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment stays as long as its checkout exists, and while it is being made (then it has no key)."""
    monkeypatch.setattr(layout, "cache", lambda: tmp_path)
    key = layout.tree_hash(Path(__file__))
    for name, checkout in (("venv-1", tmp_path), ("venv-2", tmp_path / "gone")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(f"{key}{checkout}")
    (tmp_path / "venv-3").mkdir()
    product.remove_abandoned_venvs()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["venv-1", "venv-3"]
