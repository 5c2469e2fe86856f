"""The examples are valid for the schemas of their systems, and match the installed objects and the command line."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import click
import pytest
import yaml

from ips_flows.argo.submit import submit_template
from ips_flows.cli.main import cli
from ips_flows.core.request.model import parse_request
from ips_flows.operations.install.manifests import load_manifests
from tests.support.paths import EXAMPLES, ROOT

_CHART = re.compile(r"\{\{-?.*?-?\}\}")


def text(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def documents(name: str) -> list[Any]:
    """Return the documents of an example, with chart expressions replaced."""
    content = text(name)
    if name == "helm-hook.yaml":
        content = _CHART.sub("x", content)
    return list(yaml.safe_load_all(content))


def commands(name: str) -> list[list[str]]:
    """Return each call of `ips-flow` in an example's scripts, as words."""
    joined = re.sub(r"\\\n\s*|\n\s+(?=--)", " ", text(name))
    return [shlex.split(match) for match in re.findall(r"ips-flow (run .*?)(?:\n|$)", joined)]


@pytest.mark.parametrize(
    ("name", "schema"),
    [("github-actions.yaml", "vendor.github-workflows"), ("gitlab-ci.yaml", "vendor.gitlab-ci")],
)
def test_ci_systems_accept_it(name: str, schema: str) -> None:
    """The example is valid for the schema that editors use."""
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(EXAMPLES / name)]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["github-actions.yaml", "gitlab-ci.yaml"])
def test_its_commands_are_ours(name: str) -> None:
    """Each flag exists and accepts its value."""
    found = commands(name)
    assert found
    command = cli.get_command(click.Context(cli), "run")
    assert command
    for verb, *words in found:
        assert verb == "run"
        command.make_context("run", [re.sub(r"\$\{?\w+\}?", "x", word) for word in words])


@pytest.mark.parametrize("name", ["argocd-presync.yaml", "helm-hook.yaml"])
def test_a_hook_runs_what_is_installed(name: str) -> None:
    """The Job uses an installed ServiceAccount, restricted rights, and a valid request."""
    (job,) = documents(name)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    accounts = {one["metadata"]["name"] for one in load_manifests("warm") if one["kind"] == "ServiceAccount"}
    assert pod["serviceAccountName"] in accounts
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert parse_request(environment["IPS_FLOW_REQUEST"]).max_retries == 1
    command = cli.get_command(click.Context(cli), "run")
    assert command
    assert container["args"][0] == "run"
    command.make_context("run", container["args"][1:])


@pytest.mark.parametrize("name", ["outer-workflow.yaml", "argo-events.yaml"])
def test_other_workflows_use_the_installed_step(name: str) -> None:
    """The template and its parameters exist; the request is valid for any image."""
    steps = [
        step
        for document in documents(name)
        for workflow in (document, *_triggered(document))
        for template in workflow.get("spec", {}).get("templates") or ()
        for group in template.get("steps") or ()
        for step in group
        if "templateRef" in step
    ]
    (step,) = steps
    (ours,) = submit_template().to_dict()["spec"]["templates"]
    assert step["templateRef"] == {"name": "ips-submit", "template": ours["name"]}
    given = {one["name"]: one["value"] for one in step["arguments"]["parameters"]}
    assert set(given) == {one["name"] for one in ours["inputs"]["parameters"]}
    assert parse_request(re.sub(r"\{\{.*?\}\}", "x", given["request"])).images


def test_argo_events_know_each_field() -> None:
    """The models of Argo Events, which drop unknown fields, keep every field.

    They allow any resource in a trigger; the fields of a webhook are those of its context, inlined.
    """
    # Slow to load, and only needed here.
    from hera.events.models import EventSource, Sensor, WebhookContext  # noqa: PLC0415

    source, sensor = documents("argo-events.yaml")[:2]
    (push,) = source["spec"].pop("webhook").values()
    template = sensor["spec"]["triggers"][0]["template"]["k8s"]["source"]
    template["resource"] = {}
    for model, document in ((EventSource, source), (Sensor, sensor), (WebhookContext, push)):
        known = model.model_validate(document).model_dump(mode="json", by_alias=True, exclude_none=True)
        assert known == {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}


def test_the_sensor_fills_the_parameters_that_its_workflow_has() -> None:
    """Each destination is a parameter, and values from outside can only have the characters of names."""
    (sensor,) = [one for one in documents("argo-events.yaml") if one["kind"] == "Sensor"]
    (trigger,) = sensor["spec"]["triggers"]
    (workflow,) = _triggered(sensor)
    count = len(workflow["spec"]["arguments"]["parameters"])
    filled = trigger["template"]["k8s"]["parameters"]
    assert [one["dest"] for one in filled] == [
        f"spec.arguments.parameters.{index}.value" for index in range(count)
    ]
    filters = {one["path"]: one["value"][0] for one in sensor["spec"]["dependencies"][0]["filters"]["data"]}
    for one in filled:
        pattern = re.compile(filters[one["src"]["dataKey"]])
        assert not pattern.search('x"], "priority": 10, "images": ["y')
        assert pattern.search("team")


def test_the_readme_names_them_all() -> None:
    """The README lists every example."""
    readme = (ROOT / "ips_flows" / "cli" / "README.md").read_text(encoding="utf-8")
    for file in EXAMPLES.iterdir():
        assert f"deploy/examples/{file.name}" in readme


def _triggered(document: Any) -> list[Any]:
    """Return the objects that a Sensor creates."""
    triggers = document["spec"].get("triggers") or () if document["kind"] == "Sensor" else ()
    return [one["template"]["k8s"]["source"]["resource"] for one in triggers]
