"""Ratio of batches with a barrier to a rolling window, over many seeds: `python -m tests.scale.bench.draws`.

It computes list scheduling only and needs no cluster. The result depends on the positions of the slowest pulls, so a
single seed is not representative.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median

from tests.scale.bench import ideal
from tests.scale.bench.samples import KINDS, Kind, samples
from tests.scale.bench.sizes import SIZES, window_of


def main() -> None:
    """Print minimum, median and maximum for each size of the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=tuple(KINDS), default="heavy")
    parser.add_argument("--seeds", type=int, default=40, metavar="N", help="the seeds are 0 to N - 1")
    given = parser.parse_args()
    for size in SIZES:
        found = slower(given.kind, [str(seed) for seed in range(given.seeds)], size)
        print(f"{size:>6,} nodes: min {min(found):.1f}, median {median(found):.1f}, max {max(found):.1f}")


def slower(kind: Kind, seeds: Sequence[str], size: int) -> list[float]:
    """Return, for each seed, list scheduling in batches with a barrier ÷ list scheduling in a rolling window."""
    nodes = [f"fake{number:05}" for number in range(1, size + 1)]  # the names in the local cluster
    window = window_of(size)
    found = []
    for seed in seeds:
        busy = [sample.busy(KINDS[kind][1]) for sample in samples(kind, seed, nodes).values()]
        found.append(ideal.batches(busy, window) / ideal.rolling(busy, window))
    return found


if __name__ == "__main__":
    main()
