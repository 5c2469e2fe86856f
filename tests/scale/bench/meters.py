"""Costs of a run: writes to the API server from its metrics, and CPU time and memory of processes."""

from __future__ import annotations

import os
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import processes
from tests.cluster.conftest import Cluster

_ETCD = "http://127.0.0.1:23790"
_WRITES = ("POST", "PUT", "PATCH", "DELETE", "APPLY", "DELETECOLLECTION")
# Resources that a run writes, without the heartbeats of nodes and leases.
_RESOURCES = ("pods", "jobs", "configmaps", "events", "workflows", "workflowtaskresults")
_TICKS = os.sysconf("SC_CLK_TCK")
_BEAT_SECONDS = 0.5

Writes = Counter[tuple[str, str]]


def writes(cluster: Cluster) -> Writes:
    """Return the number of writes so far by (verb, resource or resource/subresource).

    Writes to missing objects are left out: kwok deletes pods again that were deleted immediately.
    """
    found: Writes = Counter()
    for labels, value in apiserver_samples(cluster, "apiserver_request_total"):
        verb, resource = labels.get("verb", ""), labels.get("resource", "")
        if labels.get("code") != "404" and verb in _WRITES and resource in _RESOURCES:
            part = f"/{labels['subresource']}" if labels.get("subresource") else ""
            found[verb, resource + part] += int(value)
    return found


def apiserver_samples(cluster: Cluster, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
    """Yield labels and value of each sample of an API server's metric."""
    command = ["kubectl", "get", "--raw", "/metrics"]
    told = subprocess.run(command, env=cluster.environment, check=True, capture_output=True, text=True).stdout
    return _samples(told, name)


def etcd_bytes() -> int:
    """Return the bytes written to etcd so far, from its metrics."""
    with urllib.request.urlopen(f"{_ETCD}/metrics", timeout=10) as answer:  # noqa: S310  (http, on this machine)
        told = answer.read().decode()
    return int(sum(value for _, value in _samples(told, "etcd_debugging_mvcc_total_put_size_in_bytes")))


def _samples(told: str, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
    for family in text_string_to_metric_families(told):
        for sample in family.samples:
            if sample.name == name:
                yield sample.labels, sample.value


def per_node(counted: Mapping[tuple[str, str], int], nodes: int) -> dict[str, float]:
    """Return writes per node, such as `POST pods` → 1.0, in descending order."""
    ranked = sorted(counted.items(), key=lambda one: -one[1])
    return {f"{verb} {resource}": round(count / nodes, 3) for (verb, resource), count in ranked if count}


def floor_share(counted: Mapping[tuple[str, str], int], nodes: int) -> float:
    """Return the writes per node without events and the kubelet's updates of pod status."""
    left_out = ("events", "pods/status")
    return sum(count for (_, resource), count in counted.items() if resource not in left_out) / nodes


class Usage:
    """CPU seconds and peak memory of processes while it is open: daemons by name, steps by task."""

    def __init__(self, daemons: Iterable[str], steps: Mapping[str, Callable[[], list[int]]]) -> None:
        self._steps = steps
        self._pids = {name: {processes.daemon(name)} for name in daemons}
        self._cpu: dict[tuple[str, int], float] = {}
        self._peak: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        for pids in self._pids.values():
            for pid in pids:
                Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # resets the peak
        self._before = {name: sum(map(_seconds, pids)) for name, pids in self._pids.items()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self._look()

    def result(self) -> dict[str, dict[str, float]]:
        """Return name → CPU seconds and peak MiB."""
        names = dict.fromkeys((*self._pids, *self._steps))
        return {
            name: {
                "seconds": round(
                    sum(seconds for (of, _), seconds in self._cpu.items() if of == name)
                    - self._before.get(name, 0.0),
                    2,
                ),
                "mebibytes": round(self._peak.get(name, 0.0), 1),
            }
            for name in names
        }

    def _run(self) -> None:
        while not self._stop.wait(_BEAT_SECONDS):
            self._look()

    def _look(self) -> None:
        found = {**self._pids, **{name: set(find()) for name, find in self._steps.items()}}
        for name, pids in found.items():
            for pid in pids:
                try:
                    self._cpu[name, pid] = _seconds(pid)
                    self._peak[name] = max(self._peak.get(name, 0.0), _peak(pid))
                except (FileNotFoundError, ProcessLookupError):  # it ended in the meantime
                    continue


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
