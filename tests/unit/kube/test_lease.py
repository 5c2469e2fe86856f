"""The Lease against the fake API server, with a clock that the test sets."""

from __future__ import annotations

import pytest

from ips_flows.core.errors import ConflictError, UnavailableError
from ips_flows.kube.client import Kube
from ips_flows.kube.lease import Lease
from tests.fakes.apiserver import ApiServer


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def candidate(kube: Kube, name: str, clock: Clock) -> Lease:
    return Lease(kube, "warm", name, seconds=15, monotonic=clock)


def holder(server: ApiServer) -> str:
    return str(server.get("leases", "ips-keeper")["spec"]["holderIdentity"])


def test_one_of_two_holds_it(server: ApiServer, kube: Kube) -> None:
    """The second candidate does not get the Lease while the first renews it."""
    clock = Clock()
    first, second = candidate(kube, "a", clock), candidate(kube, "b", clock)
    assert first.hold()
    for _ in range(10):
        assert not second.hold()
        assert first.hold()
        clock.now += 5
    assert (first.held, second.held, holder(server)) == (True, False, "a")


def test_a_failed_holder_is_replaced(server: ApiServer, kube: Kube) -> None:
    """The waiting candidate measures expiry with its own clock; the holder stops acting before that."""
    clock = Clock()
    first, second = candidate(kube, "a", clock), candidate(kube, "b", clock)
    assert first.hold()
    assert not second.hold()
    clock.now += 11
    assert not first.held
    assert not second.hold()
    clock.now += 5
    assert second.hold()
    assert (holder(server), server.get("leases", "ips-keeper")["spec"]["leaseTransitions"]) == ("b", 1)
    assert not first.hold()


def test_a_released_lease_is_free(server: ApiServer, kube: Kube) -> None:
    """After a release the next candidate gets the Lease immediately; only the holder can release it."""
    clock = Clock()
    first, second = candidate(kube, "a", clock), candidate(kube, "b", clock)
    assert first.hold()
    second.release()
    assert holder(server) == "a"
    first.release()
    assert (holder(server), first.held) == ("", False)
    assert second.hold()


def test_if_two_candidates_patch_one_gets_it(
    server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patch carries the resourceVersion that was read, so the later patch fails."""
    clock = Clock()
    server.put("leases", {"metadata": {"name": "ips-keeper"}, "spec": {"holderIdentity": ""}})
    patch = Kube.patch

    def late(self: Kube, *arguments: object, **options: object) -> object:
        server.change("leases", "ips-keeper", {"spec": {"holderIdentity": "c"}})
        return patch(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Kube, "patch", late)
    one = candidate(kube, "a", clock)
    assert not one.hold()
    assert (one.held, holder(server)) == (False, "c")


def test_if_two_candidates_create_one_gets_it(
    server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second create fails with a conflict, and `hold` returns False without an error."""
    create = Kube.create

    def late(self: Kube, path: str, body: object, **options: object) -> object:
        server.put("leases", {"metadata": {"name": "ips-keeper"}, "spec": {"holderIdentity": "c"}})
        return create(self, path, body, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Kube, "create", late)
    assert not candidate(kube, "a", Clock()).hold()
    with pytest.raises(ConflictError):
        kube.create(
            "/apis/coordination.k8s.io/v1/namespaces/warm/leases", {"metadata": {"name": "ips-keeper"}}
        )


def test_the_lease_stays_held_without_an_api_server(server: ApiServer, kube: Kube) -> None:
    """While the API server is unavailable, a Lease stays held until it expires."""
    clock = Clock()
    one = candidate(kube, "a", clock)
    assert one.hold()
    server.fail("leases", 503)
    clock.now += 5
    with pytest.raises(UnavailableError):
        one.hold()
    assert one.held
    clock.now += 6
    assert not one.held
