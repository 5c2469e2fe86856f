"""Resolve references against a registry in a dictionary."""

from __future__ import annotations

from ips_flows.core.forecast.resolve import Fetched, Resolved, ResolveError, Unresolved, resolve
from ips_flows.core.images.manifest import Descriptor
from ips_flows.core.results.reasons import FailureReason
from tests.fakes import token_registry as fake
from tests.fakes.token_registry import Ware


class DictFetcher:
    """A repository in a dictionary."""

    def __init__(self, *wares: Ware) -> None:
        self.wares: dict[str, Ware] = {}
        for ware in wares:
            self.add(ware)

    def add(self, ware: Ware) -> None:
        """Add a ware with all its parts."""
        self.wares[ware.digest] = ware
        for part in ware.parts:
            self.add(part)

    def manifest(self, reference: str) -> Fetched:
        """Return a manifest, as a registry does."""
        if reference not in self.wares:
            raise ResolveError(FailureReason.NOT_FOUND, "not there", certain=True)
        ware = self.wares[reference]
        return Fetched(ware.body, ware.media_type, ware.digest)

    def blob(self, blob: Descriptor) -> bytes:
        """Return a blob, as a registry does."""
        return self.wares[blob.digest].body


def resolved_of(ware: Ware, *architectures: str) -> Resolved:
    found = resolve(DictFetcher(ware), ware.digest, architectures)
    assert isinstance(found, Resolved), found
    return found


def test_the_best_entry_of_an_index() -> None:
    """A node uses the best matching entry in any order of entries; an unsupported architecture has None."""
    old = fake.image(fake.layer(1, "386"), platform="linux/386")
    new = fake.image(fake.layer(2, "amd64"), platform="linux/amd64")
    top = fake.index(
        ("linux/386", old), ("linux/amd64", new), ("linux/arm/v7", new), media_type=fake.DOCKER_LIST
    )
    contents = resolved_of(top, "amd64", "386", "ppc64le").contents
    assert contents["amd64"]
    assert contents["amd64"].digest == new.digest
    assert contents["386"]
    assert contents["386"].digest == old.digest
    assert contents["ppc64le"] is None


def test_entries_without_a_platform() -> None:
    """Their platform is read from their manifest, in nested indexes too, up to a depth limit."""
    arm = fake.image(fake.layer(1, "arm"), platform="linux/arm64")
    amd = fake.image(fake.layer(2, "amd"), platform="linux/amd64")
    nested = fake.index(("", arm), ("", fake.index(("linux/amd64", amd))))
    found = resolved_of(nested, "arm64", "amd64")
    assert found.contents["arm64"]
    assert found.contents["amd64"]
    assert [str(one) for one in found.platforms] == ["linux/amd64", "linux/arm64"]
    deep = fake.index(("", fake.index(("", fake.index(("", fake.index(("", amd))))))))
    refusal = resolve(DictFetcher(deep), deep.digest, ["amd64"])
    assert refusal == Unresolved(
        FailureReason.INVALID_IMAGE, "the registry has indexes nested more than 3 levels deep", certain=True
    )


def test_an_entry_of_an_index_that_is_an_index() -> None:
    """An index as the entry for a platform is invalid."""
    odd = fake.index(("linux/amd64", fake.index()))
    refusal = resolve(DictFetcher(odd), odd.digest, ["amd64"])
    assert isinstance(refusal, Unresolved)
    assert refusal.message == "the registry has an index whose entry for a platform is another index"


def test_an_entry_whose_image_is_missing() -> None:
    """An index whose image is missing is NotFound."""
    gone = fake.image(fake.layer(1))
    top = fake.index(("linux/amd64", gone))
    shelf = DictFetcher(top)
    del shelf.wares[gone.digest]
    assert resolve(shelf, top.digest, ["amd64"]) == Unresolved(
        FailureReason.NOT_FOUND, "not there", certain=True
    )


def test_foreign_layers_and_other_artifacts() -> None:
    """Foreign layers are counted; another artifact has no platform, and matches every node."""
    far, near = (
        fake.layer(5, "far", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        fake.layer(6),
    )
    one = resolved_of(
        fake.image(far, near, urls={far.digest: ["https://far.example/layer"]}), "amd64"
    ).contents["amd64"]
    assert one
    assert (one.foreign, one.layers, one.made_for) == (1, 2, None)
    chart = resolved_of(fake.image(near, config_type="application/vnd.cncf.helm.config.v1+json"), "arm64")
    assert chart.platforms == []
    assert chart.contents["arm64"]
    assert chart.contents["arm64"].made_for is None


def test_an_entry_of_an_index_that_is_no_image() -> None:
    """An artifact without a platform in an index matches no node."""
    chart = fake.image(fake.layer(1), config_type="application/vnd.cncf.helm.config.v1+json")
    found = resolved_of(fake.index(("", chart)), "amd64")
    assert (found.platforms, found.contents) == ([], {"amd64": None})
