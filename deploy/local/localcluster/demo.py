"""The demo: warm three images on real nodes, show progress and evidence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import cluster, images, layout, product
from .errors import LocalClusterError
from .narration import say

REQUEST = "images:\n" + "".join(f"  - {layout.REGISTRY}/{name}\n" for name in images.EXAMPLES)


def main(argv: Sequence[str]) -> int:
    """Start the cluster, warm the example images, show the evidence; return the task's exit code."""
    parser = argparse.ArgumentParser(
        prog="deploy/local/demo",
        description="Start the local cluster, warm three images on its nodes, and list them before and after.",
        epilog="example: deploy/local/demo",
    )
    parser.parse_args(argv)
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())  # one stream: a log has all lines, in their order
    with cluster.exclusive():
        cluster.up(nodes=None, fake_nodes=None, take_over=False, with_product=True)
    numbers = list(range(1, cluster.running().nodes + 1))
    say(
        "\nBefore: the example images on each node, as containerd lists them (deploy/local/ctr nodeN images ls)"
    )
    before = show(numbers)
    if all(before.values()):
        say("All images are on the nodes from an earlier run, so IPS Flow has nothing to pull.")
        say("To start without them, run deploy/local/down, then the demo again.")
    say(f"\n$ ips-flow run - <<EOF\n{REQUEST}EOF")
    code = product.flow("run", "-", stdin=REQUEST)
    say("\nAfter, as containerd lists them:")
    after = show(numbers)
    missing = [f"{image} on node{number}" for (number, image), there in after.items() if not there]
    if code == 0 and missing:
        raise LocalClusterError(f"the task is completed, but containerd does not list {', '.join(missing)}")
    own = f"{layout.REGISTRY}/team/app:1"
    say(
        f"""
Next steps, with an image of your own in a registry of this machine, which is all that the nodes reach:
  eval "$({cluster.short(layout.LOCAL / "env")})"; {cluster.short(layout.LOCAL / "image")} push team/app:1 --size 50MiB
  ips-flow plan --image {own} --insecure-registry {layout.REGISTRY}
  ips-flow run --image {own}
  {cluster.short(layout.LOCAL / "down")}     # removes the cluster"""
    )
    return code


def show(numbers: Sequence[int]) -> dict[tuple[int, str], bool]:
    """Print one line per node and example image, as containerd lists them; return whether each exists."""
    found: dict[tuple[int, str], bool] = {}
    for number in numbers:
        held = _held(number)
        for name in images.EXAMPLES:
            reference = f"{layout.REGISTRY}/{name}"
            digest, size = held.get(reference, ("", ""))
            found[number, reference] = bool(digest)
            print(
                f"  node{number}  {reference:38} {digest[:19] or 'missing':19} {size:>10}".rstrip(),
                flush=True,
            )
    return found


def _held(number: int) -> dict[str, tuple[str, str]]:
    """Return a map of reference → (digest, size) of the images in a node's containerd."""
    rows = [line.split() for line in cluster.ask(number, ["images", "ls"]).splitlines()[1:]]
    return {row[0]: (row[2], f"{row[3]} {row[4]}") for row in rows if len(row) > 4}
