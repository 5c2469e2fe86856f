"""The parts of a forecast that stand alone: platforms, manifests, challenges, credentials, disks, time, pins."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from ips_flows.core.forecast.disk import Disk, overflows, read_disk, triggers_garbage_collection
from ips_flows.core.forecast.duration import Bandwidth, max_fed_window, task_seconds
from ips_flows.core.forecast.node_info import NodeInfo, read_node_info
from ips_flows.core.forecast.pin import pin, unpinned
from ips_flows.core.forecast.resolve import Fetched, Resolved, ResolveError, Unresolved, resolve
from ips_flows.core.images.auth_challenge import Challenge, read_challenge
from ips_flows.core.images.keyring import Credential, Keyring, has_provider, read_secret
from ips_flows.core.images.manifest import Descriptor, ManifestError, read_manifest
from ips_flows.core.images.platform import Platform, match_rank, read_platform
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.k8s.quantity import quantity
from ips_flows.core.plan.node import read_node
from ips_flows.core.request.model import parse_request
from ips_flows.core.results.reasons import FailureReason
from tests.fakes import token_registry as fake
from tests.fakes.token_registry import Ware
from tests.support import kube_objects


@pytest.mark.parametrize(
    ("told", "platform"),
    [
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
        ({"os": "Linux", "architecture": "x86_64", "variant": "v1"}, "linux/amd64"),
        ({"os": "linux", "architecture": "amd64", "variant": "v3"}, "linux/amd64/v3"),
        ({"os": "linux", "architecture": "aarch64", "variant": "8"}, "linux/arm64"),
        ({"os": "linux", "architecture": "arm"}, "linux/arm/v7"),
        ({"os": "linux", "architecture": "arm", "variant": "6"}, "linux/arm/v6"),
        ({"os": "windows", "architecture": "amd64"}, "windows/amd64"),
        ({}, ""),
    ],
)
def test_platforms_are_normalised(told: Mapping[str, str], platform: str) -> None:
    """Spellings of one platform are one, as containerd has it."""
    assert str(read_platform(told)) == platform


@pytest.mark.parametrize(
    ("architecture", "platform", "fit"),
    [
        ("amd64", Platform("linux", "amd64"), 0),
        ("amd64", Platform("linux", "386"), 1),
        ("amd64", Platform("linux", "amd64", "v3"), None),
        ("amd64", Platform("windows", "amd64"), None),
        ("amd64", Platform("linux", "arm64"), None),
        ("arm64", Platform("linux", "arm64"), 0),
        ("arm64", Platform("linux", "arm", "v7"), 2),
        ("arm64", Platform("linux", "amd64"), None),
        ("arm", Platform("linux", "arm", "v7"), 0),
        ("arm", Platform("linux", "arm", "v5"), 2),
        ("riscv64", Platform("linux", "riscv64"), 0),
    ],
)
def test_what_runs_on_a_node(architecture: str, platform: Platform, fit: int | None) -> None:
    """A node takes its own architecture first, then what it runs beside that."""
    assert match_rank(architecture, platform) == fit


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "JSON that is no mapping"),
        (
            b'{"schemaVersion": 1}',
            "a manifest of Docker's first schema, which containerd 2 and CRI-O do not take",
        ),
        (b'{"schemaVersion": 2}', "no image: its media type is not told"),
        (b'{"mediaType": "text/plain"}', "no image: its media type is text/plain"),
        (b'{"manifests": 3}', "a manifest without manifests"),
        (b'{"layers": []}', "a manifest without config"),
        (b'{"layers": [], "config": 3}', "a manifest with a descriptor that is no mapping"),
        (b'{"layers": [], "config": {"digest": "x"}}', "a manifest with a descriptor without a digest"),
        (
            b'{"layers": [], "config": {"digest": "sha256:0"}}',
            "a manifest with a descriptor without a size: sha256:0",
        ),
        (
            b'{"layers": [], "config": {"digest": "sha256:0", "size": true}}',
            "a manifest with a descriptor without a size: sha256:0",
        ),
    ],
)
def test_what_is_no_manifest(body: bytes, told: str) -> None:
    """The message says what the registry has in its place."""
    with pytest.raises(ManifestError, match=f"^{told}$"):
        read_manifest(body, "")


def test_the_content_type_counts_where_the_document_tells_none() -> None:
    """OCI's mediaType is optional."""
    document = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    assert read_manifest(document, f"{fake.OCI_INDEX}; charset=utf-8") == read_manifest(document, "")


class Shelf:
    """A repository in a dictionary."""

    def __init__(self, *wares: Ware) -> None:
        self.wares: dict[str, Ware] = {}
        for ware in wares:
            self.add(ware)

    def add(self, ware: Ware) -> None:
        """Hold a ware and all that belongs to it."""
        self.wares[ware.digest] = ware
        for part in ware.parts:
            self.add(part)

    def manifest(self, reference: str) -> Fetched:
        """As a registry."""
        if reference not in self.wares:
            raise ResolveError(FailureReason.NOT_FOUND, "not there", certain=True)
        ware = self.wares[reference]
        return Fetched(ware.body, ware.media_type, ware.digest)

    def blob(self, blob: Descriptor) -> bytes:
        """As a registry."""
        return self.wares[blob.digest].body


def offer_of(ware: Ware, *architectures: str) -> Resolved:
    found = resolve(Shelf(ware), ware.digest, architectures)
    assert isinstance(found, Resolved), found
    return found


def test_the_best_entry_of_an_index() -> None:
    """A node takes the entry that suits it best, whatever their order; others are not asked for."""
    old = fake.image(fake.layer(1, "386"), platform="linux/386")
    new = fake.image(fake.layer(2, "amd64"), platform="linux/amd64")
    top = fake.index(
        ("linux/386", old), ("linux/amd64", new), ("linux/arm/v7", new), media_type=fake.DOCKER_LIST
    )
    contents = offer_of(top, "amd64", "386", "ppc64le").contents
    assert contents["amd64"]
    assert contents["amd64"].digest == new.digest
    assert contents["386"]
    assert contents["386"].digest == old.digest
    assert contents["ppc64le"] is None


def test_entries_that_tell_no_platform() -> None:
    """They are asked for it themselves, indexes in the index too, down to a bound."""
    arm = fake.image(fake.layer(1, "arm"), platform="linux/arm64")
    amd = fake.image(fake.layer(2, "amd"), platform="linux/amd64")
    nested = fake.index(("", arm), ("", fake.index(("linux/amd64", amd))))
    found = offer_of(nested, "arm64", "amd64")
    assert found.contents["arm64"]
    assert found.contents["amd64"]
    assert [str(one) for one in found.platforms] == ["linux/amd64", "linux/arm64"]
    deep = fake.index(("", fake.index(("", fake.index(("", fake.index(("", amd))))))))
    refusal = resolve(Shelf(deep), deep.digest, ["amd64"])
    assert refusal == Unresolved(
        FailureReason.INVALID_IMAGE, "the registry has indexes in one another, more than 3 deep", certain=True
    )


def test_an_entry_of_an_index_that_is_an_index() -> None:
    """With a platform of its own it is no image that a node could take."""
    odd = fake.index(("linux/amd64", fake.index()))
    refusal = resolve(Shelf(odd), odd.digest, ["amd64"])
    assert isinstance(refusal, Unresolved)
    assert refusal.message == "the registry has an index whose entry for a platform is an index itself"


def test_an_entry_that_is_not_there() -> None:
    """An index whose image is gone is refused as the image is."""
    gone = fake.image(fake.layer(1))
    top = fake.index(("linux/amd64", gone))
    shelf = Shelf(top)
    del shelf.wares[gone.digest]
    assert resolve(shelf, top.digest, ["amd64"]) == Unresolved(
        FailureReason.NOT_FOUND, "not there", certain=True
    )


def test_layers_that_lie_elsewhere_and_what_is_no_image() -> None:
    """Foreign layers are counted; another artifact has no platform, and suits every node."""
    far, near = (
        fake.layer(5, "far", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        fake.layer(6),
    )
    one = offer_of(fake.image(far, near, urls={far.digest: ["https://far.example/layer"]}), "amd64").contents[
        "amd64"
    ]
    assert one
    assert (one.foreign, one.layers, one.made_for) == (1, 2, None)
    chart = offer_of(fake.image(near, config_type="application/vnd.cncf.helm.config.v1+json"), "arm64")
    assert chart.platforms == []
    assert chart.contents["arm64"]
    assert chart.contents["arm64"].made_for is None


def test_an_entry_of_an_index_that_is_no_image() -> None:
    """An artifact without a platform in an index suits no node."""
    chart = fake.image(fake.layer(1), config_type="application/vnd.cncf.helm.config.v1+json")
    found = offer_of(fake.index(("", chart)), "amd64")
    assert (found.platforms, found.contents) == ([], {"amd64": None})


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            Challenge(
                "bearer",
                {
                    "realm": "https://auth.docker.io/token",
                    "service": "registry.docker.io",
                    "scope": "repository:a/b:pull,push",
                },
            ),
        ),
        ('Basic realm="private"', Challenge("basic", {"realm": "private"})),
        ("basic", Challenge("basic", {})),
        (
            'Basic realm="a, Bearer b", BEARER Realm="https://x/t", service=',
            Challenge("bearer", {"realm": "https://x/t"}),
        ),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_challenges(header: str, challenge: Challenge | None) -> None:
    """Bearer goes before Basic; what stands in quotes is no scheme."""
    assert read_challenge(header) == challenge


def secret(auths: Any, field: str = ".dockerconfigjson") -> dict[str, Any]:
    document = {"auths": auths} if field == ".dockerconfigjson" else auths
    return {"data": {field: base64.b64encode(json.dumps(document).encode()).decode()}}


def test_secrets_are_read_as_kubelets_read_them() -> None:
    """Both kinds of Secret, both ways to write a password, and every way to write a server."""
    pair = base64.b64encode(b"me:pass:word").decode()
    auths = {
        "https://index.docker.io/v1/": {"auth": pair, "username": "other"},
        "registry.example:5000": {"username": "you", "password": "pw"},
        "http://other.example/v2/team": {"auth": pair},
        "bare.example/": {},
    }
    expected = [
        Credential("index.docker.io", "me", "pass:word"),
        Credential("registry.example:5000", "you", "pw"),
        Credential("other.example/team", "me", "pass:word"),
        Credential("bare.example", "", ""),
    ]
    assert read_secret(secret(auths)) == expected
    assert read_secret(secret(auths, ".dockercfg")) == expected
    assert read_secret(secret(None)) == []


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "it has neither .dockerconfigjson nor .dockercfg, so it is no image pull Secret"),
        ({"data": {".dockerconfigjson": "!"}}, "its .dockerconfigjson is no Docker configuration"),
        (
            {"data": {".dockerconfigjson": base64.b64encode(b"[" * 100_000).decode()}},
            "its .dockerconfigjson is no Docker configuration",
        ),
        (secret([1]), "its .dockerconfigjson is no Docker configuration"),
        (secret({"a": 1}), "its .dockerconfigjson is no Docker configuration"),
        (secret({"a": {"auth": "A"}}), "its .dockerconfigjson is no Docker configuration"),
    ],
)
def test_secrets_that_are_none(document: Any, told: str) -> None:
    """The message says what is wrong, and holds nothing of the content."""
    with pytest.raises(ValueError, match=f"^{told}$"):
        read_secret(document)


@pytest.mark.parametrize(
    ("image", "keys"),
    [
        ("registry.example/team/app:1", ["registry.example/team", "registry.example"]),
        ("registry.example/other:1", ["registry.example"]),
        ("registry.example:5000/app:1", []),
        ("eu.wild.example/app", ["*.wild.example"]),
        ("a.eu.wild.example/app", []),
        ("busybox", ["index.docker.io"]),
        ("docker.io/team/app", ["index.docker.io"]),
    ],
)
def test_credentials_for_an_image(image: str, keys: list[str]) -> None:
    """The most special key goes first; a `*` stands for one part of a host; Docker Hub has a key of its own."""
    known = ["registry.example", "registry.example/team", "*.wild.example", "index.docker.io"]
    chosen = Keyring([Credential(key, "u", "p") for key in known]).credentials_for(parse_reference(image))
    assert [one.key for one in chosen] == keys


def test_clouds_whose_nodes_have_credentials() -> None:
    """No Secret tells of a kubelet's credential provider."""
    assert has_provider("123.dkr.ecr.eu-central-1.amazonaws.com")
    assert has_provider("europe-docker.pkg.dev")
    assert not has_provider("registry.example")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("95551679124", 95551679124),
        ("50Gi", 50 << 30),
        ("1.5G", 1_500_000_000),
        ("1e3", 1000),
        ("5k", 5000),
        ("2500m", 2),
        (".5Ki", 512),
        ("", None),
        ("many", None),
        ("5 Gi", None),
    ],
)
def test_quantities(text: str, number: int | None) -> None:
    """Quantities as Kubernetes writes them."""
    assert quantity(text) == number


def test_facts_of_a_node() -> None:
    """Architecture, disk, pressure, and the digests of what it holds."""
    raw = kube_objects.node(images=[kube_objects.held(kube_objects.GOOD)])
    raw["status"]["allocatable"] = {"ephemeral-storage": "1Ki"}
    raw["status"]["nodeInfo"]["architecture"] = "arm64"
    raw["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    wanted = [parse_reference(kube_objects.GOOD), parse_reference(kube_objects.OTHER)]
    facts = read_node_info(raw, read_node(raw), wanted, wanted[0])
    assert facts == NodeInfo("arm64", 1024, pressure=True, worker=True, digests=(kube_objects.DIGEST, None))
    bare = {"metadata": {"name": "bare"}}
    facts = read_node_info(bare, read_node(bare), wanted, wanted[1])
    assert facts == NodeInfo("amd64", None, pressure=False, worker=False, digests=(None, None))


def test_disks_by_a_kubelets_word() -> None:
    """The image file system, else the node's; the threshold of its configuration, else the stock one."""
    file_system = {"availableBytes": 40, "capacityBytes": 100}
    both = {"node": {"runtime": {"imageFs": file_system}, "fs": {"availableBytes": 1, "capacityBytes": 2}}}
    assert read_disk(both, {"kubeletconfig": {"imageGCHighThresholdPercent": 70}}) == Disk(40, 100, 70)
    assert read_disk({"node": {"fs": file_system}}, {}) == Disk(40, 100, 85)
    assert read_disk({}, {}) is None
    assert read_disk({"node": {"fs": {"availableBytes": 1, "capacityBytes": 0}}}, {}) is None


def test_what_a_disk_has_room_for() -> None:
    """The compressed bytes must fit; three times as much decides whether the kubelet would collect images."""
    assert overflows(Disk(10, 100), 11)
    assert not overflows(Disk(10, 100), 10)
    assert not triggers_garbage_collection(Disk(45, 100), 10)
    assert triggers_garbage_collection(Disk(44, 100), 10)
    assert not triggers_garbage_collection(Disk(10, 100, 100), 10)


def test_the_time_of_a_task() -> None:
    """Nodes roll through the window, or wait at the barrier; the registry's own bandwidth is shared."""
    pace = Bandwidth(10.0)
    assert task_seconds(pace, [], 5, "rolling") == 0
    assert task_seconds(pace, [[90]], 5, "rolling") == 10
    assert task_seconds(pace, [[90, 90, 90]], 3, "rolling") == pytest.approx(10.2)
    assert task_seconds(pace, [[90], [90]], 3, "rolling") == 20
    rolling = task_seconds(pace, [[90, 0, 0, 0]], 2, "rolling")
    assert rolling == 10
    assert task_seconds(pace, [[90, 0, 90, 0]], 2, "batch") == 20
    assert task_seconds(Bandwidth(10.0, 10.0), [[90, 90]], 2, "rolling") == pytest.approx(19.1)
    assert task_seconds(Bandwidth(10.0, 100.0), [[90]], 2, "rolling") == 10


def test_a_large_window_is_bound_by_the_controllers() -> None:
    """Ten pods a second are made, so small pulls of many nodes take that long."""
    assert task_seconds(Bandwidth(1e9), [[0] * 1000], 1000, "rolling") == pytest.approx(100.9)
    assert max_fed_window(3.0) == 30
    assert max_fed_window(0.01) == 1


def test_pins() -> None:
    """Every tag gets its digest, and keeps its tag and policy; what is the same image twice goes."""
    one, two = (f"sha256:{digit * 64}" for digit in "12")
    text = f'["app:1", {{"image": "app", "pullPolicy": "Always"}}, "tool@{two}", "other:2"]'
    request = parse_request(text)
    assert unpinned(request) == ["app:1", "app", "other:2"]
    pinned = pin(request, {"app:1": one, "app": one, "other:2": two})
    assert [spec.image for spec in pinned.request.images] == [f"app:1@{one}", f"tool@{two}", f"other:2@{two}"]
    assert pinned.tags == {"app:1": f"app:1@{one}", "app": f"app@{one}", "other:2": f"other:2@{two}"}
    assert pinned.doubled == ["app"]
