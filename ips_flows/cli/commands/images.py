"""`ips-flow images`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options
from ips_flows.core.constants import KUBELET_IMAGES_LISTED
from ips_flows.core.errors import UsageError
from ips_flows.core.request.limits import IMAGES

if TYPE_CHECKING:
    from ips_flows.core.discover.finder import Findings
    from ips_flows.kube.client import Kube

_REMARKS_SHOWN = 20


@click.command(
    "images",
    epilog=example(
        "helm template my-chart | ips-flow images - | ips-flow run -",
        "ips-flow images --workloads -n shop -o wide",
    ),
)
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@click.option("--workloads", is_flag=True, help="Also what runs in the namespace (-n).")
@click.option("-A", "--all-namespaces", is_flag=True, help="The workloads of all namespaces.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="PLURAL.GROUP",
    help="Workloads of this custom kind too, such as rollouts.argoproj.io; repeatable.",
)
@click.option(
    "--suggest",
    is_flag=True,
    help="Which of these some nodes lack, ranked by the seconds that pods would not wait.",
)
@click.option(
    "--split",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a request for each set of nodes into this new or empty folder.",
)
@output_option("request", "table", "wide", "json", "yaml", "name", default="request")
@target_options
@click.pass_context
def images_command(
    context: click.Context,
    /,
    *,
    target: Target,
    sources: tuple[str, ...],
    workloads: bool,
    all_namespaces: bool,
    kinds: tuple[str, ...],
    suggest: bool,
    split: Path | None,
    output: str,
) -> None:
    """Find the images of manifests, or of what runs in a cluster, and print a request for them.

    SOURCE is a file, a folder of manifests, a folder with a kustomization, or - for stdin.

    The request warms all images wherever any of the pods may land; --split and `run --manifest` tell their
    nodes apart. The exit code is 1 if an image could not be told, and the others are printed all the same.
    """
    live = workloads or all_namespaces
    if not sources and not live:
        raise UsageError(
            "nothing to look into: neither SOURCE nor --workloads was given",
            hint="Name files, - for stdin, or a namespace: `ips-flow images --workloads -n shop`.",
        )
    if suggest and (split is not None or not live):
        raise UsageError("--suggest goes with --workloads or -A, and prints a table or JSON")
    if kinds and not live:
        raise UsageError("--kind goes with --workloads or -A")
    from ips_flows.cli.inputs.manifests import read_sources  # noqa: PLC0415  (PyYAML)
    from ips_flows.core.discover.finder import Finder  # noqa: PLC0415

    finder = Finder()
    read_sources(sources, finder)
    if live:
        from ips_flows.operations.workloads import read_workloads  # noqa: PLC0415  (kubernetes)

        kube, namespace = target.connect()
        scope = "" if all_namespaces else namespace
        read_workloads(kube, scope, finder, custom=kinds)
    found = finder.findings()
    _narrate(found)
    if suggest:
        _put_suggestions(found, kube, scope, output)
    elif split is not None:
        _write(found, split)
    else:
        _put_findings(found, output)
    context.exit(int(any(note.missing for note in found.notes)))


def _narrate(found: Findings) -> None:
    """Say what was found, what was left out, and what could not be told."""
    from ips_flows.cli.output.console import say  # noqa: PLC0415
    from ips_flows.cli.output.tables import counts  # noqa: PLC0415
    from ips_flows.core.discover.requests import images_of  # noqa: PLC0415

    left_out = f"; left out: {counts(found.left_out)}" if found.left_out else ""
    say(f"images: {len(images_of(found.uses))}, objects read: {found.objects}{left_out}")
    told = sorted(found.notes, key=lambda note: not note.missing)
    for note in told[:_REMARKS_SHOWN]:
        say(f"{'missing' if note.missing else 'note'}: {note}")
    if len(told) > _REMARKS_SHOWN:
        say(f"{len(told) - _REMARKS_SHOWN} more remarks: -o json shows all")


def _put_findings(found: Findings, output: str) -> None:
    from ips_flows.cli.output.console import columns, put  # noqa: PLC0415
    from ips_flows.cli.output.documents import put_document  # noqa: PLC0415
    from ips_flows.cli.output.image_tables import image_table  # noqa: PLC0415
    from ips_flows.core.discover.requests import findings_json, images_of  # noqa: PLC0415

    if output == "request":
        _put_request(found)
    elif output in ("json", "yaml"):
        put_document(findings_json(found), output)
    elif output == "name":
        for image in images_of(found.uses):
            put(image.text)
    elif images := images_of(found.uses):
        put(image_table(images, wide=output == "wide", width=columns()))


def _put_suggestions(found: Findings, kube: Kube, namespace: str, output: str) -> None:
    from ips_flows.cli.output.console import columns, put, say  # noqa: PLC0415
    from ips_flows.cli.output.documents import put_document  # noqa: PLC0415
    from ips_flows.cli.output.image_tables import suggestion_table  # noqa: PLC0415
    from ips_flows.core.discover.requests import images_of  # noqa: PLC0415
    from ips_flows.core.discover.suggest import suggestion_json, suggestions  # noqa: PLC0415
    from ips_flows.operations.workloads import read_nodes, read_pulls  # noqa: PLC0415

    pulls = read_pulls(kube, namespace)
    nodes, full = read_nodes(kube)
    if full:
        say(
            f"note: {full} of {len(nodes)} nodes list exactly {KUBELET_IMAGES_LISTED} images, as stock kubelets do:"
            " they may hold more"
        )
    ranked = suggestions(images_of(found.uses), nodes, pulls)
    if output in ("json", "yaml"):
        put_document({"suggestions": [suggestion_json(one) for one in ranked]}, output)
    elif output == "name":
        for one in ranked:
            put(one.image.text)
    elif ranked:
        put(suggestion_table(ranked, wide=output == "wide", width=columns()))
    else:
        say("every node has the images of the pods that may land on it")


def _put_request(found: Findings) -> None:
    from ips_flows.cli.output.console import put, say  # noqa: PLC0415
    from ips_flows.core.discover.requests import by_placement, everywhere, request_text  # noqa: PLC0415

    draft = everywhere(found.uses)
    if draft is None:
        raise UsageError("no image was found, so there is nothing to request")
    if len(draft.images) > IMAGES.high:
        raise UsageError(
            f"{len(draft.images)} images were found; a request has at most {IMAGES.high}",
            hint="--split DIR writes several requests; -o name lists the images.",
        )
    notes = []
    places = len({one.placement for one in by_placement(found.uses)})
    if places > 1:
        notes.append(
            f"The pods land in {places} different sets of nodes; this warms every image on all of them."
        )
        say(f"note: {notes[0][0].lower()}{notes[0][1:]}")
        say("      --split DIR writes a request for each set, `run --manifest` makes a task for each")
    put(request_text(draft, notes).rstrip("\n"))


def _write(found: Findings, folder: Path) -> None:
    from ips_flows.cli.output.console import put  # noqa: PLC0415
    from ips_flows.core.discover.requests import by_placement, request_text  # noqa: PLC0415

    requests = by_placement(found.uses)
    if not requests:
        raise UsageError("no image was found, so there is nothing to request")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"{folder}: is not empty, and an older request in it would be taken for a new one"
            )
        for number, draft in enumerate(requests, start=1):
            file = folder / f"images-{number}.yaml"
            file.write_text(request_text(draft), encoding="utf-8")
            put(str(file))
    except OSError as error:
        raise UsageError(f"{folder}: can't be written: {error.strerror or error}") from error
