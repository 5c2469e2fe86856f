"""The commands of deploy/local. This module is the only one that reports errors."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import cluster, demo, images, layout, oci, processes, product, registry
from .errors import LocalClusterError
from .narration import say


def main(command: str, argv: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    if os.geteuid() != 0 and not {"-h", "--help"} & set(argv):
        say(
            "error: the local cluster needs root: it creates namespaces, mounts and cgroups\n  hint: use sudo"
        )
        return 1
    try:
        return COMMANDS[command](list(argv))
    except LocalClusterError as error:
        say(error.report())
        return 1
    except KeyboardInterrupt:
        say("interrupted; run the command again to continue, or deploy/local/down to remove the cluster")
        return 130


def _parser(command: str, description: str, example: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"deploy/local/{command}", description=description, epilog=f"example: {example}"
    )


def _end_quietly_with_the_reader() -> None:
    """Let `status | head` end without a traceback."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _count(low: int, high: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text}: expected a number from {low} to {high}")
        return int(text)

    return count


def up(argv: list[str]) -> int:
    """Start the cluster."""
    parser = _parser(
        "up", "Start the local cluster, or the parts that do not run.", "deploy/local/up --nodes 3"
    )
    parser.add_argument(
        "--nodes", type=_count(1, layout.MAX_NODES), metavar="N", help="real nodes (default: 2)"
    )
    parser.add_argument(
        "--fake-nodes",
        type=_count(0, 10_000),
        metavar="M",
        help="simulated nodes (default: 0); a lower number removes nodes",
    )
    parser.add_argument(
        "--stock-limits",
        action=argparse.BooleanOptionalAction,
        help="use the controllers' stock limits: 20 requests a second, and Argo processes a Workflow every 10 s",
    )
    parser.add_argument("--take-over", action="store_true", help="stop the cluster of another checkout first")
    parser.add_argument(
        "--no-product", action="store_true", help="start the cluster with Argo, without IPS Flow"
    )
    options = parser.parse_args(argv)
    with cluster.exclusive():
        cluster.up(
            nodes=options.nodes,
            fake_nodes=options.fake_nodes,
            take_over=options.take_over,
            with_product=not options.no_product,
            stock_limits=options.stock_limits,
        )
    return 0


def down(argv: list[str]) -> int:
    """Stop the cluster."""
    _parser(
        "down", "Stop the local cluster and remove everything except the caches.", "deploy/local/down"
    ).parse_args(argv)
    with cluster.exclusive():
        cluster.down()
    return 0


def status(argv: list[str]) -> int:
    """Show the cluster."""
    _end_quietly_with_the_reader()
    _parser(
        "status", "Print one line per part; exit 0 only if all parts run.", "deploy/local/status"
    ).parse_args(argv)
    return 0 if cluster.status() else 1


def env(argv: list[str]) -> int:
    """Print the exports for a shell."""
    _end_quietly_with_the_reader()
    _parser("env", "Print the environment variables for a shell.", 'eval "$(deploy/local/env)"').parse_args(
        argv
    )
    cluster.mine()
    folders = [layout.venv() / "bin", layout.binary("kubectl").parent, layout.binary("ctr").parent]
    before = [entry for entry in os.environ.get("PATH", "").split(":") if entry not in map(str, folders)]
    exports = {
        "KUBECONFIG": str(layout.KUBECONFIG),
        "IPS_FLOW_NAMESPACE": layout.NAMESPACE,
        "IPS_LOCAL_REGISTRY": layout.REGISTRY,
        "IPS_LOCAL_PRIVATE_REGISTRY": layout.PRIVATE_REGISTRY,
        "PATH": ":".join([*map(str, folders), *before]),
    }
    for name, value in exports.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def ctr(argv: list[str]) -> int:
    """Run containerd's client in a node."""
    if not argv or argv[0] in {"-h", "--help"}:
        print("usage: deploy/local/ctr NODE [ctr's arguments]\nexample: deploy/local/ctr node1 images ls -q")
        return 0 if argv else 2
    match = re.fullmatch(r"node([1-9])", argv[0])
    if match is None:
        raise LocalClusterError(f"got {argv[0]}, expected node1 … node{layout.MAX_NODES}")
    return cluster.client(int(match[1]), argv[1:])


def image(argv: list[str]) -> int:
    """Create and push an image of random layers."""
    parser = _parser(
        "image",
        "Create an image that no node has, and push it.",
        "deploy/local/image push tests/a:1 --size 8MiB",
    )
    parser.add_argument("verb", choices=["push"])
    parser.add_argument("name", metavar="NAME:TAG")
    parser.add_argument(
        "--size",
        type=_size,
        default=1 << 20,
        help="size of all layers together, such as 512KiB or 1MiB (default: 1MiB)",
    )
    parser.add_argument("--layers", type=_count(1, 100), default=1, help="number of layers (default: 1)")
    parser.add_argument("--runnable", action="store_true", help="add busybox")
    parser.add_argument(
        "--registry",
        default=layout.REGISTRY,
        metavar="HOST:PORT",
        help=f"registry to push to, such as {layout.PRIVATE_REGISTRY}, which needs a pull Secret"
        f" (default: {layout.REGISTRY})",
    )
    options = parser.parse_args(argv)
    repository, _, tag = options.name.partition(":")
    made = images.fresh(options.size, options.layers, runnable=options.runnable)
    known = {layout.PRIVATE_REGISTRY: registry.private_client()}
    target = known.get(options.registry) or oci.Registry(options.registry)
    target.push(made, repository, tag or "latest")
    print(f"{options.registry}/{repository}:{tag or 'latest'}@{made.digest}")
    return 0


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)(KiB|MiB|GiB)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text}: expected a size such as 512KiB or 1MiB")
    return int(match[1]) << {None: 0, "KiB": 10, "MiB": 20, "GiB": 30}[match[2]]


def venv(argv: list[str]) -> int:
    """Create the virtual environment of this checkout; print only its path to stdout."""
    _parser(
        "venv",
        "Create the virtual environment with IPS Flow and its tools, and print its path.",
        "deploy/local/venv",
    ).parse_args(argv)
    product.ensure_venv()
    print(layout.venv())
    return 0


def kill(argv: list[str]) -> int:
    """Kill a part to simulate a fault."""
    parser = _parser("kill", "Kill a part to simulate a fault; `up` restarts it.", "deploy/local/kill node2")
    parser.add_argument("part", help="nodeN (with all its pods), or the name of a daemon as status prints it")
    options = parser.parse_args(argv)
    match = re.fullmatch(r"node([1-9])", options.part)
    if match is not None:
        say(f"killed {cluster.kill_node(int(match[1]))} processes of {options.part}")
        return 0
    record = processes.read(options.part)
    if record is None:
        raise LocalClusterError(
            f"no part {options.part} in the cluster", hint="deploy/local/status lists them"
        )
    processes.kill(record)
    say(f"killed {options.part} (pid {record.pid})")
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "up": up,
    "down": down,
    "status": status,
    "env": env,
    "ctr": ctr,
    "demo": demo.main,
    "image": image,
    "kill": kill,
    "venv": venv,
}


def entry() -> None:
    """Run the command that has the name of the called file."""
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
