"""Benchmark of `ips-flow list` with many tasks: `python -m tests.scale.listing [--tasks 1000] [--nodes 1000]`.

It needs no cluster: the fake API server in this process has the tasks. The time of its responses is included.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from tests.fakes.apiserver import running
from tests.scale.measuring import measured
from tests.scale.server import fill

_ROUNDS = 5
_GOAL_SECONDS = 1.5


def main() -> None:
    """Measure and print a line per value; exit with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=1000, help="nodes per task")
    wanted = parser.parse_args()
    with running() as server, tempfile.TemporaryDirectory() as folder:
        fill(server, wanted.tasks, wanted.nodes)
        kubeconfig = server.kubeconfig(Path(folder))
        took = {
            output: [measured("list", "-o", output, kubeconfig=kubeconfig) for _ in range(_ROUNDS)]
            for output in ("table", "json")
        }
    medians = {output: statistics.median(one.seconds for one in runs) for output, runs in took.items()}
    for output, runs in took.items():
        processor = statistics.median(one.processor for one in runs)
        figures = f"{medians[output]:.2f} s ({processor:.2f} s of CPU)"
        print(f"ips-flow list -o {output}, {wanted.tasks} tasks of {wanted.nodes} nodes: {figures}")
    whole = took["json"][0].document["total"] == len(took["table"][0].text.splitlines()) - 1 == wanted.tasks
    sys.exit(0 if whole and medians["table"] <= _GOAL_SECONDS else 1)


if __name__ == "__main__":
    main()
