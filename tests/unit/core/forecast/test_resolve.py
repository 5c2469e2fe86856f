"""References resolved against a registry that is a dictionary."""

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


def resolved_of(ware: Ware, *architectures: str) -> Resolved:
    found = resolve(DictFetcher(ware), ware.digest, architectures)
    assert isinstance(found, Resolved), found
    return found


def test_the_best_entry_of_an_index() -> None:
    """A node takes the entry that suits it best, whatever their order; others are not asked for."""
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


def test_entries_that_tell_no_platform() -> None:
    """They are asked for it themselves, indexes in the index too, down to a bound."""
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
        FailureReason.INVALID_IMAGE, "the registry has indexes in one another, more than 3 deep", certain=True
    )


def test_an_entry_of_an_index_that_is_an_index() -> None:
    """With a platform of its own it is no image that a node could take."""
    odd = fake.index(("linux/amd64", fake.index()))
    refusal = resolve(DictFetcher(odd), odd.digest, ["amd64"])
    assert isinstance(refusal, Unresolved)
    assert refusal.message == "the registry has an index whose entry for a platform is an index itself"


def test_an_entry_that_is_not_there() -> None:
    """An index whose image is gone is refused as the image is."""
    gone = fake.image(fake.layer(1))
    top = fake.index(("linux/amd64", gone))
    shelf = DictFetcher(top)
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
    """An artifact without a platform in an index suits no node."""
    chart = fake.image(fake.layer(1), config_type="application/vnd.cncf.helm.config.v1+json")
    found = resolved_of(fake.index(("", chart)), "amd64")
    assert (found.platforms, found.contents) == ([], {"amd64": None})
