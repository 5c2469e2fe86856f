"""Samples of pull times and failures of simulated nodes, determined by seed and node."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["uniform", "heavy", "failing", "three", "ten"]

MEDIAN_SECONDS, P99_SECONDS = 20.0, 180.0
_Z99 = 2.3263478740408408  # of the standard normal distribution
_SIGMA = math.log(P99_SECONDS / MEDIAN_SECONDS) / _Z99
_FAILING = 0.02


@dataclass(frozen=True, slots=True)
class Sample:
    """A node's pull of one image. A permanent failure ends it; after a temporary one the node pulls again."""

    milliseconds: int
    failure: Literal["", "permanent", "passing"] = ""

    def busy(self, images: int) -> float:
        """Return the seconds that a node takes for this number of images, one after the other without pauses."""
        return self.milliseconds * images / 1000 * (2 if self.failure == "passing" else 1)

    def __str__(self) -> str:
        return f"{self.milliseconds} {self.failure}".rstrip()


def _uniform(draw: random.Random) -> Sample:
    return Sample(draw.randint(8_000, 12_000))


def _small(draw: random.Random) -> Sample:
    return Sample(draw.randint(800, 1_200))


def _heavy(draw: random.Random) -> Sample:
    return Sample(round(1000 * draw.lognormvariate(math.log(MEDIAN_SECONDS), _SIGMA)))


def _failing(draw: random.Random) -> Sample:
    milliseconds, luck = draw.randint(8_000, 12_000), draw.random()
    if luck >= _FAILING:
        return Sample(milliseconds)
    return Sample(milliseconds, "permanent" if luck < _FAILING / 2 else "passing")


# Description, images per node, function that draws a sample.
KINDS: Mapping[Kind, tuple[str, int, Callable[[random.Random], Sample]]] = {
    "uniform": ("one image, 8-12 s", 1, _uniform),
    "heavy": (f"one image, log-normal: median {MEDIAN_SECONDS:.0f} s, p99 {P99_SECONDS:.0f} s", 1, _heavy),
    "failing": ("one image, 8-12 s, 2 % of the nodes fail: half permanently, half once", 1, _failing),
    "three": ("three images, 8-12 s each", 3, _uniform),
    "ten": ("ten images, 0.8-1.2 s each", 10, _small),
}


def samples(kind: Kind, seed: str, nodes: Iterable[str]) -> dict[str, Sample]:
    """Return a sample for each node. It does not depend on the number of other nodes."""
    draw = KINDS[kind][2]
    return {node: draw(random.Random(f"{seed}/{kind}/{node}")) for node in nodes}  # noqa: S311
