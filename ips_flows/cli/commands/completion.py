"""`ips-flow completion`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import example


@click.command(
    "completion", epilog=example('eval "$(ips-flow completion bash)"', "ips-flow completion fish | source")
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion_command(context: click.Context, /, *, shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (click knows all three)
    click.echo(kind(context.find_root().command, {}, "ips-flow", "_IPS_FLOW_COMPLETE").source())
