"""Environment variables that the product reads, and those that it sets on containers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

from ips_flows.cli.main import cli
from ips_flows.operations.install.manifests import COMPONENTS, load_manifests
from tests.contracts.console import typed
from tests.contracts.literals import environment_reads
from tests.contracts.rbac import manifests
from tests.contracts.verbs import commands
from tests.support.paths import DEPLOY

Json = dict[str, Any]


def environment() -> Json:
    """Return the document."""
    return {
        "read by flags": _by_flags(),
        "read by code": environment_reads(),
        "read by shell completion": _completion(),
        "set on containers": dict(sorted(_on_containers())),
        "set in the image": _in_image(),
    }


def _by_flags() -> dict[str, list[str]]:
    """Return variable → the flags and arguments for which it is the default."""
    found: dict[str, set[str]] = {}
    for command in commands(cli).values():
        for parameter in command.params:
            names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
            option = isinstance(parameter, click.Option)
            for name in names:
                found.setdefault(name, set()).add(max(parameter.opts, key=len) if option else "argument")
    return {name: sorted(flags) for name, flags in sorted(found.items())}


def _completion() -> list[str]:
    script = typed("completion", "bash").out
    return sorted(set(re.findall(r"\b_[A-Z_]+_COMPLETE\b", script)))


def _on_containers() -> Iterator[tuple[str, Json]]:
    """Yield (kind, name and container) with (variable → its value or source)."""
    for thing in [*manifests(), *load_manifests("ips-flow", components=COMPONENTS)]:
        spec = thing.get("spec") or {}
        pods = [spec["template"]["spec"]] if thing["kind"] == "Deployment" else spec.get("templates") or ()
        for pod in pods:
            for container in [
                *pod.get("containers", ()),
                *([pod["container"]] if "container" in pod else ()),
            ]:
                name = container.get("name") or pod.get("name")
                env = {
                    one["name"]: one.get("value", one.get("valueFrom")) for one in container.get("env", ())
                }
                yield f"{thing['kind']} {thing['metadata']['name']}: {name}", env


def _in_image() -> list[str]:
    """Return the names that the image's build file sets with ENV."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("ENV ")]
    return sorted(name for line in lines for name in re.findall(r"(\w+)=", line))
