"""By how much batches with a barrier are slower at best, over many seeds: `python -m tests.scale.bench.draws`.

Needs no cluster: list scheduling alone. When the slowest pulls come decides, so one seed says little.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median

from tests.scale.bench import ideal
from tests.scale.bench.samples import KINDS, Kind, samples
from tests.scale.bench.sizes import SIZES, window_of


def main() -> None:
    """Print the least, the median and the most for each size of the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=tuple(KINDS), default="heavy")
    parser.add_argument("--seeds", type=int, default=40, metavar="N", help="the seeds are 0 to N - 1")
    given = parser.parse_args()
    for size in SIZES:
        found = slower(given.kind, [str(seed) for seed in range(given.seeds)], size)
        print(f"{size:>6,} nodes: least {min(found):.1f}, median {median(found):.1f}, most {max(found):.1f}")


def slower(kind: Kind, seeds: Sequence[str], size: int) -> list[float]:
    """For each seed: list scheduling in batches that wait for their slowest node ÷ list scheduling in a window."""
    nodes = [f"fake{number:05}" for number in range(1, size + 1)]  # as the local cluster names them
    window = window_of(size)
    found = []
    for seed in seeds:
        busy = [sample.busy(KINDS[kind][1]) for sample in samples(kind, seed, nodes).values()]
        found.append(ideal.batches(busy, window) / ideal.rolling(busy, window))
    return found


if __name__ == "__main__":
    main()
