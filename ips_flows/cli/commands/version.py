"""`ips-flow version`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options
from ips_flows.cli.options.option import option
from ips_flows.cli.output.console import put, say
from ips_flows.core.k8s import objects
from ips_flows.core.version import __version__


@click.command("version", epilog=example("ips-flow version -o json"))
@option("--client", is_flag=True, help="Show only the version of this program; do not connect to a cluster.")
@output_option("table", "json", "yaml")
@target_options
def version_command(*, target: Target, output: str, client: bool) -> None:
    """Show the versions of the program and of the installed templates."""
    from ips_flows.cli.output.documents import put_document  # noqa: PLC0415
    from ips_flows.cli.output.tables import NOTHING  # noqa: PLC0415

    namespace, templates, why = ("", None, "") if client else _templates(target)
    if output == "table":
        put(f"ips-flow    {__version__}")
        if not client:
            where = f"   (namespace {namespace})" if templates else ""
            put(f"templates   {templates or NOTHING}{where}")
    else:
        there = {"namespace": namespace, "templates": templates} if namespace else None
        put_document({"client": __version__, **({} if client else {"cluster": there})}, output)
    if why:
        say(f"templates: {why}")


def _templates(target: Target) -> tuple[str, str | None, str]:
    """Return the namespace, the version of its templates, and the reason if there is no version."""
    from ips_flows.core.constants import ANNOTATION_VERSION, TEMPLATE_PREWARM  # noqa: PLC0415
    from ips_flows.core.errors import IpsFlowError  # noqa: PLC0415
    from ips_flows.kube.client import workflows  # noqa: PLC0415

    namespace = ""
    try:
        kube, namespace = target.connect()
        found = kube.get(workflows(namespace, TEMPLATE_PREWARM, "workflowtemplates"), metadata_only=True)
    except IpsFlowError as error:
        return namespace, None, error.message
    version = objects.annotations(found).get(ANNOTATION_VERSION)
    return namespace, version, "" if version else "they have no version annotation"
