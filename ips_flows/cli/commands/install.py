"""`ips-flow install`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import DurationType, Target, example, target_options


@click.command(
    "install",
    epilog=example(
        "ips-flow install -n ips-flow --create-namespace --image registry.example.com/ips-flow:0.1.0"
    ),
)
@click.option(
    "--image",
    envvar="IPS_FLOW_IMAGE",
    metavar="REF",
    help="Image of the step pods  [default: ips-flow:VERSION].",
)
@click.option(
    "--worker-image",
    envvar="WORKER_IMAGE",
    metavar="REF",
    help="Tiny image with a static /bin/busybox for the pull pods  [default: kept, else busybox:1.37-musl].",
)
@click.option(
    "--max-concurrent-tasks",
    envvar="MAX_CONCURRENT_TASKS",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="How many tasks run at once  [default: kept, else 3].",
)
@click.option(
    "--keep", type=DurationType(), metavar="DURATION", help="How long ended tasks are kept  [default: 7d]."
)
@click.option(
    "--without-priority-policy",
    is_flag=True,
    help="Leave out the cluster-wide policy that gives tasks of Argo's submit form their priority.",
)
@click.option(
    "--with-server",
    is_flag=True,
    help="Also run `ips-flow serve` in the namespace, the keeper of its tasks  [default: kept].",
)
@click.option("--create-namespace", is_flag=True, help="Create the namespace, with restricted Pod Security.")
@click.option("--dry-run", is_flag=True, help="Print the objects as YAML and change nothing.")
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
    """Install IPS Flow into a namespace, or upgrade it; the second time it changes nothing."""
    from ips_flows.cli.output.console import put, say  # noqa: PLC0415
    from ips_flows.core.images.reference import parse_reference  # noqa: PLC0415
    from ips_flows.operations.install.install import install  # noqa: PLC0415

    settings = {
        key: str(value)
        for key, value in (("worker-image", worker_image), ("max-concurrent-tasks", max_concurrent_tasks))
        if value is not None
    }
    for option, reference in (("--image", image), ("--worker-image", worker_image)):
        if reference:
            try:
                parse_reference(reference)
            except ValueError as error:
                raise click.UsageError(f"{option}: {error}") from error
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
    say(f"installed in namespace {namespace}; `ips-flow doctor {target.flags(namespace)}` checks it")
