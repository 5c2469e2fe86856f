"""Values for the completion of a shell."""

from __future__ import annotations

import click

from ips_flows.core.errors import IpsFlowError


def task_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the tasks; none if the cluster can't be reached, since a completion prints no error."""
    from ips_flows.cli.options.common import Target  # noqa: PLC0415
    from ips_flows.core.constants import LABEL_TASK  # noqa: PLC0415
    from ips_flows.kube.client import workflows  # noqa: PLC0415

    given = context.params
    target = Target(given.get("kubeconfig"), given.get("context"), given.get("namespace"))
    try:
        kube, namespace = target.connect()
        found = [
            str(one["metadata"]["name"])
            for one in kube.list(workflows(namespace), labels=f"{LABEL_TASK}=true", metadata_only=True)
        ]
    except IpsFlowError:
        return []
    already = given.get(parameter.name or "") or ()
    return [name for name in found if name.startswith(incomplete) and name not in already]
