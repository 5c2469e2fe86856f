"""`ips-flow serve`."""

from __future__ import annotations

import re

import click

from ips_flows.cli.options.common import DurationType, Target, example, target_options


@click.command("serve", epilog=example("ips-flow serve -n ips-flow --port 8080 --auth none"))
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
@click.option(
    "--auth",
    type=click.Choice(["kubernetes", "none"]),
    default="kubernetes",
    show_default=True,
    help="Who decides what a caller may do: the cluster, by the caller's token, or nobody.",
)
@click.option(
    "--allow-unauthenticated",
    is_flag=True,
    help="Let --auth none listen on other addresses than this machine's own.",
)
@click.option(
    "--allowed-host",
    multiple=True,
    metavar="NAME",
    help="Another name by which --auth none may be called; repeatable.",
)
@click.option(
    "--argo-url",
    envvar="ARGO_URL",
    default="",
    metavar="URL",
    help="Where the Argo UI is, for the page to lead there; also from ARGO_URL.",
)
@click.option(
    "--linger",
    type=DurationType(),
    default=0,
    metavar="DURATION",
    help="How long it still serves after SIGTERM, while /readyz says that it ends  [default: 0].",
)
@target_options
def serve_command(
    target: Target,
    host: str,
    port: int,
    auth: str,
    allow_unauthenticated: bool,
    allowed_host: tuple[str, ...],
    argo_url: str,
    linger: float,
) -> None:
    """Serve the REST API and the page, and finish tasks whose last step was lost.

    All of this for one namespace. Of several servers all answer, and one finishes tasks. /docs describes the API,
    /readyz tells how it is; the log is JSON, a line an event.
    """
    from importlib.util import find_spec  # noqa: PLC0415

    from ips_flows.core.errors import IpsFlowError, UsageError  # noqa: PLC0415

    missing = [name for name in ("fastapi", "prometheus_client", "uvicorn") if not find_spec(name)]
    if missing:
        raise IpsFlowError(
            f"`ips-flow serve` needs packages that are not installed: {', '.join(missing)}",
            hint="Install the extra: pip install 'ips-flow[server]'.",
        )
    from ips_flows.server.auth import Authorizer, KubernetesAuthorizer, NoAuthorizer, is_loopback  # noqa: PLC0415
    from ips_flows.server.main import serve  # noqa: PLC0415

    if auth == "none" and not is_loopback(host) and not allow_unauthenticated:
        raise UsageError(
            f"--auth none on {host} would let everybody in who can reach it",
            hint="Listen on 127.0.0.1, leave --auth at kubernetes, or add --allow-unauthenticated.",
        )
    if argo_url and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", argo_url):
        raise UsageError(
            f"--argo-url is {argo_url!r}, expected an http or https URL",
            hint="Such as https://argo.example.com.",
        )
    kube, namespace = target.connect()
    authorizer: Authorizer = (
        KubernetesAuthorizer(kube, namespace) if auth == "kubernetes" else NoAuthorizer((host, *allowed_host))
    )
    serve(kube, namespace, host, port, authorizer=authorizer, argo_url=argo_url, linger=linger)
