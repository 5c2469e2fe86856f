"""Disks of nodes."""

from __future__ import annotations

from ips_flows.core.forecast.disk import Disk, overflows, read_disk, triggers_garbage_collection


def test_disks_as_a_kubelet_reports_them() -> None:
    """The image file system is used, else the node's; the configured threshold, else the default one."""
    file_system = {"availableBytes": 40, "capacityBytes": 100}
    both = {"node": {"runtime": {"imageFs": file_system}, "fs": {"availableBytes": 1, "capacityBytes": 2}}}
    assert read_disk(both, {"kubeletconfig": {"imageGCHighThresholdPercent": 70}}) == Disk(40, 100, 70)
    assert read_disk({"node": {"fs": file_system}}, {}) == Disk(40, 100, 85)
    assert read_disk({}, {}) is None
    assert read_disk({"node": {"fs": {"availableBytes": 1, "capacityBytes": 0}}}, {}) is None


def test_space_on_a_disk() -> None:
    """The compressed bytes must fit; three times as much decides whether the kubelet would remove images."""
    assert overflows(Disk(10, 100), 11)
    assert not overflows(Disk(10, 100), 10)
    assert not triggers_garbage_collection(Disk(45, 100), 10)
    assert triggers_garbage_collection(Disk(44, 100), 10)
    assert not triggers_garbage_collection(Disk(10, 100, 100), 10)
