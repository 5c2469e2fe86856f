"""`ips-flow doctor`."""

from __future__ import annotations

import sys

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor", epilog=example("ips-flow doctor -n ips-flow"))
@output_option("table", "json")
@target_options
def doctor_command(target: Target, output: str) -> int:
    """Check that everything is there, and say how to mend what is not. Exits 1 when something fails."""
    import dataclasses  # noqa: PLC0415
    import json  # noqa: PLC0415

    from ips_flows.cli.output.console import colours, put  # noqa: PLC0415
    from ips_flows.operations.doctor import examine  # noqa: PLC0415

    kube, namespace = target.connect()
    found = []
    for finding in examine(kube, namespace):
        found.append(finding)
        if output == "table":
            mark = f"{finding.level:<5}"
            if colours(sys.stdout):
                mark = click.style(mark, fg=_COLOURS[finding.level])
            put(f" {finding.subject}: {finding.message}", mark=mark)
            if finding.level != "ok" and finding.mend:
                put(f"      → {finding.mend}")
    if output == "json":
        put(json.dumps({"findings": [dataclasses.asdict(finding) for finding in found]}, indent=2))
    return 1 if any(finding.level == "fail" for finding in found) else 0
