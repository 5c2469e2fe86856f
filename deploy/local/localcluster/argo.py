"""Argo's workflow controller, as a process outside the cluster."""

from __future__ import annotations

import json

from . import controlplane, credentials, images, layout, processes, upstream
from .commands import apply, await_condition, kubectl
from .narration import step

NAMESPACE = "argo"
CONTROLLER = "argo-controller"


def daemon(*, stock_limits: bool) -> processes.Daemon:
    """Return the controller. Outside a cluster it has no Lease, so leader election is disabled.

    It processes a Workflow every 2 s, so that short tasks do not mostly wait; every 10 s with stock limits.
    """
    limits = {} if stock_limits else {"DEFAULT_REQUEUE_TIME": "2s"}
    argv = [
        str(layout.binary("workflow-controller")),
        f"--kubeconfig={credentials.kubeconfig('argo')}",
        f"--namespace={NAMESPACE}",
        f"--executor-image={layout.REGISTRY}/{images.ARGOEXEC}",
    ]
    return processes.Daemon(
        CONTROLLER, argv, env={"LEADER_ELECTION_DISABLE": "true", **limits}, inputs=[layout.recipe("argo")]
    )


def _objects() -> str:
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "workflow-controller-configmap", "namespace": NAMESPACE},
            # Serve metrics over HTTP; otherwise the controller creates its own certificate.
            "data": {"metricsConfig": "secure: false\n"},
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def ensure(*, stock_limits: bool) -> None:
    """Install the CRDs and start the controller, unless both are done."""
    with step("Argo") as current:
        installed = "--ignore-not-found", "-o", "name"
        missing = not kubectl(
            "get", "configmap", "-n", NAMESPACE, "workflow-controller-configmap", *installed
        ).strip()
        if missing:
            crds = upstream.module_directory("argo", upstream.ARGO) / "manifests" / "base" / "crds" / "full"
            files = [f"--filename={path}" for path in sorted(crds.glob("argoproj.io_*.yaml"))]
            # Server-side, because the full schemas do not fit into the annotation of a client-side apply.
            kubectl("apply", "--server-side", "--force-conflicts", "--validate=false", *files)
            kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
            apply(_objects())  # last, because the ConfigMap marks the installation as complete
        controller = daemon(stock_limits=stock_limits)
        started = processes.ensure(controller)
        await_condition(
            "Argo's controller is healthy",
            lambda: controlplane.responds("http://127.0.0.1:6060/healthz"),
            seconds=60,
            log=controller.log,
            abandon=lambda: processes.death(CONTROLLER),
        )
        if not (missing or started):
            current.says("already running")
