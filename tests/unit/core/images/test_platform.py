"""Platforms of images and nodes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ips_flows.core.images.platform import Platform, match_rank, read_platform


@pytest.mark.parametrize(
    ("document", "platform"),
    [
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
        ({"os": "Linux", "architecture": "x86_64", "variant": "v1"}, "linux/amd64"),
        ({"os": "linux", "architecture": "amd64", "variant": "v3"}, "linux/amd64/v3"),
        ({"os": "linux", "architecture": "aarch64", "variant": "8"}, "linux/arm64"),
        ({"os": "linux", "architecture": "arm"}, "linux/arm/v7"),
        ({"os": "linux", "architecture": "arm", "variant": "6"}, "linux/arm/v6"),
        ({"os": "windows", "architecture": "amd64"}, "windows/amd64"),
        ({}, ""),
    ],
)
def test_platforms_are_normalised(document: Mapping[str, str], platform: str) -> None:
    """Different spellings of a platform are normalised as in containerd."""
    assert str(read_platform(document)) == platform


@pytest.mark.parametrize(
    ("architecture", "platform", "rank"),
    [
        ("amd64", Platform("linux", "amd64"), 0),
        ("amd64", Platform("linux", "386"), 1),
        ("amd64", Platform("linux", "amd64", "v3"), None),
        ("amd64", Platform("windows", "amd64"), None),
        ("amd64", Platform("linux", "arm64"), None),
        ("arm64", Platform("linux", "arm64"), 0),
        ("arm64", Platform("linux", "arm", "v7"), 2),
        ("arm64", Platform("linux", "amd64"), None),
        ("arm", Platform("linux", "arm", "v7"), 0),
        ("arm", Platform("linux", "arm", "v5"), 2),
        ("riscv64", Platform("linux", "riscv64"), 0),
    ],
)
def test_what_runs_on_a_node(architecture: str, platform: Platform, rank: int | None) -> None:
    """A node prefers its own architecture to other platforms that it runs."""
    assert match_rank(architecture, platform) == rank
