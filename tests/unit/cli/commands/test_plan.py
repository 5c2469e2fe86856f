"""`ips-flow plan`, `run --plan` and `--pin` against the fake API server and a registry that wants tokens."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ips_flows.cli.main import run
from ips_flows.cli.options.registry import BandwidthType, RegistryType
from ips_flows.cli.output.forecast_tables import issue_lines
from ips_flows.core.forecast.issues import Issue, IssueKind
from ips_flows.core.plan.plan import GroupPlan
from ips_flows.core.results.records import PlanSummary
from ips_flows.registry.parallel import map_bounded
from steps.filter import run as run_filter
from tests.fakes import token_registry as fake
from tests.fakes.apiserver import ApiServer
from tests.fakes.silent_server import Tarpit
from tests.fakes.token_registry import Hub, Ware
from tests.support.kube_objects import held, node
from tests.support.step_harness import Stage

SHOWN = "registry.test:1"  # as long as the address of a registry on this machine


def both(name: str, size: int) -> Ware:
    """Return an image for two platforms; all of these images share a layer."""
    shared = fake.layer(3_000_000, "shared")
    amd = fake.image(shared, fake.layer(size, name))
    arm = fake.image(shared, fake.layer(size, name), platform="linux/arm64")
    return fake.index(("linux/amd64", amd), ("linux/arm64", arm))


@dataclass
class World:
    """A cluster of four nodes and a registry."""

    server: ApiServer
    hub: Hub
    app: str
    tool: str
    private: str
    worker: str

    def machine(self, name: str, *images: str, **more: Any) -> None:
        """Add a node that has the worker's image and others, as they are in the registry."""
        entries = [self.held(image) for image in (self.worker, *images)]
        self.server.put("nodes", node(name, images=entries, **more), namespace="")

    def held(self, image: str) -> dict[str, Any]:
        """Return an image as a node lists it."""
        repository, _, tag = image.removeprefix(f"{self.hub.address}/").partition(":")
        return held(image, self.hub.wares[repository, tag].digest)

    def digest(self, image: str) -> str:
        """Push an image to the registry under a tag."""
        repository, _, tag = image.removeprefix(f"{self.hub.address}/").partition(":")
        return self.hub.wares[repository, tag].digest

    def secret(self, name: str, password: str = "local-only") -> None:  # noqa: S107  (a fixture)
        """Add an image pull Secret for the registry."""
        auths = {"auths": {self.hub.address: {"username": "robot", "password": password}}}
        data = base64.b64encode(json.dumps(auths).encode()).decode()
        self.server.put("secrets", {"metadata": {"name": name}, "data": {".dockerconfigjson": data}})

    def writes(self) -> list[str]:
        """Return the requests that could have changed something."""
        return [call for call in self.server.calls if not call.startswith("GET") and "dryRun=All" not in call]


@pytest.fixture
def world(server: ApiServer, shell: None) -> Iterator[World]:  # noqa: ARG001
    """Start a cluster and a registry; the test fails if something is changed that it does not expect."""
    settings: dict[str, Any] = {"users": {"robot": "local-only"}, "private": frozenset({"team/private"})}
    with fake.hub("token", **settings) as hub:
        one = World(
            server,
            hub,
            hub.put("team/app", "1.2", both("app", 900_000)),
            hub.put("team/tool", "7", both("tool", 50_000)),
            hub.put("team/private", "1", both("private", 10)),
            hub.put("ips/worker", "1", both("worker", 10)),
        )
        data = {"worker-image": one.worker, "max-concurrent-tasks": "3"}
        server.put("configmaps", {"metadata": {"name": "ips-config"}, "data": data})
        one.machine("node1", one.app, one.tool)
        one.machine("node2", one.tool)
        one.machine("node3")
        one.machine("node4", cordoned=True)
        yield one


@dataclass
class Said:
    """The result of a command."""

    code: int
    out: str
    err: str


class Shell:
    """The command line."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world, self.capsys = world, capsys

    def __call__(self, *arguments: str) -> Said:
        """Run a command."""
        code = run(list(arguments))
        caught = self.capsys.readouterr()
        return Said(code, *(text.replace(self.world.hub.address, SHOWN) for text in (caught.out, caught.err)))

    def json(self, *arguments: str) -> Any:
        """Return the document of a forecast without errors."""
        said = self(*arguments, "-o", "json")
        assert said.code == (0 if json.loads(said.out)["ok"] else 1), said
        return json.loads(said.out)


@pytest.fixture
def flow(world: World, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Return the command line for that cluster."""
    return Shell(world, capsys)


def kinds(document: Any) -> list[tuple[str, str, int]]:
    return [(one["level"], one["kind"], one["nodes"]) for one in document["problems"]]


def test_what_a_task_would_do(world: World, flow: Shell) -> None:
    """Nodes, mode, window, bytes and images, in a table; nothing is changed."""
    said = flow("plan", "--image", world.app, "--image", world.tool)
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        "NODES      3 eligible: 1 warm, 2 to do; 1 skipped: Cordoned ×1\n"
        "MODE       volume: every eligible node mounts image volumes\n"
        "WINDOW     at most 10 at the same time\n"
        "ESTIMATE   7.9 MB on 2 nodes, at most 4.0 MB per node (3.0 MB less because of shared layers);"
        " about 1.1 s at 100 MB/s per node\n"
        "\n"
        "IMAGE                          PRESENT   MISSING   SIZE     LAYERS   PLATFORMS                 DIGEST\n"
        f"registry.test:1/team/app:1.2   1/3       2         3.9 MB   2        linux/amd64,linux/arm64"
        f"   {world.digest(world.app)[:19]}\n"
        f"registry.test:1/team/tool:7    2/3       1         3.1 MB   2        linux/amd64,linux/arm64"
        f"   {world.digest(world.tool)[:19]}\n"
        "\n"
        "no problem that would fail a task\n"
    )
    assert not world.writes()


def test_wide_shows_every_node(world: World, flow: Shell) -> None:
    """A wide table shows the missing images of each node, or why it is skipped, and full digests."""
    said = flow(
        "plan",
        "--image",
        world.app,
        "--image",
        world.tool,
        "-o",
        "wide",
        "--waves",
        "1,100%",
        "--order",
        "batch",
    )
    assert (
        "WINDOW     at most 10 at the same time, a barrier after each batch; nodes by wave: wave-1 1, wave-2 1\n"
        in said.out
    )
    assert world.digest(world.app) in said.out
    assert said.out.split("\n\n")[2] == (
        "NODE    STATE     REASON     PRESENT   SIZE     MISSING\n"
        "node1   warm      –          2/2       –        –\n"
        "node2   to do     –          1/2       3.9 MB   registry.test:1/team/app:1.2\n"
        "node3   to do     –          0/2       4.0 MB   registry.test:1/team/app:1.2, registry.test:1/team/tool:7\n"
        "node4   skipped   Cordoned   –         –        –"
    )


def test_warm_images_need_no_registry(world: World, flow: Shell) -> None:
    """For images that all nodes have, neither a registry nor a Secret is read."""
    said = flow("plan", "--image", world.app, "--nodes", "node1", "--pull-secrets", "none")
    assert (said.code, said.err) == (0, "")
    assert "ESTIMATE   nothing to pull\n" in said.out
    assert not world.hub.asked
    assert not [call for call in world.server.calls if "/secrets" in call]


def test_problems_by_severity(world: World, flow: Shell) -> None:
    """Errors come first, each with a hint; the exit code is 1."""
    world.machine("node5", labels={"kubernetes.io/arch": "s390x"})
    world.hub.put("team/app", "1.2", both("newer", 5))
    missing = f"{world.hub.address}/team/app:nowhere"
    said = flow("plan", "--image", world.app, "--image", missing, "--image", world.private)
    assert (said.code, said.err) == (1, "")
    assert said.out.split("\n\n")[2] == (
        "error: WrongPlatform on node5: registry.test:1/team/app:1.2: no image for linux/s390x;"
        " available: linux/amd64, linux/arm64\n"
        "  → Exclude these nodes, or build the image for their platform.\n"
        "error: NotFound on 4 nodes, such as node1: registry.test:1/team/app:nowhere: HTTP 404: MANIFEST_UNKNOWN:"
        " not known\n"
        "  → Check the reference.\n"
        "error: Unauthorized on 4 nodes, such as node1: registry.test:1/team/private:1: HTTP 401: UNAUTHORIZED:"
        " authentication required (no credentials sent)\n"
        "  → Set --pull-secrets to a Secret that can pull the image.\n"
        "warning: Stale on node1: registry.test:1/team/app:1.2: the registry now has"
        f" {world.digest(world.app)[:19]}… for this tag, nodes have other content\n"
        "  → Use --pin or --pull-policy Always to get the same content on all nodes.\n"
        "a task would fail: 3 errors, 1 warning\n"
    )


def test_an_estimate_with_unknown_sizes(world: World, flow: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the size of only some missing images is known, every number of the estimate is a lower bound."""
    monkeypatch.setattr("ips_flows.registry.client._PAUSES", (0.0, 0.0, 0.0))
    said = flow("plan", "--image", world.app, "--image", "127.0.0.1:1/app:1", "--nodes", "node3")
    line = next(line for line in said.out.splitlines() if line.startswith("ESTIMATE"))
    assert re.fullmatch(
        r"ESTIMATE   at least (\S+ MB) on 1 node, at least \1 on one node; at least \S+ s at 100 MB/s per node",
        line,
    ), line


def test_the_rows_of_what_is_not_there(world: World, flow: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure class replaces the digest, with a question mark if nodes may succeed."""
    monkeypatch.setattr("ips_flows.registry.client._PAUSES", (0.0, 0.0, 0.0))
    closed = "127.0.0.1:1/app:1"
    said = flow("plan", "--image", f"{world.hub.address}/none:1", "--image", closed, "--nodes", "node3")
    rows = [line.split() for line in said.out.split("\n\n")[1].splitlines()]
    assert [row[-1] for row in rows] == ["DIGEST", "NotFound", "RegistryUnavailable?"]
    assert "ESTIMATE   unknown for 1 node: no registry returned the size of a missing image\n" in said.out
    assert (
        "Unverified on node3: 127.0.0.1:1/app:1: RegistryUnavailable when checked from this host: 127.0.0.1:1 can't be"
        in said.out
    )
    assert said.code == 1


def test_sizes_of_several_platforms(world: World, flow: Shell) -> None:
    """A wide table shows the sizes of all platforms."""
    world.machine("node5", labels={"kubernetes.io/arch": "arm64"})
    said = flow("plan", "--image", world.app, "-o", "wide")
    assert "   amd64 3.9 MB, arm64 3.9 MB   " in said.out


def test_a_private_image_and_its_secret(world: World, flow: Shell) -> None:
    """A named Secret is used; otherwise those of the pull pods' ServiceAccount."""
    world.secret("robot")
    world.secret("wrong", "wrong")
    base = ("plan", "--image", world.private)
    assert flow.json(*base, "--pull-secrets", "robot")["ok"]
    assert flow.json(*base, "--pull-secrets", "wrong,robot")["ok"]
    assert kinds(flow.json(*base, "--pull-secrets", "wrong")) == [("error", "Unauthorized", 3)]
    account = {"metadata": {"name": "ips-flow-pull"}, "imagePullSecrets": [{"name": "robot"}]}
    world.server.put("serviceaccounts", account)
    assert flow.json(*base)["ok"]
    assert kinds(flow.json(*base, "--pull-secrets", "wrong")) == [("error", "Unauthorized", 3)]


def test_secrets_that_are_of_no_use(world: World, flow: Shell) -> None:
    """A missing or malformed Secret is reported, and nodes pull without it; an unreadable one leaves the result open."""
    base = ("plan", "--image", world.private, "--pull-secrets")
    assert kinds(flow.json(*base, "none")) == [("error", "Unauthorized", 3), ("warning", "PullSecret", 0)]
    world.server.put("secrets", {"metadata": {"name": "empty"}, "data": {}})
    document = flow.json(*base, "empty")
    assert document["problems"][1]["message"].startswith("Secret empty: it has neither .dockerconfigjson nor")
    world.server.forbid("GET .*/secrets/hidden", "get", "secrets")
    document = flow.json(*base, "hidden")
    assert kinds(document) == [("warning", "PullSecret", 0), ("warning", "Unverified", 3)]
    assert document["problems"][1]["message"].endswith("; a Secret could not be read")
    world.server.forbid("GET .*/serviceaccounts/", "get", "serviceaccounts")
    assert kinds(flow.json("plan", "--image", world.app)) == [("warning", "PullSecret", 0)]


def test_a_registry_of_a_cloud(world: World, flow: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes may have credentials that are in no Secret."""
    monkeypatch.setattr("ips_flows.core.images.keyring._CLOUDS", ("127.*",))
    document = flow.json("plan", "--image", world.private)
    assert kinds(document) == [("warning", "Unverified", 3)]
    assert document["problems"][0]["message"].endswith(
        "; nodes may have a credential provider for this registry"
    )


def test_disk_space_from_kubelets(world: World, flow: Shell) -> None:
    """Kubelets are read only with the flag; a kubelet without data is reported, a missing permission is an error."""
    proxy = "/api/v1/nodes/{}/proxy/"
    for name, free in (("node2", 1_000_000), ("node3", 40_000_000)):
        stats = {"node": {"runtime": {"imageFs": {"availableBytes": free, "capacityBytes": 100_000_000}}}}
        world.server.documents[proxy.format(name) + "stats/summary"] = stats
    high = {"kubeletconfig": {"imageGCHighThresholdPercent": 50}}
    world.server.documents[proxy.format("node3") + "configz"] = high
    world.machine("node5")
    base = ("plan", "--image", world.app)
    assert flow.json(*base)["ok"]
    assert not [call for call in world.server.calls if "/proxy/" in call]
    document = flow.json(*base, "--check-disk")
    assert kinds(document) == [
        ("error", "NoSpace", 1),
        ("warning", "DiskUnknown", 1),
        ("warning", "ImageCollection", 1),
    ]
    assert [one["firstNode"] for one in document["problems"]] == ["node2", "node5", "node3"]
    world.server.forbid("GET .*/proxy/", "get", "nodes/proxy", namespace="")
    said = flow(*base, "--check-disk")
    assert said.code == 1
    assert "me may not get nodes/proxy" in said.err


def test_a_mode_that_was_not_seen(world: World, flow: Shell) -> None:
    """Without permission to create Jobs in a dry run, a note states that the mode is a guess."""
    world.server.forbid("POST .*/jobs", "create", "jobs", "batch")
    document = flow.json("plan", "--image", world.app)
    assert kinds(document) == [("warning", "Mode", 0)]
    assert document["mode"] == "volume"


def test_bandwidths(world: World, flow: Shell) -> None:
    """Bandwidth can be set per node and for all nodes together."""
    said = flow("plan", "--image", world.app, "--bandwidth", "8Mbit/s", "--registry-bandwidth", "1MB")
    assert "about 8.9 s at 1.0 MB/s per node and 1.0 MB/s in total\n" in said.out
    assert flow("plan", "--image", world.app, "--bandwidth", "fast").err.startswith(
        "error: Invalid value for '--bandwidth': 'fast' is not a bandwidth; expected one such as"
    )


@pytest.mark.parametrize(
    ("text", "bytes_a_second"),
    [("100MB/s", 1e8), ("1Gbit/s", 125e6), ("80 MiB", 80 * 2**20), ("10kbps", 1250), ("5B", 5.0)],
)
def test_how_bandwidths_are_written(text: str, bytes_a_second: float) -> None:
    """A bandwidth has bytes or bits, in decimal or binary units."""
    assert BandwidthType().convert(text, None, None) == bytes_a_second


def test_what_is_no_registry(flow: Shell) -> None:
    """A URL is not a registry."""
    assert RegistryType().convert("[::1]:5000", None, None) == "[::1]:5000"
    said = flow("plan", "--image", "a", "--insecure-registry", "http://a")
    assert said.code == 2
    assert "'http://a' is not a registry; expected one such as" in said.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("plan",), "error: nothing to plan: neither FILE nor --image was given\n"),
        (("plan", "--image", "A"), "error: --image: images[0]: got"),
        (
            ("plan", "--image", "a", "-o", "request"),
            "error: -o request prints a pinned request and requires --pin\nhint:  Add --pin.\n",
        ),
        (
            ("run", "--image", "a", "--insecure-registry", "b"),
            "error: --insecure-registry requires --plan or --pin; without them `run` does not connect to a registry",
        ),
    ],
)
def test_bad_requests(world: World, flow: Shell, arguments: tuple[str, ...], told: str) -> None:
    """Exit 2, without requests to the cluster or a registry."""
    said = flow(*arguments)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert not world.server.calls


def test_plan_without_an_eligible_node(world: World, flow: Shell) -> None:
    """The task would fail, with the message of step filter."""
    said = flow("plan", "--image", world.app, "--nodes", "node9")
    assert (said.code, said.out) == (1, "")
    assert said.err == "error: no eligible node among 4: 4 NotSelected\n"


def test_not_installed(world: World, flow: Shell) -> None:
    """A plan requires a worker image."""
    world.server.put("configmaps", {"metadata": {"name": "ips-config"}, "data": {}})
    said = flow("plan", "--image", world.app)
    assert said.code == 1
    assert said.err == "error: worker-image is missing in ConfigMap ips-config of namespace warm\n"


def test_pins(world: World, flow: Shell) -> None:
    """Each tag gets the digest of its index; the plan is that of the pinned request."""
    twin = world.hub.put("team/app", "twin", world.hub.wares["team/app", "1.2"])
    said = flow("plan", "--image", world.app, "--image", twin, "--pin", "-o", "request", "--batch-size", "3")
    digest = world.digest(world.app)
    assert said.code == 0
    assert yaml.safe_load(said.out) == {"images": [f"{SHOWN}/team/app:1.2@{digest}"], "batchSize": 3}
    assert said.err == (
        f"pinned: registry.test:1/team/app:1.2 is {digest}\n"
        f"pinned: registry.test:1/team/app:twin is {digest}\n"
        "pinned: registry.test:1/team/app:twin left out: it has the same digest as another image of the request\n"
    )
    world.hub.asked.clear()
    document = flow.json("plan", "--image", world.app, "--pin")
    assert document["images"][0]["digest"] == digest
    assert document["warmNodes"] == 1
    manifests = [
        path for path in world.hub.asked if "/manifests/" in path and path.startswith("/v2/team/app/")
    ]
    assert len(set(manifests)) == 2  # that of the tag, and that of one platform
    assert not world.writes()


def test_what_can_not_be_pinned(world: World, flow: Shell) -> None:
    """Nothing is planned or submitted."""
    for verb in ("plan", "run"):
        said = flow(verb, "--image", world.private, "--image", f"{world.hub.address}/none:1", "--pin")
        assert (said.code, said.out) == (1, "")
        assert said.err.splitlines()[0].startswith(
            "error: registry.test:1/team/private:1 can't be pinned: Unauthorized: HTTP 401"
        )
        assert "registry.test:1/none:1 can't be pinned: NotFound: HTTP 404" in said.err
    assert not world.writes()


def test_run_with_plan(world: World, flow: Shell) -> None:
    """With --plan a request that would fail is not submitted; any other request is, after its warnings."""
    missing = f"{world.hub.address}/none:1"
    said = flow("run", "--image", missing, "--plan", "--detach", "--name", "a")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "error: NotFound on 3 nodes, such as node1: registry.test:1/none:1: HTTP 404: MANIFEST_UNKNOWN: not known\n"
        "  → Check the reference.\n"
        "error: nothing submitted: a task would fail: 1 error\n"
        "hint:  `ips-flow plan` shows all details. To submit anyway, leave out --plan.\n"
    )
    assert not world.writes()
    world.server.put("secrets", {"metadata": {"name": "empty"}, "data": {}})
    said = flow(
        "run", "--image", world.app, "--plan", "--pin", "--pull-secrets", "empty", "--detach", "--name", "b"
    )
    assert said.code == 0
    assert "warning: PullSecret: Secret empty: it has neither" in said.err
    assert (
        "\nplan: no problem that would fail a task: 1 warning\ntask b submitted in namespace warm\n"
        in said.err
    )
    arguments = world.server.get("workflows", "b")["spec"]["arguments"]["parameters"]
    request = json.loads(arguments[0]["value"])
    assert request["images"] == [f"{world.app}@{world.digest(world.app)}"]


def test_requests_of_manifests_share_what_was_read(world: World, flow: Shell, tmp_path: Path) -> None:
    """Requests with the same pull Secrets read them once, and read each manifest once; others read for themselves."""
    pods: list[dict[str, Any]] = []
    for name, secrets in (("a", ()), ("b", ()), ("c", ("pull",))):
        world.server.put("nodes", node(f"node-{name}", labels={"pool": name}), namespace="")
        container = {"name": "c", "image": world.tool}
        spec = {
            "nodeSelector": {"pool": name},
            "containers": [container],
            "imagePullSecrets": [{"name": one} for one in secrets],
        }
        pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    file = tmp_path / "pods.yaml"
    file.write_text(yaml.safe_dump_all(pods), encoding="utf-8")
    world.secret("pull")
    said = flow("run", "--manifest", str(file), "--plan", "--dry-run")
    assert said.code == 0
    assert said.err.count("plan: no problem that would fail a task") == 3
    assert len([call for call in world.server.calls if "/serviceaccounts/" in call]) == 1
    assert len([call for call in world.server.calls if "/secrets/pull" in call]) == 1
    (platform,) = {path for path in world.hub.asked if "/team/tool/manifests/sha256:" in path}
    assert world.hub.asked.count(platform) == 2


def test_plan_says_what_filter_does(world: World, flow: Shell, whole: Stage, tmp_path: Path) -> None:
    """The same request, the same nodes: the same counts, mode, window and waves, and the same nodes to do."""
    fields: dict[str, Any] = {
        "images": [world.app, world.tool],
        "batchSize": "50%",
        "waves": [1, "100%"],
        "excludeNodes": ["node9"],
    }
    file = tmp_path / "images.json"
    file.write_text(json.dumps(fields), encoding="utf-8")
    document = flow.json("plan", str(file))
    world.server.calls.clear()  # the next calls are those of filter, with its own permissions
    request = [{"name": "request", "value": json.dumps(fields)}]
    whole.workflow({"spec": {"arguments": {"parameters": request}}})
    assert run_filter(whole.context, ()) == 0
    summary = PlanSummary.from_json(whole.annotations()["ips-flow.io/plan"])
    assert (document["totalNodes"], document["warmNodes"], document["toDoNodes"]) == (
        summary.eligible,
        summary.warm,
        summary.to_do,
    )
    assert document["skippedNodes"] == summary.skipped
    assert (document["mode"], document["modeReason"], document["window"]) == (
        summary.mode,
        summary.mode_reason,
        summary.window,
    )
    assert document["waves"] == [{"name": wave.name, "nodes": wave.nodes} for wave in summary.waves]
    stored = [one for key, one in world.server.store.objects.items() if key[0] == "configmaps"]
    groups = [
        GroupPlan.decode(one["binaryData"])
        for one in stored
        if (one["metadata"].get("labels") or {}).get("ips-flow.io/kind") == "plan"
    ]
    planned = {node.name for group in groups for node in group.nodes}
    assert planned == {name for name, one in document["nodes"].items() if one["state"] == "to do"}


def test_control_characters_are_escaped(flow: Shell, world: World) -> None:
    """Control characters from a registry are escaped."""
    world.hub.replies = [(418, {}, b"\x1b[2Jgone\nerror: forged")] * 2
    said = flow("plan", "--image", world.app)
    assert "\x1b" not in said.out
    assert "\nerror: forged" not in said.out
    assert said.out.count("\\x1b[2Jgone") == 1


def test_ctrl_c_while_a_registry_is_silent(server: ApiServer, tmp_path: Path) -> None:
    """Ctrl-C ends the command immediately."""
    with Tarpit("127.0.0.1", [0]) as address:
        data = {"worker-image": f"{address}/worker:1", "max-concurrent-tasks": "3"}
        server.put("configmaps", {"metadata": {"name": "ips-config"}, "data": data})
        server.put("nodes", node("node1"), namespace="")
        process = subprocess.Popen(
            [sys.executable, "-m", "ips_flows.cli.main", "plan", "--image", f"{address}/app:1"],
            env={**os.environ, "KUBECONFIG": str(server.kubeconfig(tmp_path))},
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (may be ignored)
        )
        try:
            server.await_call("/serviceaccounts/")  # the last request before those to registries
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        finally:
            process.kill()
            process.wait()


def test_an_unexpected_error_of_a_thread() -> None:
    """An error of a thread is raised to the caller, and no further requests are made."""
    asked: list[int] = []

    def ask(number: int) -> int:
        asked.append(number)
        return 1 // number

    assert map_bounded(ask, [1, 2]) == [1, 0]
    with pytest.raises(ZeroDivisionError):
        map_bounded(ask, [0])
    assert map_bounded(ask, []) == []


def test_a_concern_of_one_node_and_of_none() -> None:
    """Nodes are shown if there are any."""
    assert issue_lines(Issue("warning", IssueKind.WINDOW, "too large")) == ["Window: too large"]


def test_few_requests_are_made(world: World, flow: Shell) -> None:
    """The nodes are listed once, and each manifest is read once, even if it is missing on many nodes."""
    for number in range(20):
        world.machine(f"more{number}")
    assert flow.json("plan", "--image", world.app)["toDoNodes"] == 22
    assert [call for call in world.server.calls if "/nodes" in call] == ["GET /api/v1/nodes?limit=500"]
    assert (
        len([path for path in world.hub.asked if "/manifests/" in path]) == 3
    )  # one of them was the challenge
