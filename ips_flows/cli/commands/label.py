"""`ips-flow label`."""

from __future__ import annotations

import signal
import threading

import click

from ips_flows.cli.options.common import Target, example, target_options


@click.command("label", epilog=example("ips-flow label -n ips-flow"))
@target_options
def label_command(*, target: Target) -> None:
    """Label the nodes that have all images of a set, and remove the label from the other nodes.

    The sets are in ConfigMap ips-sets: each key is a name, each value a request or a list of images. The command
    runs until it is stopped.
    """
    from ips_flows import jsonlog  # noqa: PLC0415
    from ips_flows.controller.node_labels import label_nodes  # noqa: PLC0415

    kube, namespace = target.connect()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    jsonlog.start()
    label_nodes(kube, namespace, stop)
