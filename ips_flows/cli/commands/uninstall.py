"""`ips-flow uninstall`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example, target_options, timeout_option
from ips_flows.cli.options.option import option


@click.command("uninstall", epilog=example("ips-flow uninstall -n ips-flow --cancel"))
@option("--cancel", is_flag=True, help="First cancel the tasks that have not ended, and wait until they end.")
@timeout_option("With --cancel: stop waiting after this time and remove nothing; the exit code is 1.")
@target_options
def uninstall_command(target: Target, cancel: bool, timeout: float | None) -> None:
    """Remove IPS Flow from a namespace. The namespace, ended tasks and images on nodes stay.

    Without --cancel it fails if tasks have not ended: they need the templates of their steps.
    """
    from ips_flows.cli.output.console import put  # noqa: PLC0415
    from ips_flows.operations.install.install import uninstall  # noqa: PLC0415

    kube, namespace = target.connect()
    uninstall(kube, namespace, cancel=cancel, say=put, timeout=timeout)
