"""etcd, the API server, the controller manager and the scheduler."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request

from . import credentials, layout, processes
from .commands import await_condition
from .narration import step

ETCD = "http://127.0.0.1:23790"


def daemons(*, simulated: bool, stock_limits: bool) -> list[processes.Daemon]:
    """Return the control plane's processes in the order in which they start.

    With simulated nodes the grace period of node heartbeats is much longer, because simulated nodes send heartbeats
    rarely: the heartbeats of thousands of nodes are a load without meaning here. With stock limits the controllers
    have Kubernetes' default request rates.
    """
    limits = [] if stock_limits else ["--kube-api-qps=200", "--kube-api-burst=400"]
    etcd = [
        str(layout.binary("etcd")),
        f"--data-dir={layout.STATE / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:23800",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=4294967296",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=5m",
        "--log-level=warn",
    ]
    apiserver = [
        str(layout.binary("kube-apiserver")),
        f"--etcd-servers={ETCD}",
        "--bind-address=0.0.0.0",
        "--secure-port=443",
        f"--advertise-address={layout.GATEWAY}",
        f"--service-cluster-ip-range={layout.SERVICE_RANGE}",
        f"--tls-cert-file={credentials.SERVER}",
        f"--tls-private-key-file={credentials.SERVER_KEY}",
        f"--client-ca-file={credentials.CA}",
        f"--kubelet-client-certificate={credentials.KUBELET_CLIENT}",
        f"--kubelet-client-key={credentials.KUBELET_CLIENT_KEY}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--token-auth-file={credentials.TOKENS}",
        f"--service-account-key-file={credentials.SERVICE_ACCOUNTS}",
        f"--service-account-signing-key-file={credentials.SERVICE_ACCOUNTS_KEY}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--profiling=false",
        "--max-requests-inflight=1000",
        "--max-mutating-requests-inflight=500",
        f"--cert-dir={layout.STATE / 'apiserver'}",
    ]
    controller_manager = [
        str(layout.binary("kube-controller-manager")),
        f"--kubeconfig={credentials.kubeconfig('controller-manager')}",
        f"--service-account-private-key-file={credentials.SERVICE_ACCOUNTS_KEY}",
        f"--root-ca-file={credentials.CA}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        *limits,
        *(() if stock_limits else ("--concurrent-job-syncs=20",)),
        f"--node-monitor-grace-period={'600s' if simulated else '40s'}",
        f"--cert-dir={layout.STATE / 'controller-manager'}",
    ]
    scheduler = [
        str(layout.binary("kube-scheduler")),
        f"--kubeconfig={credentials.kubeconfig('scheduler')}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        *limits,
        f"--cert-dir={layout.STATE / 'scheduler'}",
    ]
    programs = [
        ("etcd", etcd, "etcd"),
        ("apiserver", apiserver, "kubernetes"),
        ("controller-manager", controller_manager, "kubernetes"),
        ("scheduler", scheduler, "kubernetes"),
    ]
    return [processes.Daemon(name, argv, inputs=[layout.recipe(recipe)]) for name, argv, recipe in programs]


def responds(url: str) -> bool:
    """Return whether a health endpoint returns 200; its certificate is not verified."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=3) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ready() -> bool:
    """Return whether the API server is ready."""
    return responds(f"{layout.API_SERVER}/readyz")


def ensure(*, simulated: bool, stock_limits: bool) -> None:
    """Start the parts of the control plane that do not run, and wait until all parts are healthy."""
    etcd, apiserver, *controllers = daemons(simulated=simulated, stock_limits=stock_limits)
    with step("etcd, API server") as current:
        started = [processes.ensure(etcd)]
        await_condition(
            "etcd is healthy",
            lambda: responds(f"{ETCD}/health"),
            seconds=30,
            log=etcd.log,
            abandon=lambda: processes.death("etcd"),
        )
        started.append(processes.ensure(apiserver))
        await_condition(
            "the API server is ready",
            ready,
            seconds=90,
            log=apiserver.log,
            abandon=lambda: processes.death("apiserver"),
        )
        if not any(started):
            current.says("already running")
    with step("controller manager, scheduler") as current:
        started = [processes.ensure(daemon) for daemon in controllers]
        for daemon, port in zip(controllers, (10257, 10259), strict=True):
            await_condition(
                f"the {daemon.name} is healthy",
                lambda port=port: responds(f"https://127.0.0.1:{port}/healthz"),  # type: ignore[misc]
                seconds=60,
                log=daemon.log,
                abandon=lambda name=daemon.name: processes.death(name),  # type: ignore[misc]
            )
        if not any(started):
            current.says("already running")
