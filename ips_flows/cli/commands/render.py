"""`ips-flow render`."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from ips_flows.cli.options.common import example
from ips_flows.cli.options.option import option
from ips_flows.cli.output.console import put, say


@click.command("render", epilog=example("ips-flow render --check", "ips-flow render --output /tmp/templates"))
@option(
    "--check",
    is_flag=True,
    help="Print the differences and write nothing; the exit code is 1 if files differ.",
)
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the files.",
    default_text="templates/ of the checkout",
)
@click.pass_context
def render_command(context: click.Context, /, *, check: bool, output: Path | None) -> None:
    """Write the Argo templates as YAML."""
    from ips_flows.argo.render import render_all  # noqa: PLC0415  (hera takes 0.7 s)

    folder = output or _templates_of_checkout()
    wanted = render_all()
    there = (
        {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.yaml")}
        if folder.is_dir()
        else {}
    )
    differing = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if not check:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            (folder / name).write_text(text, encoding="utf-8")
            say(f"{folder / name}: {'written' if name in differing else 'unchanged'}")
        return
    for name in differing:
        put(_difference(folder / name, there.get(name, ""), wanted.get(name, "")))
    if differing:
        say(f"out of date: {', '.join(differing)}; run `ips-flow render` to update")
        context.exit(1)
    say(f"{len(wanted)} files in {folder} are up to date")


def _templates_of_checkout() -> Path:
    root = Path(__file__).resolve().parents[3]
    if not (root / "pyproject.toml").is_file():
        raise click.UsageError("ips-flow does not run from a checkout; give a folder with --output")
    return root / "templates"


def _difference(file: Path, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{file} (is)", f"{file} (should be)", lineterm=""
    )
    return "\n".join(lines)
