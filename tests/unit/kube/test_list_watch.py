"""List and watch of a collection: the events, and the behavior on errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ips_flows.core.errors import ForbiddenError, UnavailableError
from ips_flows.core.k8s.objects import Json
from ips_flows.kube import list_watch
from ips_flows.kube.client import Kube, core
from ips_flows.kube.list_watch import Event, Informer, ListWatch, Replaced, Synced, Updated, reflect
from tests.fakes.apiserver import ApiServer

pytestmark = pytest.mark.waits

MAPS = core("warm", "configmaps")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses."""
    monkeypatch.setattr(list_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(list_watch, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(list_watch, "PROBE_SECONDS", 0.1)


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def name_only(item: Json) -> Json:
    return {"metadata": {"name": item["metadata"]["name"]}}


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_what_is_not_extracted_is_left_out(server: ApiServer, kube: Kube, stop: threading.Event) -> None:
    """A list and a watch leave out objects for which `extract` returns None."""
    for name in ("a", "no-1", "b"):
        server.put("configmaps", {"metadata": {"name": name}})

    def wanted(item: Json) -> Json | None:
        return None if item["metadata"]["name"].startswith("no-") else item

    followed = reflect(kube, ListWatch(MAPS, extract=wanted, page=1), stop)
    listed = next(followed)
    assert isinstance(listed, Replaced)
    assert [item["metadata"]["name"] for item in listed.items] == ["a", "b", "ips-config"]
    for name in ("no-2", "c"):
        server.put("configmaps", {"metadata": {"name": name}})
    changed = next(followed)
    assert isinstance(changed, Updated)
    assert changed.item["metadata"]["name"] == "c"


def test_only_what_is_extracted_is_handed_on(server: ApiServer, kube: Kube, stop: threading.Event) -> None:
    """Lists and changes contain only the extracted part of an object; a page has the requested size."""
    for name in ("a", "b", "c"):
        server.put("configmaps", {"metadata": {"name": name}, "data": {"x": "y"}})
    followed = reflect(kube, ListWatch(MAPS, extract=name_only, page=1), stop)
    listed = next(followed)
    assert isinstance(listed, Replaced)
    assert listed.items == tuple({"metadata": {"name": name}} for name in ("a", "b", "c", "ips-config"))
    assert sum("limit=1" in call for call in server.calls) == 4
    server.put("configmaps", {"metadata": {"name": "d"}, "data": {"x": "y"}})
    assert next(followed) == Updated({"metadata": {"name": "d"}})
    server.remove("configmaps", "d")
    assert next(followed) == Updated({"metadata": {"name": "d"}}, gone=True)


def test_a_collection_without_a_store(server: ApiServer, kube: Kube) -> None:
    """With `stored=False` events arrive, and the Informer stores nothing."""
    server.put("configmaps", {"metadata": {"name": "a"}})
    with Informer(kube) as merge:
        merge.add({"maps": ListWatch(MAPS, stored=False)})
        event = merge.next(30)
        assert event is not None
        assert event[0] == "maps"
        assert merge.stores == {}


@pytest.mark.parametrize("fault", [(403, "Forbidden"), (500, "InternalError"), (404, "NotFound"), (0, "")])
def test_an_endless_source_continues_with_lists(
    server: ApiServer, kube: Kube, stop: threading.Event, fault: tuple[int, str]
) -> None:
    """While a watch fails, the collection is listed repeatedly; when the watch works again, Synced comes once."""
    server.fail("GET .*/configmaps.*watch=true", *fault)
    followed = reflect(kube, ListWatch(MAPS, relist_seconds=0.05, endless=True), stop)
    seen = [next(followed) for _ in range(10)]
    assert kinds(seen).count("Replaced") > 1
    assert kinds(seen).count("WatchError") > 1
    assert set(kinds(seen)) == {"Replaced", "WatchError"}
    server.faults.clear()
    seen = [next(followed) for _ in range(3)]
    assert kinds(seen).count("Synced") == 1
    assert "WatchError" not in kinds(seen)[kinds(seen).index("Synced") :]


def test_a_list_that_fails_is_tried_again(server: ApiServer, kube: Kube, stop: threading.Event) -> None:
    """A WatchError can come before the first list."""
    server.fail("GET .*/configmaps", 403, "Forbidden", times=2)
    followed = reflect(kube, ListWatch(MAPS, endless=True), stop)
    assert kinds([next(followed) for _ in range(4)]) == ["WatchError", "WatchError", "Replaced", "Synced"]


def test_other_sources_end_by_errors(server: ApiServer, kube: Kube, stop: threading.Event) -> None:
    """A missing permission raises immediately, an API server that is unavailable after `patience` seconds."""
    server.fail("GET .*/configmaps", 403, "Forbidden", times=1)
    with pytest.raises(ForbiddenError):
        next(reflect(kube, ListWatch(MAPS), stop))
    server.fail("GET .*/configmaps", 500)
    followed = reflect(kube, ListWatch(MAPS), stop, patience=0.05)
    with pytest.raises(UnavailableError):
        list(followed)


def test_a_version_that_is_too_old_is_no_trouble(
    server: ApiServer, kube: Kube, stop: threading.Event
) -> None:
    """A version that is too old leads to another list, without a WatchError."""
    followed = reflect(kube, ListWatch(MAPS, endless=True), stop)
    assert isinstance(next(followed), Replaced)
    server.forget_history()
    assert isinstance(next(followed), Replaced)
    server.put("configmaps", {"metadata": {"name": "a"}})
    assert isinstance(next(followed), Updated)


def test_recovery_changes_no_mirror(server: ApiServer) -> None:  # noqa: ARG001
    """Synced does not change a store."""
    store = list_watch.Store()
    assert not store.apply(Synced())
    assert not store.synced
