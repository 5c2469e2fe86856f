"""`ips-flow doctor`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options

if TYPE_CHECKING:
    from ips_flows.operations.doctor import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor", epilog=example("ips-flow doctor -n ips-flow"))
@output_option("table", "json")
@target_options
def doctor_command(target: Target, output: str) -> int:
    """Check the installation and suggest fixes. The exit code is 1 if a check fails."""
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
            if finding.level != "ok" and finding.hint:
                put(f"      → {finding.hint}")
    if output == "json":
        put(json.dumps({"findings": [_as_json(finding) for finding in found]}, indent=2))
    return 1 if any(finding.level == "fail" for finding in found) else 0


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "level": finding.level,
        "subject": finding.subject,
        "message": finding.message,
        "mend": finding.hint,
    }
