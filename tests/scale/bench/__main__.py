"""Benchmark of IPS Flow and other ways to warm nodes: `python -m tests.scale.bench [--quick]`.

It prints a table and writes all values as JSON. It needs the local cluster (`deploy/local/up`), to which it adds
simulated nodes, and two hours; `--quick` runs the smallest size only. Runs of the same kind and size have the same
samples. `--nodes`, `--kinds` and `--forms` select runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from ips_flows.core.errors import ConflictError
from tests.cluster.conftest import Cluster, local
from tests.scale.bench.contest import NAMESPACE, OURS, PEERS, Form, Run, contend
from tests.scale.bench.samples import KINDS, Kind, samples
from tests.scale.bench.sizes import SIZES, window_of

_COMPARED = 2000  # the size at which all forms are compared; at other sizes only the rolling window runs
# The size of the slow runs: three images per node sent to all nodes at the same time, long tails behind barriers.
_COMPARED_SLOWLY = 1000
_HEAD = (
    "nodes",
    "pulls",
    "way",
    "window",
    "seconds",
    "÷ ideal",
    "peak",
    "writes",
    "driver",
    "control plane",
)


def main() -> None:
    """Run the benchmark; exit with 1 if a run did not complete or exceeded the window."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=_numbers, default=SIZES, metavar="N,…")
    parser.add_argument("--kinds", type=_names, default=tuple(KINDS), metavar=",".join(KINDS))
    parser.add_argument("--forms", type=_names, default=(*OURS, *PEERS), metavar=",".join((*OURS, *PEERS)))
    parser.add_argument("--quick", action="store_true", help=f"only {SIZES[0]} nodes")
    parser.add_argument("--all", action="store_true", help="run every kind and form at every size")
    parser.add_argument("--seed", default="bench")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for all values")
    given = parser.parse_args()
    sizes = SIZES[:1] if given.quick else tuple(sorted(given.nodes))
    chosen = [
        (size, cast("Kind", kind), cast("Form", form))
        for size in sizes
        for kind in given.kinds
        for form in given.forms
        if given.all or _is_of_interest(size, kind, form, sizes)
    ]
    runs = []
    print(_line(_HEAD), flush=True)
    for run in measure(chosen, given.seed):
        runs.append(run)
        print(_line(_cells(run)), flush=True)
        if given.json:  # after each run, because the remaining runs take long
            document = {"seed": given.seed, "runs": [one.to_json() for one in runs]}
            given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    wrong = [
        run
        for run in runs
        if run.status != "completed" or (run.form != "flood" and run.most_at_once > run.window)
    ]
    for run in wrong:
        print(
            f"WRONG: {run.nodes} {run.kind} {run.form}: {run.status}, {run.most_at_once} at the same time",
            file=sys.stderr,
        )
    sys.exit(bool(wrong))


def measure(chosen: Iterable[tuple[int, Kind, Form]], seed: str) -> Iterator[Run]:
    """Run the chosen runs, each on its number of simulated nodes; sizes must not decrease."""
    cluster = Cluster()
    with suppress(ConflictError):  # it exists from an earlier run
        cluster.kube.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    size = 0
    for nodes, kind, form in chosen:
        if nodes != size:
            local("up", "--fake-nodes", str(nodes))
            size = nodes
        drawn = samples(kind, seed, simulated(cluster))
        yield contend(cluster, form, kind, drawn, window=window_of(nodes))


def simulated(cluster: Cluster) -> list[str]:
    """Return the names of the simulated nodes."""
    nodes = cluster.kube.list("/api/v1/nodes", labels="type=kwok", metadata_only=True)
    return [node["metadata"]["name"] for node in nodes]


def _is_of_interest(size: int, kind: str, form: str, sizes: Sequence[int]) -> bool:
    """Return whether to run: the rolling window at every size, everything else at its most informative size."""
    compared = size == min(sizes, key=lambda one: abs(one - _COMPARED))
    slowly = size == min(sizes, key=lambda one: abs(one - _COMPARED_SLOWLY))
    if kind == "uniform" and form == "rolling":
        return True
    if kind == "ten":
        return form == "rolling" and size == max(sizes)
    if kind == "three":
        return form in ("rolling", "flood") and slowly
    if kind == "heavy" and slowly:
        return form in ("rolling", "barrier")
    return compared and (form == "rolling" or (kind == "uniform" and form != "flood"))


def _cells(run: Run) -> tuple[str, ...]:
    control = sum(
        run.usage[name]["seconds"] for name in ("apiserver", "etcd", "controller-manager", "scheduler")
    )
    driver = run.usage["drive"]
    return (
        str(run.nodes),
        run.kind,
        run.form,
        str(run.window),
        f"{run.seconds:.1f}",
        f"{run.ratio:.3f}",
        str(run.most_at_once),
        f"{run.floor:.2f}",
        f"{driver['seconds']:.1f} s {driver['mebibytes']:.0f} MiB",
        f"{control:.1f} s",
    )


def _line(cells: Sequence[str]) -> str:
    widths = (5, 7, 7, 6, 8, 7, 7, 6, 14, 13)
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    main()
