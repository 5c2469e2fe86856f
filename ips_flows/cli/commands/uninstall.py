"""`ips-flow uninstall`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example, target_options, timeout_option


@click.command("uninstall", epilog=example("ips-flow uninstall -n ips-flow --cancel"))
@click.option(
    "--cancel", is_flag=True, help="Cancel tasks that have not ended, and wait for their ends first."
)
@timeout_option("With --cancel: how long to wait at most; then nothing is removed  [exit code 1].")
@target_options
def uninstall_command(target: Target, cancel: bool, timeout: float | None) -> None:
    """Remove IPS Flow from a namespace. The namespace, ended tasks and images on nodes stay.

    While tasks have not ended it is refused: they would be left without their steps.
    """
    from ips_flows.cli.output.console import put  # noqa: PLC0415
    from ips_flows.operations.install.install import uninstall  # noqa: PLC0415

    kube, namespace = target.connect()
    uninstall(kube, namespace, cancel=cancel, say=put, timeout=timeout)
