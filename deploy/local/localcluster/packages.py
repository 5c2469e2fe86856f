"""Debian packages that the cluster needs, installed only if missing."""

from __future__ import annotations

import shutil

from . import layout
from .commands import run
from .errors import LocalClusterError
from .narration import step

# package → a file of it
NEEDED = {
    "iproute2": "/usr/sbin/ip",
    "openssl": "/usr/bin/openssl",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "docker-registry": "/usr/bin/docker-registry",
    "prometheus": "/usr/bin/promtool",
    "buildah": "/usr/bin/buildah",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "busybox-static": "/bin/busybox",
}


def missing() -> list[str]:
    """Return the packages that must be installed."""
    return [package for package, file in NEEDED.items() if shutil.which(file) is None]


def ensure() -> None:
    """Install the missing packages without starting their services."""
    with step("Debian packages") as current:
        wanted = missing()
        if shutil.which("go") is None:
            raise LocalClusterError(
                "program go not found", hint="install Go 1.26 or newer and put it on PATH"
            )
        if not wanted:
            current.says("all installed")
            return
        log = layout.build_logs() / "apt.log"
        # RUNLEVEL=1 keeps invoke-rc.d from starting Debian's own registry and Prometheus.
        env = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        install = ["apt-get", "install", "-y", "--no-install-recommends", *wanted]
        run(
            ["apt-get", "update"],
            log=log,
            env=env,
            hint="check that this machine is Debian 12 and reaches its package mirrors",
        )
        run(install, log=log, env=env)
        current.says(", ".join(wanted))
