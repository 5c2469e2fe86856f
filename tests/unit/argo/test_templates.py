"""The Argo templates that Hera builds, and the Workflow of a task."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hera.workflows import Workflow, WorkflowTemplate

from ips_flows.argo.prewarm import prewarm_template
from ips_flows.argo.render import render_all
from ips_flows.argo.task_workflow import task_workflow
from ips_flows.core.request.model import canonical_json, from_form, merge_overrides, request_hash
from tests.support.kube_objects import GOOD, OTHER
from tests.support.paths import ROOT

# What steps may be told: names that we or Kubernetes make, and a number. Never a user's text.
HARMLESS = {"workflow.name", "workflow.uid", "inputs.parameters.wave", "inputs.parameters.attempt"}


@pytest.fixture(scope="module")
def template() -> Any:
    return prewarm_template().to_dict()


@pytest.fixture(scope="module")
def templates(template: Any) -> dict[str, Any]:
    return {one["name"]: one for one in template["spec"]["templates"]}


def read_back(kind: type[Workflow], document: Any) -> Any:
    """A document through Hera's models and back."""
    model = kind.from_dict(document)
    assert isinstance(model, kind)
    return model.to_dict()


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """The paths of what is in one document and not in the other."""
    if isinstance(before, dict):
        for key, value in before.items():
            if not isinstance(after, dict) or key not in after:
                yield f"{path}.{key}"
            else:
                yield from lost(value, after[key], f"{path}.{key}")
    elif isinstance(before, list):
        for number, value in enumerate(before):
            there = after[number] if isinstance(after, list) and number < len(after) else None
            yield from lost(value, there, f"{path}[{number}]")
    elif before != after:
        yield path


@pytest.mark.parametrize("name", sorted(render_all()))
def test_committed_templates_are_what_hera_builds(name: str) -> None:
    """`templates/` is rendered, byte for byte; run `ips-flow render` to update."""
    assert (ROOT / "templates" / name).read_text(encoding="utf-8") == render_all()[name]


def test_nothing_else_is_committed_as_a_template() -> None:
    """Every file of `templates/` is rendered, and the kustomization lists all the others."""
    files = {file.name for file in (ROOT / "templates").iterdir()}
    assert files == set(render_all())
    listed = yaml.safe_load(render_all()["kustomization.yaml"])["resources"]
    assert set(listed) == files - {"kustomization.yaml"}


def test_no_key_is_lost_in_heras_models(template: Any) -> None:
    """Hera's generated models drop unknown arguments silently: what is read back is what was written."""
    committed = yaml.safe_load((ROOT / "templates" / "ips-prewarm.yaml").read_text(encoding="utf-8"))
    again = read_back(WorkflowTemplate, committed)
    assert list(lost(committed, again)) == []
    assert list(lost(again, template)) == []


def test_the_semaphore_is_there(template: Any) -> None:
    """The queue is a semaphore of the whole Workflow, whose limit is in ips-config."""
    assert template["spec"]["synchronization"] == {
        "semaphores": [{"configMapKeyRef": {"name": "ips-config", "key": "max-concurrent-tasks"}}]
    }


def calls(template: Any) -> list[list[tuple[str, str]]]:
    return [[(step["name"], step["template"]) for step in group] for group in template["steps"]]


def test_the_nesting(template: Any, templates: dict[str, Any]) -> None:
    """filter, then one wave after another; in a wave attempts by the user's retries, in each a driver by its own."""
    assert (template["spec"]["entrypoint"], template["spec"]["onExit"]) == ("main", "finish")
    assert set(templates) == {"main", "filter", "fan-out", "group", "attempt", "drive", "finish", "verdict"}
    assert calls(templates["main"]) == [[("filter", "filter")], [("fan-out", "fan-out")]]
    assert calls(templates["fan-out"]) == [[("group", "group")]]
    assert calls(templates["group"]) == [[("attempt", "attempt")]]
    assert calls(templates["attempt"]) == [[("drive", "drive")]]
    assert calls(templates["finish"]) == [[("verdict", "verdict")]]
    fan_out = templates["fan-out"]
    assert (fan_out["parallelism"], fan_out["failFast"]) == (1, True)
    assert fan_out["steps"][0][0]["withParam"] == "{{inputs.parameters.waves}}"
    for name in set(templates) - {"fan-out"}:
        assert "parallelism" not in templates[name]
        assert "failFast" not in templates[name]
    assert {name for name in templates if "retryStrategy" in templates[name]} == {
        "filter",
        "drive",
        "attempt",
    }
    continued = {name for name in templates if "continueOn" in json.dumps(templates[name])}
    assert continued == {"finish"}
    assert templates["finish"]["steps"][0][0]["continueOn"] == {"failed": True, "error": True}


def test_the_users_retries(templates: dict[str, Any]) -> None:
    """An attempt's limit, delay, factor and the end of its back-off come from filter; the delay is capped."""
    assert templates["attempt"]["retryStrategy"] == {
        "limit": "{{inputs.parameters.retries}}",
        "retryPolicy": "Always",
        "backoff": {
            "duration": "{{inputs.parameters.delay}}",
            "factor": "{{inputs.parameters.factor}}",
            "cap": "10m",
            "maxDuration": "{{inputs.parameters.timeout}}",
        },
    }
    (drive,) = templates["attempt"]["steps"][0]
    assert {one["name"]: one["value"] for one in drive["arguments"]["parameters"]} == {
        "wave": "{{inputs.parameters.wave}}",
        "attempt": "{{retries}}",
    }


@pytest.mark.parametrize("name", ["filter", "drive"])
def test_a_lost_step_is_replaced(templates: dict[str, Any], name: str) -> None:
    """Pods that were lost or exit above 1 are replaced; exit code 1 is a result, not a loss."""
    assert templates[name]["retryStrategy"] == {
        "limit": "5",
        "retryPolicy": "Always",
        "expression": "lastRetry.status == 'Error' || asInt(lastRetry.exitCode) > 1",
        "backoff": {"duration": "1s", "factor": 1},
    }


def test_every_parameter_is_handed_down(templates: dict[str, Any]) -> None:
    """What a template declares as input is what its caller gives it, no more and no less."""
    for caller in templates.values():
        for group in caller.get("steps", ()):
            for step in group:
                given = {one["name"] for one in step.get("arguments", {}).get("parameters", ())}
                wanted = {
                    one["name"] for one in templates[step["template"]].get("inputs", {}).get("parameters", ())
                }
                assert given == wanted, (caller["name"], step["name"])
                used = set(re.findall(r"{{inputs\.parameters\.([\w-]+)}}", json.dumps(step)))
                own = {one["name"] for one in caller.get("inputs", {}).get("parameters", ())}
                assert used <= own, (caller["name"], step["name"])


def test_no_user_text_reaches_a_step_pod(template: Any, templates: dict[str, Any]) -> None:
    """Only names that we make and the attempt's number are expanded in what becomes a pod."""
    pods = [one for one in templates.values() if "container" in one]
    assert {one["name"] for one in pods} == {"filter", "drive", "verdict"}
    for one in pods:
        parts = [one["container"], one["metadata"], one.get("volumes"), one["serviceAccountName"]]
        assert set(re.findall(r"{{\s*([^}]*?)\s*}}", json.dumps(parts))) <= HARMLESS
        assert one["container"]["command"][:2] == ["python", "-m"]
        assert "env" not in one["container"]
    wide = {key: value for key, value in template["spec"].items() if key not in ("templates", "arguments")}
    assert "{{" not in json.dumps(wide)
    assert "workflow.parameters" not in json.dumps(template["spec"])


def test_step_pods_are_restricted(template: Any, templates: dict[str, Any]) -> None:
    """Step pods, and the containers that Argo adds to them, run under `restricted` Pod Security."""
    pod = template["spec"]["securityContext"]
    assert (pod["runAsNonRoot"], pod["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    patch = json.loads(template["spec"]["podSpecPatch"])
    patched = {one["name"]: one["securityContext"] for one in patch["initContainers"] + patch["containers"]}
    assert set(patched) == {"init", "wait"}
    ours = [one["container"]["securityContext"] for one in templates.values() if "container" in one]
    for security in [*ours, *patched.values()]:
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True


def test_steps_leave_a_lost_node_soon(template: Any) -> None:
    """Step pods tolerate an unready node for 30 s, not for Kubernetes' 300."""
    tolerated = {one["key"]: one["tolerationSeconds"] for one in template["spec"]["tolerations"]}
    assert tolerated == {"node.kubernetes.io/not-ready": 30, "node.kubernetes.io/unreachable": 30}


def test_tasks_from_the_form_are_tasks(template: Any) -> None:
    """A Workflow that Argo's UI makes of the template carries our label, and goes after a week."""
    assert template["spec"]["workflowMetadata"] == {"labels": {"ips-flow.io/task": "true"}}
    assert template["spec"]["ttlStrategy"] == {"secondsAfterCompletion": 7 * 86400}


def test_the_workflow_of_a_task() -> None:
    """It refers to the template, and carries the request whole; its deadline lies behind the task's."""
    request = merge_overrides(
        None,
        "flags",
        {
            "images": [GOOD, OTHER],
            "priority": 9,
            "batchSize": "10%",
            "timeout": "1h",
            "labels": {"team": "a"},
        },
    )
    made = task_workflow(request, name="t", namespace="warm")
    assert made["metadata"]["labels"] == {"team": "a", "ips-flow.io/task": "true"}
    annotations = made["metadata"]["annotations"]
    assert annotations["ips-flow.io/request-hash"] == request_hash(request)
    assert json.loads(annotations["ips-flow.io/columns"]) == {
        "images": 2,
        "priority": 9,
        "batchSize": "10%",
    }
    assert annotations["workflows.argoproj.io/title"] == "app:1 +1"
    assert made["spec"] == {
        "workflowTemplateRef": {"name": "ips-prewarm"},
        "priority": 9,
        "activeDeadlineSeconds": 4200,
        "arguments": {"parameters": [{"name": "request", "value": canonical_json(request)}]},
    }
    assert list(lost(made, read_back(Workflow, made))) == []


def test_every_field_of_the_form_is_understood(template: Any) -> None:
    """The parameters of the template are fields of the form, under the names that it reads."""
    examples = {
        "images": GOOD,
        "batch-size": "3",
        "priority": "9",
        "node-selector": "a=b",
        "selector": "!gpu",
        "nodes": "n1, n2",
        "exclude-nodes": "n3",
        "include-cordoned": "true",
        "pull-policy": "Always",
        "pull-secrets": "s",
        "waves": "1, 50%",
        "order": "batch",
        "max-failed-nodes": "5%",
        "max-retries": "2",
        "retry-strategy": "exponential",
        "retry-delay": "5",
        "webhook-url": "https://hooks.example/x",
        "webhook-secret-name": "hook",
        "webhook-format": "slack",
        "node-timeout": "1m",
        "task-timeout": "1h",
    }
    names = {one["name"] for one in template["spec"]["arguments"]["parameters"]}
    assert names == {*examples, "request"}
    request = from_form(examples)
    assert (request.batch_size, request.priority, request.waves) == (3, 9, (1, "50%"))
    assert (request.include_cordoned, request.timeout_seconds) == (True, 3600)
    assert (request.max_retries, request.retry_strategy, request.retry_delay) == (2, "exponential", 5)
    assert (request.order, request.max_failed_nodes) == ("batch", "5%")
    assert (request.webhook_url, request.webhook_secret_name) == ("https://hooks.example/x", "hook")
    assert request.webhook_format == "slack"


def test_the_cap_of_the_delays() -> None:
    """The committed template caps the delay at 10 minutes; a render with another cap differs in that alone."""
    committed, short = prewarm_template().to_dict(), prewarm_template(backoff_cap="4s").to_dict()
    one, other = (
        next(one for one in made["spec"]["templates"] if one["name"] == "attempt")["retryStrategy"]["backoff"]
        for made in (committed, short)
    )
    assert (one["cap"], other["cap"]) == ("10m", "4s")
    other["cap"] = "10m"
    assert short == committed
