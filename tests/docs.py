"""The generated parts of all README.md: `python -m tests.docs` writes them anew, a unit test compares them.

`python -m tests.docs --phrases` lists where prose holds a phrase that there is a plainer one for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from ips_flows.cli.main import VERBS, Verbs, cli
from ips_flows.core.forecast.issues import KINDS
from ips_flows.core.metrics.families import FAILURES, FIGURES, PRIORITIES
from ips_flows.core.request import model
from ips_flows.core.results.reasons import FailureReason, SkipReason
from tests.support import phrases
from tests.support.paths import ROOT, readmes

_RULES = ROOT / "deploy" / "components" / "monitoring" / "prometheusrule-ips-flow.yaml"
_PART = "<!-- {mark} {name} -->"
_WHOLE_PART = re.compile(r"<!-- begin (?P<name>\w+) -->.*?<!-- end (?P=name) -->", re.DOTALL)

_FAILURES = {
    FailureReason.NOT_FOUND: "the registry has no such image or tag",
    FailureReason.UNAUTHORIZED: "the registry wants credentials, or refuses those it got",
    FailureReason.RATE_LIMITED: "the registry says 429",
    FailureReason.REGISTRY_UNAVAILABLE: "the registry can't be reached, or answers 5xx",
    FailureReason.NO_SPACE: "the node's disk is full",
    FailureReason.WRONG_PLATFORM: "the image is not made for the node's platform",
    FailureReason.INVALID_IMAGE: "what the registry sent is no usable image",
    FailureReason.TIMEOUT: "`nodeTimeout` or `timeout` was up",
    FailureReason.UNSCHEDULABLE: "the scheduler found no room on the node for 60 s",
    FailureReason.NODE_LOST: "the node went away, or its kubelet fell silent",
    FailureReason.WORKER_IMAGE: "the pull pod's own tiny image could not be pulled",
    FailureReason.CANCELLED: "the task was cancelled while the node pulled",
    FailureReason.UNKNOWN: "anything else; the message says what was told",
}
_SKIPS = {
    SkipReason.NOT_READY: "the node's Ready condition is not True",
    SkipReason.CORDONED: "the node is cordoned; `includeCordoned: true` warms it too",
    SkipReason.TAINT_NOT_TOLERATED: "`tolerations` were given and do not cover the node's taints",
    SkipReason.NOT_SELECTED: "`nodes`, `nodeSelector` or `selector` leave the node out",
    SkipReason.EXCLUDED: "the node stands in `excludeNodes`",
    SkipReason.WRONG_PLATFORM: "the node does not run Linux",
    SkipReason.VIRTUAL: "there is no kubelet with an image store behind the node (virtual-kubelet, Fargate)",
    SkipReason.BREAKER_OPEN: "a whole first window brought no image to any node, so the rest was left alone",
    SkipReason.NOT_REACHED: "the task ended before this node's turn",
}


def parts() -> dict[str, str]:
    """Name → text of each generated part."""
    return {
        "verbs": _verbs(),
        "serve": _options("serve"),
        "fields": _fields(),
        "failures": _table(("class", "meaning"), [(f"`{one}`", _FAILURES[one]) for one in FailureReason]),
        "concerns": _table(("warning", "meaning"), [(f"`{kind}`", text) for kind, text in KINDS.items()]),
        "metrics": _metrics(),
        "alerts": _alerts(),
        "skips": _table(("reason", "meaning"), [(f"`{one}`", _SKIPS[one]) for one in SkipReason]),
    }


def renewed(readme: str) -> str:
    """The text of a README with the generated parts that it has as they must be."""
    texts = parts()

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in texts:
            raise LookupError(f"there is no generated part {name}")
        begin, end = (_PART.format(mark=mark, name=name) for mark in ("begin", "end"))
        return f"{begin}\n{texts[name]}\n{end}"

    return _WHOLE_PART.sub(part, readme)


def places() -> Iterator[tuple[str, Path]]:
    """Each generated part with the README in which it stands."""
    for path in readmes():
        for match in _WHOLE_PART.finditer(path.read_text(encoding="utf-8")):
            yield match["name"], path


def write() -> None:
    """Write the generated parts of all READMEs anew."""
    for path in readmes():
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


def _verbs() -> str:
    assert isinstance(cli, Verbs)
    there = cli.list_commands(None)  # type: ignore[arg-type]
    return _table(("verb", "what it does"), [(f"`{name}`", VERBS[name].help) for name in there])


def _options(verb: str) -> str:
    """The options of one verb, as its help page has them."""
    assert isinstance(cli, Verbs)
    context = click.Context(cli)
    command = cli.get_command(context, verb)
    assert command
    records = [one.get_help_record(context) for one in command.params if isinstance(one, click.Option)]
    return _table(
        ("option", "meaning"),
        [(f"`{names}`", " ".join(text.split())) for names, text in filter(None, records)],
    )


def _fields() -> str:
    fields = model.json_schema()["properties"].items()
    rows = [(f"`{name}`", _default(field), field["description"]) for name, field in fields]
    return _table(("field", "default", "allowed"), rows)


def _metrics() -> str:
    rows = [
        (
            f"`{one.name}`",
            one.kind,
            "; ".join(_label(name, values) for name, values in one.labels.items()) or "–",
            one.help,
        )
        for one in FIGURES
    ]
    return _table(("metric", "kind", "labels", "meaning"), rows)


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
    return _table(("alert", "severity", "meaning"), rows)


def _plain(text: str) -> str:
    """A text of a rule without what Prometheus fills in."""
    return re.sub(r"{{ \$(?:labels\.)?(\w+)[^}]*}}", r"*\1*", text)


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "required"
    value = field["default"]
    return (
        "–"
        if value in ("", [], {}, None)
        else f"`{str(value).lower() if isinstance(value, bool) else value}`"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines: list[Sequence[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    if "--phrases" in sys.argv[1:]:
        print(*phrases.report(), sep="\n")  # noqa: T201  (the report)
    else:
        write()
