"""Output for programs: the JSON of `-o json`, and the JUnit report."""

from __future__ import annotations

import json
from typing import Any, get_args
from unittest import mock
from xml.etree import ElementTree as ET

from ips_flows.core.constants import (
    ANNOTATION_DUE,
    ANNOTATION_PLAN,
    ANNOTATION_PROGRESS,
    ANNOTATION_VERSION,
    LABEL_CRON_WORKFLOW,
    LABEL_TASK,
    TEMPLATE_PREWARM,
)
from ips_flows.core.errors import UnavailableError
from ips_flows.core.pods.pull_job import task_labels
from ips_flows.core.results.records import FinalStatus
from ips_flows.core.task.junit import JUnitSuite, junit_report
from ips_flows.core.task.schedule import Timing
from ips_flows.kube.client import collection, core, jobs, workflows
from ips_flows.operations import schedules
from ips_flows.operations.forecast import Forecaster
from ips_flows.operations.submit import submit_request
from tests.contracts.console import typed
from tests.contracts.examples import (
    APP,
    NAMESPACE,
    STARTED,
    TASK,
    TOOL,
    UID,
    ended_task,
    group_progress,
    plan_summary,
    small_request,
    standing_still,
)
from tests.contracts.forecasts import forecast
from tests.contracts.lives import installed, task_life
from tests.contracts.tape import Tape
from tests.contracts.wording import TEXT, without_text

Json = dict[str, Any]

_POD = {
    "nodeSelector": {"disk": "ssd"},
    "imagePullSecrets": [{"name": "registry"}],
    "containers": [{"name": "app", "image": APP, "imagePullPolicy": "Always"}],
}
_DEPLOYMENT = {"metadata": {"name": "web"}, "spec": {"replicas": 3, "template": {"spec": _POD}}}
_AGENT = {
    "template": {
        "spec": {"containers": [{"name": "agent", "image": TOOL}, {"name": "odd", "image": "{{x}}"}]}
    }
}
_MANIFESTS = (
    {"apiVersion": "apps/v1", "kind": "Deployment", **_DEPLOYMENT},
    {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": _AGENT},
)


def documents() -> Json:
    """Return the document: command → its output."""
    with standing_still():
        found = {**_of_tasks(), **_of_schedules(), **_of_images(), **_of_cluster()}
    document: Json = without_text(found)
    return document


def junit() -> str:
    """Return the JUnit report of a task of each final status, and of one whose status is unknown."""
    statuses: tuple[FinalStatus, ...] = get_args(FinalStatus)
    suites = [JUnitSuite(f"{TASK}-{status}", ended_task(status)) for status in statuses]
    text = junit_report([*suites, JUnitSuite("lost", UnavailableError("m"), "[east] ")])
    root = ET.fromstring(text)  # noqa: S314  (ours)
    for element in root.iter():
        if "message" in element.attrib:
            element.set("message", TEXT)
    return f"{text.splitlines()[0]}\n{ET.tostring(root, encoding='unicode')}\n"


def checkable() -> Tape:
    """Return a cluster in which `doctor` can run all checks and finds much missing."""
    tape = installed()
    tape.objects["/version"] = {"gitVersion": "v1.36.3", "major": "1", "minor": "36"}
    tape.objects["/apis/argoproj.io/v1alpha1"] = {"resources": []}
    return tape


def _printed(tape: Tape, line: str, stdin: str = "") -> Any:
    """Run a command with a cluster; return its JSON output."""
    return typed(*line.split(), "-o", "json", tape=tape, stdin=stdin).document


def _running() -> Tape:
    """Return a cluster with a task whose first wave is being retried."""
    tape = Tape()
    tape.put(
        workflows(NAMESPACE, TASK),
        {
            "metadata": {
                "uid": UID,
                "labels": {LABEL_TASK: "true"},
                "annotations": {ANNOTATION_PLAN: plan_summary().to_json()},
            },
            "spec": {"priority": 7},
            "status": {"phase": "Running", "startedAt": STARTED},
        },
    )
    annotations = {ANNOTATION_PROGRESS: group_progress().to_json()}
    labels = task_labels(TASK, UID, "pull", 0, 1)
    tape.put(jobs(NAMESPACE, "job"), {"metadata": {"labels": labels, "annotations": annotations}})
    return tape


def _of_tasks() -> Json:
    """Return the output for a failed task, and for two waiting tasks."""
    ended, _ = task_life()
    waiting = installed()
    for name in ("first", "second"):
        submit_request(waiting.kube(), NAMESPACE, small_request(name=name))
    return {
        "get -o json": _printed(ended, f"get {TASK}"),
        "get -o json, it runs": _printed(_running(), f"get {TASK}"),
        "list -o json": _printed(ended, "list"),
        "queue -o json": _printed(waiting, "queue"),
    }


def _of_schedules() -> Json:
    tape = installed()
    timing = Timing("30 2 * * *", "Europe/Berlin", "replace", 900, 5)
    schedules.create_schedule(tape.kube(), NAMESPACE, "daily", small_request(priority=7), timing)
    tape.put(
        workflows(NAMESPACE, "daily-1769823000"),
        {
            "metadata": {
                "labels": {LABEL_TASK: "true", LABEL_CRON_WORKFLOW: "daily"},
                "annotations": {ANNOTATION_DUE: "2026-01-31T01:30:00Z"},
            },
            "spec": {},
            "status": {"phase": "Running", "startedAt": STARTED},
        },
    )
    return {
        "schedule list -o json": _printed(tape, "schedule list"),
        "schedule history -o json": _printed(tape, "schedule history daily"),
    }


def _of_images() -> Json:
    tape = installed()
    tape.put(collection("/apis/apps/v1", NAMESPACE, "deployments", "web"), dict(_DEPLOYMENT))
    pulled = f'Successfully pulled image "{APP}" in 1.5s (1.5s including waiting). Image size: 1000 bytes.'
    event = {"reason": "Pulled", "message": pulled, "firstTimestamp": STARTED, "count": 1}
    tape.put(core(NAMESPACE, "events", "pulled"), event)
    manifests = "\n---\n".join(json.dumps(one) for one in _MANIFESTS)
    return {
        "images -o json": _printed(tape, "images -", stdin=manifests),
        "images --suggest -o json": _printed(tape, "images --workloads --suggest"),
    }


def _of_cluster() -> Json:
    tape = checkable()
    template = tape.objects[workflows(NAMESPACE, TEMPLATE_PREWARM, "workflowtemplates")]
    template["metadata"]["annotations"] = {ANNOTATION_VERSION: "0.1.0"}
    first, *_ = _printed(tape, "doctor")["findings"]
    with mock.patch.object(Forecaster, "forecast", return_value=forecast()):
        plan = _printed(tape, f"plan --image {APP}")
    return {
        "version -o json": _printed(tape, "version"),
        "version --client -o json": _printed(tape, "version --client"),
        "doctor -o json": {"findings": [{**first, "subject": TEXT}]},
        "plan -o json": plan,
    }
