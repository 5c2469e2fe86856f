"""An upgrade while a task runs, against the fake API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ips_flows.cli.main import run
from ips_flows.controller.keeper import Keeper
from ips_flows.core.constants import CONFIG_MAP, TEMPLATE_PREWARM
from tests.fakes.apiserver import ApiServer
from tests.support import keeper_harness
from tests.support.step_harness import TASK, Stage

OLD, NEW = "registry.example:5000/flow:1", "registry.example:5000/flow:2"


def images(spec: Any) -> set[str]:
    """Return the images of all steps of a template."""
    return {one["container"]["image"] for one in spec["templates"] if "container" in one}


@pytest.mark.usefixtures("shell")
def test_a_running_task_ends_with_what_it_began_with(
    server: ApiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Steps of a running task keep the old image after an upgrade; new tasks use the new one; settings are kept."""
    server.documents["/apis/argoproj.io/v1alpha1"] = {"kind": "APIResourceList", "resources": []}
    assert run(["install", "--image", OLD, "--worker-image", "busybox:1", "--with-server"]) == 0
    stage = Stage(server, tmp_path, monkeypatch)
    # Argo stores the template in the Workflow when the Workflow starts.
    began = server.get("workflowtemplates", TEMPLATE_PREWARM)["spec"]
    stage.workflow({"status": {"phase": "Running", "storedWorkflowTemplateSpec": began}})
    server.change("configmaps", CONFIG_MAP, {"data": {"mine": "kept"}})
    before, settings = stage.workflow(), server.get("configmaps", CONFIG_MAP)["data"]

    assert run(["install", "--image", NEW]) == 0
    assert images(server.get("workflowtemplates", TEMPLATE_PREWARM)["spec"]) == {NEW}
    assert stage.workflow() == before
    assert server.get("configmaps", CONFIG_MAP)["data"] == settings
    capsys.readouterr()
    assert run(["uninstall"]) == 1
    refused = capsys.readouterr().err
    assert f"has not ended: {TASK}" in refused
    assert "--cancel" in refused
    assert images(server.get("workflowtemplates", TEMPLATE_PREWARM)["spec"]) == {NEW}

    keeper_harness.argo_ends(stage, began_with=began, finished_at="2026-01-01T00:00:00Z")
    keeper_harness.run_round(stage, Keeper(stage.kube, "warm", "keeper-1"))
    assert keeper_harness.run_jobs(stage) == [OLD]
    assert run(["run", "--image", "busybox:1", "--name", "fresh", "--detach"]) == 0
    assert server.get("workflows", "fresh")["spec"]["workflowTemplateRef"] == {"name": TEMPLATE_PREWARM}
