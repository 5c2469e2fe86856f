"""Two registries on the bridge: one without and one with authentication."""

from __future__ import annotations

import json
from pathlib import Path

from . import layout, oci, processes
from .commands import await_condition, write_if_changed
from .narration import step

# robot:local-only, as `htpasswd -B` writes it; a fixture of the tests, not a secret.
HTPASSWD = "robot:$2y$05$4rAydjSHLBJ.o7DmqiKFleDUxw81HLoqlgCpftybtG.BSZVjmxTHC\n"


def daemons() -> list[processes.Daemon]:
    """Return both registries."""
    return [
        _daemon("registry", layout.REGISTRY, ""),
        _daemon("registry-private", layout.PRIVATE_REGISTRY, HTPASSWD),
    ]


def _daemon(name: str, address: str, htpasswd: str) -> processes.Daemon:
    configuration: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(layout.storage() / name)},
            "delete": {"enabled": True},
        },
        "http": {"addr": address},
    }
    inputs: list[Path] = []
    if htpasswd:
        passwords = layout.CONFIG / f"{name}.htpasswd"
        write_if_changed(passwords, htpasswd)
        configuration["auth"] = {"htpasswd": {"realm": "private", "path": str(passwords)}}
        inputs.append(passwords)
    file = layout.CONFIG / f"{name}.yml"  # JSON is YAML
    write_if_changed(file, json.dumps(configuration, indent=2) + "\n")
    return processes.Daemon(name, ["/usr/bin/docker-registry", "serve", str(file)], inputs=[file, *inputs])


def client() -> oci.Registry:
    """Return a client of the registry without authentication."""
    return oci.Registry(layout.REGISTRY)


def private_client() -> oci.Registry:
    """Return a client of the registry with authentication."""
    return oci.Registry(layout.PRIVATE_REGISTRY, user=layout.PRIVATE_USER, password=layout.PRIVATE_PASSWORD)


def ensure() -> None:
    """Start the registries that do not run, and wait until both respond."""
    with step("registries") as current:
        started = False
        for daemon, registry in zip(daemons(), (client(), private_client()), strict=True):
            started |= processes.ensure(daemon)
            await_condition(
                f"{daemon.name} at {registry.address} responds",
                registry.responds,
                seconds=20,
                log=daemon.log,
                abandon=lambda name=daemon.name: processes.death(name),  # type: ignore[misc]
            )
        if not started:
            current.says("already running")
