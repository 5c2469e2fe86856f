"""Benchmark of `ips-flow images` with many pods: `python -m tests.scale.images [--pods N]`. Needs no cluster.

The fake API server runs in this process, so that only the command is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.apiserver import running
from tests.scale.measuring import measured

_LIMIT_SECONDS = 5.0
_PODS_OF_OWNER = 10


def main() -> None:
    """Measure and print a line per source; exit with 1 if one exceeds the limit of CPU time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    count = parser.parse_args().pods
    pods = [pod(number) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        with running() as server:
            for one in pods:
                server.put("pods", one)
            config = server.kubeconfig(Path(folder))
            took = [measure(f"{count} pods of a cluster", "-A", kubeconfig=config)]
        manifest = Path(folder) / "pods.json"
        manifest.write_text(json.dumps({"kind": "List", "items": pods}), encoding="utf-8")
        took.append(measure(f"{count} pods as JSON", str(manifest)))
        manifest = Path(folder) / "deployments.yaml"
        owners = [deployment(number) for number in range(count // _PODS_OF_OWNER)]
        manifest.write_text(yaml.safe_dump_all(owners), encoding="utf-8")
        took.append(measure(f"{len(owners)} Deployments as YAML", str(manifest)))
    sys.exit(max(took) > _LIMIT_SECONDS)


def measure(what: str, source: str, *, kubeconfig: Path | None = None) -> float:
    """Run the command on a source; return its CPU time in seconds."""
    took = measured("images", source, "-o", "json", kubeconfig=kubeconfig)
    print(
        f"{what}: {took.seconds:.2f} s ({took.processor:.2f} s of CPU),"
        f" {len(took.document['images'])} images, at most {took.mebibytes:.0f} MiB",
        flush=True,
    )
    return took.processor


def pod(number: int) -> dict[str, Any]:
    """Return a pod as in a cluster, of a ReplicaSet with ten pods."""
    owner = number // _PODS_OF_OWNER
    spec = template(owner)["spec"]
    names = [one["name"] for one in spec["containers"]]
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"app-{owner}-{number}",
            "namespace": f"space-{owner % 20}",
            "uid": f"{number:032x}",
            "labels": {"app": f"app-{owner}", "pod-template-hash": "5d8f9c7b6d"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"app-{owner}", "controller": True}],
            "managedFields": [
                {"manager": "kubelet", "fieldsV1": {f"f:{key}": {"f:x": {}} for key in range(40)}}
            ],
        },
        "spec": {**spec, "nodeName": f"node-{number % 500}"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled")],
            "containerStatuses": [{"name": name, "ready": True, "state": state} for name in names],
        },
    }


def deployment(number: int) -> dict[str, Any]:
    """Return a Deployment as in a chart."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"app-{number}", "namespace": f"space-{number % 20}"},
        "spec": {"replicas": _PODS_OF_OWNER, "template": template(number)},
    }


def template(number: int) -> dict[str, Any]:
    """Return a pod template with two containers, an init container, and usual fields."""
    env = [{"name": f"SETTING_{key}", "value": f"value-{key}"} for key in range(15)]
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
    containers = [
        {
            "name": name,
            "image": f"registry.example.com/team-{number % 20}/{name}:{number % 40}",
            "env": env,
            "livenessProbe": probe,
            "readinessProbe": probe,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/config"}],
        }
        for name in ("app", "proxy")
    ]
    return {
        "metadata": {"labels": {"app": f"app-{number}"}},
        "spec": {
            "containers": containers,
            "initContainers": [{"name": "setup", "image": f"registry.example.com/setup:{number % 5}"}],
            "volumes": [{"name": "config", "configMap": {"name": "config"}}],
            "nodeSelector": {"pool": f"pool-{number % 4}"},
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "registry"}],
        },
    }


if __name__ == "__main__":
    main()
