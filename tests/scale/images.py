"""How quick `ips-flow images` is over many pods: `python -m tests.scale.images [--pods N]`. Needs no cluster.

A process of its own serves the pods as an API server does, in pages, so that only the command is measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

_LIMIT_SECONDS = 5.0
_PODS_OF_OWNER = 10


def main() -> None:
    """Measure, print a line a source; exit with 1 if one takes too much of a CPU, whatever else the machine does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    count = parser.parse_args().pods
    pods = [pod(number) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(pods, theirs), daemon=True)
        server.start()
        config = kubeconfig(Path(folder), ours.recv())
        took = [measure(f"{count} pods of a cluster", "-A", "-o", "json", "--kubeconfig", str(config))]
        server.terminate()
        manifest = Path(folder) / "pods.json"
        manifest.write_text(json.dumps({"kind": "List", "items": pods}), encoding="utf-8")
        took.append(measure(f"{count} pods as JSON", str(manifest), "-o", "json"))
        manifest = Path(folder) / "deployments.yaml"
        owners = [deployment(number) for number in range(count // _PODS_OF_OWNER)]
        manifest.write_text(yaml.safe_dump_all(owners), encoding="utf-8")
        took.append(measure(f"{len(owners)} Deployments as YAML", str(manifest), "-o", "json"))
    sys.exit(max(took) > _LIMIT_SECONDS)


def measure(what: str, *arguments: str) -> float:
    """The seconds of CPU that the command takes, from its start to its end."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "ips_flows.cli.main", "images", *arguments], capture_output=True, check=True
    )
    took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    images, peak = len(json.loads(done.stdout)["images"]), after.ru_maxrss / 1024
    print(
        f"{what}: {took:.2f} s ({busy:.2f} s of CPU), {images} images, at most {peak:.0f} MiB so far",
        flush=True,
    )
    return busy


def pod(number: int) -> dict[str, Any]:
    """A pod as a cluster shows it, of a ReplicaSet that has ten."""
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
    """A Deployment as a chart has it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"app-{number}", "namespace": f"space-{number % 20}"},
        "spec": {"replicas": _PODS_OF_OWNER, "template": template(number)},
    }


def template(number: int) -> dict[str, Any]:
    """A pod template with two containers, an init container, and some of what pods usually have."""
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


def serve(pods: list[dict[str, Any]], ready: Connection) -> None:
    """Answer lists on loopback, made before anyone asks: pods in pages of 500, of all else nothing."""
    pages = [json.dumps(pods[at : at + 500])[1:-1] for at in range(0, len(pods), 500)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            page = int(parse_qs(parts.query).get("continue", ["0"])[0])
            items, token = "", ""
            if parts.path.endswith("/pods"):
                items, token = pages[page], str(page + 1) if page + 1 < len(pages) else ""
            body = f'{{"metadata":{{"continue":"{token}"}},"items":[{items}]}}'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


def kubeconfig(folder: Path, url: str) -> Path:
    """A kubeconfig that leads to that server."""
    file = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
        "current-context": "fake",
    }
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    os.environ.pop("IPS_FLOW_NAMESPACE", None)
    return file


if __name__ == "__main__":
    main()
