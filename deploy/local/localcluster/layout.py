"""Addresses, and the directories of state and caches.

State (``/run/ips-flow``) belongs to the one running cluster of the machine; ``down`` deletes it.
Caches stay. Neither is inside the work tree.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

LOCAL = Path(__file__).resolve().parent.parent
CHECKOUT = LOCAL.parent.parent

BRIDGE = "lcbr0"
GATEWAY = "10.201.0.1"
SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
REGISTRY = f"{GATEWAY}:5000"
PRIVATE_REGISTRY = f"{GATEWAY}:5001"
# Nodes use plain HTTP for these ports of the gateway. Tests run faulty registries on the free ports.
REGISTRY_PORTS = range(5000, 5020)
PRIVATE_USER = "robot"
PRIVATE_PASSWORD = "local-only"  # noqa: S105 - a fixture of the tests, not a secret
API_SERVER = f"https://{GATEWAY}:443"
NAMESPACE = "ips-flow"

STATE = Path("/run/ips-flow")
LOCK = Path("/run/ips-flow.lock")
PIDS = STATE / "pids"
LOGS = STATE / "logs"
PKI = STATE / "pki"
CONFIG = STATE / "config"
NAMESPACES = STATE / "ns"
RECORD = STATE / "cluster.json"
KUBECONFIG = STATE / "admin.kubeconfig"

MAX_NODES = 9  # nodeN has 10.201.0.1N


def cache() -> Path:
    """Return the directory of the files that are kept between clusters."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ips-flow"


def build_logs() -> Path:
    """Return the directory of the build logs, which stay after `down`."""
    return cache() / "logs"


def storage() -> Path:
    """Return the directory of the running cluster's large state: images of the nodes, blobs of the registries."""
    return cache() / "state"


def venv() -> Path:
    """Return the virtual environment with the product of this checkout."""
    return cache() / f"venv-{hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:12]}"


def binary(name: str) -> Path:
    """Return the path of an upstream program."""
    for folder in ("etcd", "containerd", "kubernetes", "argo", "kwok"):
        path = cache() / "upstream" / folder / "bin" / name
        if path.exists():
            return path
    return cache() / "upstream" / "bin" / name


def recipe(upstream: str) -> Path:
    """Return the file with the key of an upstream's build; a new build restarts the programs."""
    return cache() / "upstream" / upstream / "key"


HASH_CHARACTERS = 64  # of a hash as text


def tree_hash(*paths: Path) -> str:
    """Return a hash of names and contents of files and directories, in a fixed order."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if "__pycache__" in file.parts or not file.exists():
                continue
            digest.update(f"{file.relative_to(path.parent)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
