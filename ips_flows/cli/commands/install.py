"""`ips-flow install`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import DurationType, Target, example, target_options
from ips_flows.cli.options.option import option


@click.command(
    "install",
    epilog=example(
        "ips-flow install -n ips-flow --create-namespace --image registry.example.com/ips-flow:0.1.0"
    ),
)
@option(
    "--image",
    envvar="IPS_FLOW_IMAGE",
    metavar="REF",
    help="Image of the step pods; also from IPS_FLOW_IMAGE.",
    default_text="ips-flow:VERSION",
)
@option(
    "--worker-image",
    envvar="WORKER_IMAGE",
    metavar="REF",
    help="Image of the pull pods: a small image with a static /bin/busybox; also from WORKER_IMAGE.",
    default_text="kept, else busybox:1.37-musl",
)
@option(
    "--max-concurrent-tasks",
    envvar="MAX_CONCURRENT_TASKS",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Maximum number of tasks that run at the same time; also from MAX_CONCURRENT_TASKS.",
    default_text="kept, else 3",
)
@option(
    "--keep",
    type=DurationType(),
    metavar="DURATION",
    help="How long ended tasks are kept.",
    default_text="7d",
)
@option(
    "--without-priority-policy",
    is_flag=True,
    help="Do not install the cluster-wide policy that sets the priority of tasks from Argo's submit form.",
)
@option(
    "--with-server",
    is_flag=True,
    help="Also run `ips-flow serve` in the namespace, which is the keeper of its tasks.",
    default_text="kept, else off",
)
@option("--create-namespace", is_flag=True, help="Create the namespace, with restricted Pod Security.")
@option("--dry-run", is_flag=True, help="Print the objects as YAML and change nothing.")
@target_options
def install_command(
    target: Target,
    image: str | None,
    worker_image: str | None,
    max_concurrent_tasks: int | None,
    keep: float | None,
    without_priority_policy: bool,
    with_server: bool,
    create_namespace: bool,
    dry_run: bool,
) -> None:
    """Install IPS Flow into a namespace, or upgrade it. Installing the same version again changes nothing."""
    from ips_flows.cli.output.console import put, say  # noqa: PLC0415
    from ips_flows.core.images.reference import parse_reference  # noqa: PLC0415
    from ips_flows.operations.install.install import install  # noqa: PLC0415

    settings = {
        key: str(value)
        for key, value in (("worker-image", worker_image), ("max-concurrent-tasks", max_concurrent_tasks))
        if value is not None
    }
    for flag, reference in (("--image", image), ("--worker-image", worker_image)):
        if reference:
            try:
                parse_reference(reference)
            except ValueError as error:
                raise click.UsageError(f"{flag}: {error}") from error
    keep_seconds = None if keep is None else int(keep)
    if dry_run:
        import yaml  # noqa: PLC0415

        from ips_flows.operations.install.manifests import PRIORITY, SERVER, load_manifests  # noqa: PLC0415

        namespace = target.namespace or "ips-flow"
        put(
            yaml.safe_dump_all(
                load_manifests(
                    namespace,
                    image=image or "",
                    settings=settings,
                    keep_seconds=keep_seconds,
                    components=[
                        *([] if without_priority_policy else [PRIORITY]),
                        *([SERVER] if with_server else []),
                    ],
                ),
                sort_keys=False,
            )
        )
        return
    kube, namespace = target.connect()
    install(
        kube,
        namespace,
        image=image or "",
        settings=settings,
        keep_seconds=keep_seconds,
        create_namespace=create_namespace,
        server=with_server,
        say=put,
        priority_policy=not without_priority_policy,
    )
    say(f"installed in namespace {namespace}; check it with `ips-flow doctor {target.flags(namespace)}`")
