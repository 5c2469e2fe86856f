"""`ips-flow serve`."""

from __future__ import annotations

import re

import click

from ips_flows.cli.options.common import DurationType, Target, example, target_options
from ips_flows.cli.options.option import option


@click.command("serve", epilog=example("ips-flow serve -n ips-flow --port 8080 --auth none"))
@option("--host", default="127.0.0.1", metavar="ADDRESS", help="Address to listen on.")
@option(
    "--port",
    envvar="SERVER_PORT",
    type=click.IntRange(0, 65535),
    default=8080,
    metavar="N",
    help="Port to listen on; 0 selects a free port; also from SERVER_PORT.",
)
@option(
    "--auth",
    type=click.Choice(["kubernetes", "none"]),
    default="kubernetes",
    help="Access control: `kubernetes` checks the caller's token and permissions in the cluster,"
    " `none` gives every caller full access.",
)
@option(
    "--allow-unauthenticated",
    is_flag=True,
    help="Allow --auth none on addresses other than this machine's loopback.",
)
@option(
    "--allowed-host",
    multiple=True,
    metavar="NAME",
    help="With --auth none: accept requests with this host name too; repeatable.",
)
@option(
    "--argo-url",
    envvar="ARGO_URL",
    default="",
    metavar="URL",
    help="Base URL of the Argo UI, for links in the web page; also from ARGO_URL.",
)
@option(
    "--linger",
    type=DurationType(),
    default=0,
    metavar="DURATION",
    help="How long to continue serving after SIGTERM, while /readyz returns 503.",
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
    """Serve the REST API and the web page, and finish tasks whose last step did not run.

    A server is for one namespace. If several run, all serve requests and one of them finishes tasks. /docs describes
    the API, /readyz shows the state of the server. The log has one JSON object per line.
    """
    from importlib.util import find_spec  # noqa: PLC0415

    from ips_flows.core.errors import IpsFlowError, UsageError  # noqa: PLC0415

    missing = [name for name in ("fastapi", "prometheus_client", "uvicorn") if not find_spec(name)]
    if missing:
        raise IpsFlowError(
            f"`ips-flow serve` requires packages that are not installed: {', '.join(missing)}",
            hint="Install the extra: pip install 'ips-flow[server]'.",
        )
    from ips_flows.server.auth import Authorizer, KubernetesAuthorizer, NoAuthorizer, is_loopback  # noqa: PLC0415
    from ips_flows.server.main import serve  # noqa: PLC0415

    if auth == "none" and not is_loopback(host) and not allow_unauthenticated:
        raise UsageError(
            f"--auth none on {host} gives access to every client that can connect",
            hint="Listen on 127.0.0.1, use --auth kubernetes, or add --allow-unauthenticated.",
        )
    if argo_url and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", argo_url):
        raise UsageError(
            f"--argo-url: got {argo_url!r}; expected an http or https URL",
            hint="Use a URL such as https://argo.example.com.",
        )
    kube, namespace = target.connect()
    authorizer: Authorizer = (
        KubernetesAuthorizer(kube, namespace) if auth == "kubernetes" else NoAuthorizer((host, *allowed_host))
    )
    serve(kube, namespace, host, port, authorizer=authorizer, argo_url=argo_url, linger=linger)
