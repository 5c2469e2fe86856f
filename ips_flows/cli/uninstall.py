"""`ips-flow uninstall`."""

from __future__ import annotations

import click

from ips_flows.cli.options import Target, example, target_options


@click.command("uninstall", epilog=example("ips-flow uninstall -n ips-flow"))
@click.option("--force", is_flag=True, help="Even if tasks have not ended: they lose their steps.")
@target_options
def uninstall_command(target: Target, force: bool) -> None:
    """Remove IPS Flow from a namespace. The namespace, ended tasks and images on nodes stay."""
    from ips_flows.cli.narration import put  # noqa: PLC0415
    from ips_flows.installation import uninstall  # noqa: PLC0415

    kube, namespace = target.connect()
    uninstall(kube, namespace, force=force, say=put)
