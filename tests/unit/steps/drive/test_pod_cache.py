"""The pods of a Job that a driver keeps in its cache."""

from __future__ import annotations

from typing import Any

import pytest

from ips_flows.core.errors import UnavailableError
from ips_flows.kube import list_watch
from ips_flows.kube.list_watch import Replaced, Synced, Updated, WatchError
from steps.context import ReplacePodError
from steps.drive.attempt import Attempt
from steps.drive.pod_cache import PodCache
from tests.support.kube_objects import GOOD
from tests.support.step_harness import Stage


@pytest.fixture
def pods(stage: Stage) -> PodCache:
    stage.planned(GOOD, nodes=["n1"])
    return PodCache(Attempt.read_or_create(stage.context, "wave-1", 0), stage.timings)


def pod(uid: str, version: int, **fields: Any) -> Any:
    return {"metadata": {"uid": uid, "resourceVersion": str(version)}, **fields}


def versions(pods: PodCache) -> dict[str, int]:
    return {one["metadata"]["uid"]: int(one["metadata"]["resourceVersion"]) for one in pods.list()}


def test_the_newer_version_is_kept(pods: PodCache) -> None:
    """A watch event or a list may be older than the response to the driver's patch; the newer version is kept."""
    pods._apply(Replaced((pod("a", 98), pod("b", 99))))
    pods.update(pod("a", 103))
    for event in (Updated(pod("a", 101)), Replaced((pod("a", 102), pod("b", 99))), Updated(pod("b", 100))):
        pods._apply(event)
        assert versions(pods)["a"] == 103
    pods._apply(Updated(pod("a", 1000)))
    assert versions(pods) == {"a": 1000, "b": 100}


def test_deleted_pods(pods: PodCache) -> None:
    """A deleted pod is removed by its watch event or, if that is missed, by the next list."""
    pods._apply(Replaced((pod("a", 1), pod("b", 2), pod("c", 3))))
    pods._apply(Updated(pod("a", 4), gone=True))
    assert versions(pods) == {"b": 2, "c": 3}
    pods._apply(Replaced((pod("c", 3),)))
    assert versions(pods) == {"c": 3}


def test_nothing_is_known_before_the_first_list(stage: Stage, pods: PodCache) -> None:
    """A missing list is not an empty list: a driver must not treat its pods as gone."""
    stage.set_timings(pods_first_list=0.1)
    with pytest.raises(UnavailableError):
        pods.list()


def test_a_broken_watch_is_logged_once(pods: PodCache, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken watch is logged once, however long it stays broken."""
    for event in (WatchError(UnavailableError("away")), WatchError(UnavailableError("away")), Synced()):
        pods._apply(event)
    told = "the pods can't be watched, trying again: away\n"
    assert capsys.readouterr().out == told
    pods._apply(WatchError(UnavailableError("away")))
    assert capsys.readouterr().out == told


def test_pods_without_a_watch(stage: Stage, pods: PodCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the watch has ended, the driver exits for another one, and does not continue with old pods."""
    monkeypatch.setattr(list_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(list_watch.reflect, "__kwdefaults__", {"patience": 0.05})
    stage.server.fail("GET .*/pods", 503)
    with pods, pytest.raises(ReplacePodError, match="the pods can't be watched"):
        pods.list()


def test_changes_arrive_by_the_watch(stage: Stage, pods: PodCache) -> None:
    """Changes arrive by the watch, trimmed to the fields that drivers read."""
    labels = dict(term.split("=") for term in pods._attempt.pod_selector.split(","))
    stage.server.put("pods", {"metadata": {"name": "p", "labels": labels}})
    stage.server.put("pods", {"metadata": {"name": "other"}})
    with pods:
        (seen,) = pods.list()
        assert seen["metadata"].keys() == {"name", "uid", "resourceVersion"}
        stage.server.change("pods", "p", {"status": {"phase": "Running"}})
        pods.wait_for_change(30)
        (seen,) = pods.list()
        assert seen["status"]["phase"] == "Running"
        assert "labels" not in seen["metadata"]
        pods.update({**stage.server.change("pods", "p", {"spec": {"hostname": "p"}}), "kind": "Pod"})
        (seen,) = pods.list()
        assert seen.keys() == {"metadata", "spec", "status"}
        assert seen["spec"] == {}
        stage.server.remove("pods", "p")
        pods.wait_for_change(30)
        if pods.list():  # the watch reports only the change made above
            pods.wait_for_change(30)
        assert pods.list() == []
