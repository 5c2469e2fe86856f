"""`ips-flow serve`."""

from __future__ import annotations

import click

from ips_flows.cli.options import Target, example, target_options


@click.command("serve", epilog=example("ips-flow serve -n ips-flow --port 8080"))
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port",
    envvar="SERVER_PORT",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    metavar="N",
    help="On which port, also from SERVER_PORT; 0 is any free one.",
)
@target_options
def serve_command(target: Target, host: str, port: int) -> None:
    """Run the keeper of a namespace: it finishes tasks whose last step was lost.

    Of several at once one acts. /health, /healthz and /readyz tell how it is; the log is JSON, a line an event.
    """
    from importlib.util import find_spec  # noqa: PLC0415

    from ips_flows.errors import IpsFlowError  # noqa: PLC0415

    missing = [name for name in ("fastapi", "uvicorn") if not find_spec(name)]
    if missing:
        raise IpsFlowError(
            f"`ips-flow serve` needs packages that are not installed: {', '.join(missing)}",
            hint="Install the extra: pip install 'ips-flow[server]'.",
        )
    from ips_flows.server.serving import serve  # noqa: PLC0415

    kube, namespace = target.connect()
    serve(kube, namespace, host, port)
