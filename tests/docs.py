"""The generated parts of README.md: `python -m tests.docs` writes them anew, a unit test compares them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
import yaml

from ips_flows.cli.main import VERBS, Verbs, cli
from ips_flows.core.forecast.issues import IssueKind
from ips_flows.core.metrics.families import FAILURES, FAMILIES, PRIORITIES
from ips_flows.core.request import model
from ips_flows.core.results.reasons import DocumentedEnum, FailureReason, SkipReason
from tests.support.paths import README, ROOT

_RULES = ROOT / "deploy" / "components" / "monitoring" / "prometheusrule-ips-flow.yaml"
_PART = "<!-- {mark} {name} -->"


def parts() -> dict[str, str]:
    """Name → text of each generated part."""
    return {
        "verbs": _verbs(),
        "serve": _options("serve"),
        "fields": _fields(),
        "failures": _meanings("class", FailureReason),
        "concerns": _meanings("warning", IssueKind),
        "metrics": _metrics(),
        "alerts": _alerts(),
        "skips": _meanings("reason", SkipReason),
    }


def renewed(readme: str) -> str:
    """The README with its generated parts as they must be."""
    for name, text in parts().items():
        begin, end = (_PART.format(mark=mark, name=name) for mark in ("begin", "end"))
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(readme):
            raise LookupError(f"README.md has no part {name}")
        readme = pattern.sub(lambda _, whole=f"{begin}\n{text}\n{end}": whole, readme)  # type: ignore[misc]
    return readme


def _verbs() -> str:
    assert isinstance(cli, Verbs)
    there = cli.list_commands(None)  # type: ignore[arg-type]
    return table(("verb", "what it does"), [(f"`{name}`", VERBS[name].help) for name in there])


def _options(verb: str) -> str:
    """The options of one verb, as its help page has them."""
    assert isinstance(cli, Verbs)
    context = click.Context(cli)
    command = cli.get_command(context, verb)
    assert command
    records = [one.get_help_record(context) for one in command.params if isinstance(one, click.Option)]
    return table(
        ("option", "meaning"),
        [(f"`{names}`", " ".join(text.split())) for names, text in filter(None, records)],
    )


def _fields() -> str:
    fields = model.json_schema()["properties"].items()
    rows = [(f"`{name}`", default_cell(name, field), field["description"]) for name, field in fields]
    return table(("field", "default", "allowed"), rows)


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
        return f"`{name}`: a [failure class](#results)"
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
    """A text of a rule without what Prometheus fills in."""
    return re.sub(r"{{ \$(?:labels\.)?(\w+)[^}]*}}", r"*\1*", text)


def default_cell(name: str, schema: Mapping[str, Any]) -> str:
    """The default of a request field, as tables show it."""
    if "default" not in schema:
        return "required"
    shown = model.default_text(name)
    return f"`{shown}`" if shown else "–"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines: list[Sequence[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    from tests import request_fields  # it uses `table`

    request_fields.write()
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
