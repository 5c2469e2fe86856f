"""Benchmark of the server with many tasks: `python -m tests.scale.server [--tasks N] [--clients N]`.

It starts `ips-flow serve` with the fake API server, lets clients read the list as fast as possible, and prints response
times and memory. It has no limits to check. API server and clients share the machine with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ips_flows.argo.task_workflow import task_workflow
from ips_flows.core.constants import ANNOTATION_CLEANED, LABEL_TASK
from ips_flows.core.request.model import merge_overrides
from tests.fakes.apiserver import ApiServer, running
from tests.fakes.argo import Argo, failed, pulled

TOKEN = "load"  # noqa: S105  (the fake API server's)


def main() -> None:
    """Fill a namespace, serve it, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--nodes", type=int, default=1000, help="nodes per task")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument(
        "--seconds",
        type=float,
        default=40.0,
        help="duration in seconds; longer than the 30 s between two lists of the server",
    )
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between a client's requests")
    parser.add_argument("--path", default="/api/v1/tasks")
    chosen = parser.parse_args()
    with running() as server, tempfile.TemporaryDirectory() as folder:
        server.users[TOKEN] = {"username": "load"}
        fill(server, chosen.tasks, chosen.nodes)
        print(f"{chosen.tasks} tasks of {chosen.nodes} nodes created", flush=True)
        measure(server, Path(folder), chosen)


def fill(server: ApiServer, count: int, size: int) -> None:
    """Create tasks: of every 40 one waits, one runs, two have failed, the others are completed."""
    for number in range(count):
        name = f"task-{number:05d}"
        request = merge_overrides(
            None, "flags", {"images": [f"registry.example.com/team/app:{number}"], "name": name}
        )
        workflow = task_workflow(request, name=name, namespace="warm")
        stamp = f"2026-01-{1 + number * 27 // count:02d}T12:00:{number % 60:02d}Z"
        workflow["metadata"]["creationTimestamp"] = stamp
        workflow["metadata"]["labels"][LABEL_TASK] = "true"
        workflow["metadata"]["managedFields"] = [
            {"fieldsV1": {"f:spec": {f"f:{at}": {} for at in range(50)}}}
        ]
        # Fields that Argo adds: the stored template, and a node per step.
        workflow["status"] = {
            "storedWorkflowTemplateSpec": {"text": "x" * 12_000},
            "nodes": {f"{name}-{at}": {"name": f"step-{at}", "phase": "Succeeded"} for at in range(20)},
        }
        server.put("workflows", workflow)
        kind = number % 40
        if kind == 0:
            continue
        argo = Argo(server, name)
        argo.phase("Running")
        argo.planned(waves={"wave-1": size}, images=(f"registry.example.com/team/app:{number}",))
        if kind == 1:
            argo.progress(done=size - 3, pulling=3)
            continue
        nodes = {f"node-{at}": failed() if kind < 4 and at < 2 else pulled() for at in range(size)}
        argo.results(nodes)
        argo.verdict(nodes)
        argo.phase("Failed" if kind < 4 else "Succeeded")
        server.change("workflows", name, {"metadata": {"annotations": {ANNOTATION_CLEANED: stamp}}})


def measure(server: ApiServer, folder: Path, chosen: argparse.Namespace) -> None:
    """Start the server, load it, and print the measurements."""
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig(folder)), "K8S_NAMESPACE": "warm"}
    log = folder / "log"
    with log.open("w") as stderr:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "ips_flows.cli.main", "serve", "--port", "0"],
            env=environment,
            stderr=stderr,
        )
        try:
            port = port_of(log)
            asyncio.run(await_ready(port))
            print(
                f"ready after {time.monotonic() - began:.1f} s, {resident(process.pid):.0f} MiB", flush=True
            )
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                took = pool.apply(load, (port, chosen.path, chosen.clients, chosen.seconds, chosen.pause))
            took.sort()
            print(
                f"{len(took)} responses, {len(took) / chosen.seconds:.0f}/s: "
                f"p50 {took[len(took) // 2] * 1000:.1f} ms, p99 {took[len(took) * 99 // 100] * 1000:.1f} ms, "
                f"longest {took[-1] * 1000:.0f} ms"
            )
            print(f"{resident(process.pid):.0f} MiB afterwards", flush=True)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def port_of(log: Path) -> int:
    """Return the port in the server's log."""
    for _ in range(600):
        for line in log.read_text().splitlines():
            document = json.loads(line)
            if document["message"] == "listening":
                return int(document["port"])
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


async def await_ready(port: int) -> None:
    """Wait until the server is ready."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        if b" 200 " in answer.split(b"\r\n", 1)[0]:
            return
        await asyncio.sleep(0.2)


def load(port: int, path: str, clients: int, seconds: float, pause: float) -> list[float]:
    """Send requests; return the seconds of each response."""
    return asyncio.run(_load(port, path, clients, seconds, pause))


async def _load(port: int, path: str, clients: int, seconds: float, pause: float) -> list[float]:
    took: list[float] = []
    end = time.monotonic() + seconds
    await asyncio.gather(*(_client(port, path, end, pause, took) for _ in range(clients)))
    return took


async def _client(port: int, path: str, end: float, pause: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    while time.monotonic() < end:
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
        took.append(time.perf_counter() - began)
        if pause:
            await asyncio.sleep(pause)
    writer.close()


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kib) / 1024


if __name__ == "__main__":
    main()
