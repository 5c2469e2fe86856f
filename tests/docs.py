"""The generated parts of all README.md files: `python -m tests.docs` writes them, a unit test compares them.

`python -m tests.docs --phrases` lists phrases that have a plainer form, with the number of hits at the end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from ips_flows.cli.main import VERBS, Verbs, cli
from ips_flows.core.forecast.issues import IssueKind
from ips_flows.core.metrics.families import FAILURES, FAMILIES, PRIORITIES
from ips_flows.core.notice.formats import FORMATS
from ips_flows.core.request import model
from ips_flows.core.results.reasons import DocumentedEnum, FailureReason, SkipReason
from tests.support import phrases
from tests.support.paths import ROOT, readmes

_RULES = ROOT / "deploy" / "components" / "monitoring" / "prometheusrule-ips-flow.yaml"
_PART = "<!-- {mark} {name} -->"
_WHOLE_PART = re.compile(r"<!-- begin (?P<name>\w+) -->.*?<!-- end (?P=name) -->", re.DOTALL)


def parts() -> dict[str, str]:
    """Return name → text of each generated part."""
    return {
        "verbs": _verbs(),
        "serve": _options("serve"),
        "failures": _meanings("class", FailureReason),
        "concerns": _meanings("warning", IssueKind),
        "metrics": _metrics(),
        "alerts": _alerts(),
        "skips": _meanings("reason", SkipReason),
        "formats": table(
            ("`webhookFormat`", "body"), [(f"`{name}`", one.meaning) for name, one in FORMATS.items()]
        ),
    }


def renewed(readme: str) -> str:
    """Return the text of a README with its generated parts brought up to date."""
    texts = parts()

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in texts:
            raise LookupError(f"there is no generated part {name}")
        begin, end = (_PART.format(mark=mark, name=name) for mark in ("begin", "end"))
        return f"{begin}\n{texts[name]}\n{end}"

    return _WHOLE_PART.sub(part, readme)


def places() -> Iterator[tuple[str, Path]]:
    """Yield the name of each generated part with the README that holds it."""
    for path in readmes():
        for match in _WHOLE_PART.finditer(path.read_text(encoding="utf-8")):
            yield match["name"], path


def write() -> None:
    """Update the generated parts of all READMEs."""
    for path in readmes():
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


def _verbs() -> str:
    assert isinstance(cli, Verbs)
    there = cli.list_commands(None)  # type: ignore[arg-type]
    return table(("verb", "what it does"), [(f"`{name}`", VERBS[name].help) for name in there])


def _options(verb: str) -> str:
    """Return a table of a verb's options, with the texts of its help page."""
    assert isinstance(cli, Verbs)
    context = click.Context(cli)
    command = cli.get_command(context, verb)
    assert command
    records = [one.get_help_record(context) for one in command.params if isinstance(one, click.Option)]
    return table(
        ("option", "meaning"),
        [(f"`{names}`", " ".join(text.split())) for names, text in filter(None, records)],
    )


def _meanings(head: str, words: type[DocumentedEnum]) -> str:
    return table((head, "meaning"), [(f"`{one}`", one.meaning) for one in words])


def _metrics() -> str:
    rows = [
        (
            f"`{one.name}`",
            one.kind,
            "; ".join(_label(name, values) for name, values in one.labels.items()) or "–",
            one.help,
        )
        for one in FAMILIES
    ]
    return table(("metric", "kind", "labels", "meaning"), rows)


def _label(name: str, values: Sequence[str]) -> str:
    if values == FAILURES:
        return f"`{name}`: a [failure class](../core/results/README.md)"
    if values == PRIORITIES:
        return f"`{name}`: 0 to 10"
    return f"`{name}`" + (f": {', '.join(values)}" if len(values) > 1 else "")


def _alerts() -> str:
    groups = yaml.safe_load(_RULES.read_text(encoding="utf-8"))["spec"]["groups"]
    rows = [
        (f"`{rule['alert']}`", rule["labels"]["severity"], _plain(rule["annotations"]["description"]))
        for group in groups
        for rule in group["rules"]
    ]
    return table(("alert", "severity", "meaning"), rows)


def _plain(text: str) -> str:
    """Return a rule's text with names in place of the template expressions of Prometheus."""
    return re.sub(r"{{ \$(?:labels\.)?(\w+)[^}]*}}", r"*\1*", text)


def default_cell(name: str, schema: Mapping[str, Any]) -> str:
    """Return the default of a request field, as tables show it."""
    if "default" not in schema:
        return "required"
    shown = model.default_text(name)
    return f"`{shown}`" if shown else "–"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines: list[Sequence[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    if "--phrases" in sys.argv[1:]:
        print(*phrases.report(), sep="\n")  # noqa: T201  (the report)
    else:
        from tests import request_fields  # it uses `table`

        request_fields.write()
        write()
