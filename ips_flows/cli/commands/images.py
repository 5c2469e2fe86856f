"""`ips-flow images`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options
from ips_flows.cli.options.option import option
from ips_flows.core.constants import KUBELET_IMAGES_LISTED
from ips_flows.core.counts import several
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
@option("--workloads", is_flag=True, help="Also read the workloads of the namespace (-n).")
@option("-A", "--all-namespaces", is_flag=True, help="Also read the workloads of all namespaces.")
@option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="PLURAL.GROUP",
    help="Also read workloads of this custom kind, such as rollouts.argoproj.io; repeatable.",
)
@option(
    "--suggest",
    is_flag=True,
    help="List the images that are missing on some nodes, ranked by pull time saved.",
)
@option(
    "--split",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write one request per set of nodes into this folder, which must be new or empty.",
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
    """Find the images of manifests or of workloads in a cluster, and print a request for them.

    SOURCE is a file, a folder of manifests, a folder with a kustomization, or - for stdin.

    The request warms every image on all nodes where any of the pods may be scheduled. --split and `run --manifest`
    keep different sets of nodes apart. The exit code is 1 if an image can't be determined; the others are printed.
    """
    live = workloads or all_namespaces
    if not sources and not live:
        raise UsageError(
            "nothing to read: neither SOURCE nor --workloads was given",
            hint="Give files, - for stdin, or a namespace: `ips-flow images --workloads -n shop`.",
        )
    if suggest and (split is not None or not live):
        raise UsageError("--suggest requires --workloads or -A, and can't be combined with --split")
    if kinds and not live:
        raise UsageError("--kind requires --workloads or -A")
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
    """Print the numbers of images and objects, the objects left out, and the notes."""
    from ips_flows.cli.output.console import say  # noqa: PLC0415
    from ips_flows.cli.output.tables import counts  # noqa: PLC0415
    from ips_flows.core.discover.requests import images_of  # noqa: PLC0415

    left_out = f"; left out: {counts(found.left_out)}" if found.left_out else ""
    say(f"images: {len(images_of(found.uses))}, objects read: {found.objects}{left_out}")
    told = sorted(found.notes, key=lambda note: not note.missing)
    for note in told[:_REMARKS_SHOWN]:
        say(f"{'missing' if note.missing else 'note'}: {note}")
    if len(told) > _REMARKS_SHOWN:
        say(f"{several(len(told) - _REMARKS_SHOWN, 'more note')}; -o json shows all")


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
            f"note: {full} of {len(nodes)} nodes list exactly {KUBELET_IMAGES_LISTED} images, the kubelet's default"
            " limit; they may have more"
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
        say("every node has the images of all pods that may be scheduled on it")


def _put_request(found: Findings) -> None:
    from ips_flows.cli.output.console import put, say  # noqa: PLC0415
    from ips_flows.core.discover.requests import by_placement, everywhere, request_text  # noqa: PLC0415

    draft = everywhere(found.uses)
    if draft is None:
        raise UsageError("no images found, so there is nothing to request")
    if len(draft.images) > IMAGES.high:
        raise UsageError(
            f"found {len(draft.images)} images; a request can have at most {IMAGES.high}",
            hint="--split DIR writes several requests; -o name lists the images.",
        )
    notes = []
    places = len({one.placement for one in by_placement(found.uses)})
    if places > 1:
        notes.append(
            f"The pods use {places} different sets of nodes; this request warms every image on all of them."
        )
        say(f"note: {notes[0][0].lower()}{notes[0][1:]}")
        say("      --split DIR writes one request per set; `run --manifest` creates one task per set")
    put(request_text(draft, notes).rstrip("\n"))


def _write(found: Findings, folder: Path) -> None:
    from ips_flows.cli.output.console import put  # noqa: PLC0415
    from ips_flows.core.discover.requests import by_placement, request_text  # noqa: PLC0415

    requests = by_placement(found.uses)
    if not requests:
        raise UsageError("no images found, so there is nothing to request")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"{folder}: is not empty; expected an empty or new folder, so that no old request is mixed in"
            )
        for number, draft in enumerate(requests, start=1):
            file = folder / f"images-{number}.yaml"
            file.write_text(request_text(draft), encoding="utf-8")
            put(str(file))
    except OSError as error:
        raise UsageError(f"{folder}: can't be written: {error.strerror or error}") from error
