"""The everyday commands of the front page: run against fakes, they print what the page shows."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import FailureLine
from ips_flows.core.results.results import ImageResult, NodeResult
from tests.fakes import token_registry as fake
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import AT, Argo
from tests.support.forks import Fork
from tests.support.kube_objects import held, node
from tests.support.paths import README

REGISTRY = "reg.example.com"  # as long as the address of a registry on this machine, so that tables keep their widths
WEB, MODEL = "shop/web:4.2.0", "ml/model:24.11"
REFUSED = "unexpected status: 503"


def section() -> str:
    text = README.read_text(encoding="utf-8")
    return text[text.index("## Every day") : text.index("## How a task runs")]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", section(), re.DOTALL)
    assert found
    return found[1]


def transcript() -> list[tuple[str, str]]:
    """Return the commands, each with its output."""
    parts = re.split(r"^\$ ", block("console"), flags=re.MULTILINE)[1:]
    return [
        (command, printed.rstrip("\n")) for command, _, printed in (part.partition("\n") for part in parts)
    ]


@pytest.fixture
def shop(server: ApiServer, tmp_path: Path) -> Iterator[tuple[fake.Hub, dict[str, str]]]:
    """A registry with two images and a cluster of five nodes, one of which is cordoned."""
    with fake.hub("none") as hub:
        hub.put("shop/web", "4.2.0", fake.image(fake.claimed_layer(42_000_000, "web"), author="shop"))
        hub.put("ml/model", "24.11", fake.image(fake.claimed_layer(150_000_000, "model"), author="ml"))
        worker = hub.put("ips/worker", "1", fake.image(fake.layer(10, "worker")))
        settings = {"worker-image": worker, "max-concurrent-tasks": "3"}
        server.change("configmaps", "ips-config", {"data": settings})
        web = f"{hub.address}/{WEB}"
        for at in range(1, 6):
            images = [held(worker, hub.wares["ips/worker", "1"].digest)]
            images += [held(web, hub.wares["shop/web", "4.2.0"].digest)] if at == 1 else []
            server.put("nodes", node(f"node{at}", images=images, cordoned=at == 5), namespace="")
        (tmp_path / "images.yaml").write_text(block("yaml").replace(REGISTRY, hub.address), encoding="utf-8")
        environment = {
            **os.environ,
            "KUBECONFIG": str(server.kubeconfig(tmp_path)),
            "IPS_FLOW_NAMESPACE": "warm",
        }
        yield hub, environment


def printed_by(
    command: str,
    environment: dict[str, str],
    folder: Path,
    moves: Sequence[tuple[str, Callable[[], None]]] = (),
) -> str:
    """Run a command of ours, and return stdout and stderr as a terminal shows them.

    Each of `moves` is a text and what happens in the cluster once a line with this text is printed.
    """
    words = command.split()
    assert words[0] == "ips-flow"
    ahead = list(moves)
    with contextlib.closing(
        Fork(*words[1:], folder=folder, environment=environment, together=True)
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if ahead and ahead[0][0] in line:
                ahead.pop(0)[1]()
    assert not ahead, lines
    return "".join(lines).rstrip("\n")


def test_they_print_what_is_shown(
    server: ApiServer, shop: tuple[fake.Hub, dict[str, str]], tmp_path: Path
) -> None:
    """`plan`, `run` and `get`, in this order."""
    hub, environment = shop
    (plan, planned), (run, followed), (get, shown) = transcript()

    def seen(command: str, moves: Sequence[tuple[str, Callable[[], None]]] = ()) -> str:
        text = printed_by(command, environment, tmp_path, moves).replace(hub.address, REGISTRY)
        return text.replace("namespace warm", "namespace ips-flow")  # the fake API server has the first one

    assert seen(plan) == planned
    assert seen(run, story(server, hub)) == followed
    assert without_times(seen(get)) == without_times(shown)


def without_times(text: str) -> str:
    """Replace age and duration, which differ from run to run."""
    return re.sub(r"^(rollout .*?) +\S+ +\S+$", r"\1", text, flags=re.MULTILINE)


def story(server: ApiServer, hub: fake.Hub) -> list[tuple[str, Callable[[], None]]]:
    """The task's life: a canary, a wave of two nodes at a time, and a node on which one image fails."""
    images = (f"{hub.address}/{WEB}", f"{hub.address}/{MODEL}")
    failure = FailureLine(node="node3", image=images[1], reason="RegistryUnavailable", message=REFUSED, at=AT)

    def task() -> Argo:
        return Argo(server, "rollout")

    def start() -> None:
        task().phase("Running")

    argo: list[Argo] = []

    def plan() -> None:
        argo.append(task())
        argo[0].planned(
            waves={"wave-1": 1, "wave-2": 3},
            images=images,
            skipped={"Cordoned": 1},
            window=2,
            losses_allowed=1,
        )

    def wave(group: int, **counts: int) -> Callable[[], None]:
        failures = (failure,) if counts.get("failed") else ()
        return lambda: argo[0].progress(group, failures=failures, **counts)

    def end() -> None:
        nodes = {f"node{at}": _result(hub, at) for at in range(1, 5)}
        argo[0].results(nodes)
        argo[0].verdict(nodes, seconds=44.0)  # two waves of pulls, and the pods of Argo's steps
        argo[0].phase("Succeeded")

    return [
        ("pending", start),
        ("running", plan),
        ("planned", wave(0, pulling=1)),
        ("wave-1: 0 of 1", wave(0, done=1)),
        ("wave-1: 1 of 1", wave(1, pulling=2)),
        ("wave-2: 0 of 3", wave(1, done=1, pulling=2)),
        ("wave-2: 1 of 3", wave(1, done=2, failed=1)),
        ("wave-2: 2 of 3", end),
    ]


def _result(hub: fake.Hub, at: int) -> NodeResult:
    digests = hub.wares["shop/web", "4.2.0"].digest, hub.wares["ml/model", "24.11"].digest
    web = ImageResult(Result.PULLED, seconds=2.1, bytes=42_000_000, digest=digests[0])
    if at == 1:
        web = ImageResult(Result.PRESENT, digest=digests[0])
    model = ImageResult(Result.PULLED, seconds=7.4 + at / 10, bytes=150_000_000, digest=digests[1])
    if at == 3:
        model = ImageResult(Result.FAILED, reason="RegistryUnavailable", message=REFUSED, tries=4)
    return NodeResult((web, model), AT)
