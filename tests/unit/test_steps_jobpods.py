"""The pods of a Job as a driver keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from ips_flows.core.errors import UnavailableError
from ips_flows.kube import list_watch
from ips_flows.kube.list_watch import Changed, Listed, Recovered, Trouble
from steps.context import LostFootingError
from steps.drive import pod_cache
from steps.drive.attempt import Attempt
from steps.drive.pod_cache import JobPods
from tests.unit.samples import GOOD
from tests.unit.stage import Stage


@pytest.fixture
def pods(stage: Stage) -> JobPods:
    stage.planned(GOOD, nodes=["n1"])
    return JobPods(Attempt.take_up(stage.footing, "wave-1", 0))


def pod(uid: str, version: int, **fields: Any) -> Any:
    return {"metadata": {"uid": uid, "resourceVersion": str(version)}, **fields}


def versions(pods: JobPods) -> dict[str, int]:
    return {one["metadata"]["uid"]: int(one["metadata"]["resourceVersion"]) for one in pods.look()}


def test_the_newer_version_stands(pods: JobPods) -> None:
    """A watch, and a list, may tell of a pod what is older than the answer to a patch of ours."""
    pods._take(Listed((pod("a", 98), pod("b", 99))))
    pods.put(pod("a", 103))
    for event in (Changed(pod("a", 101)), Listed((pod("a", 102), pod("b", 99))), Changed(pod("b", 100))):
        pods._take(event)
        assert versions(pods)["a"] == 103
    pods._take(Changed(pod("a", 1000)))
    assert versions(pods) == {"a": 1000, "b": 100}


def test_what_is_gone(pods: JobPods) -> None:
    """By the watch or, where that missed it, by the next list."""
    pods._take(Listed((pod("a", 1), pod("b", 2), pod("c", 3))))
    pods._take(Changed(pod("a", 4), gone=True))
    assert versions(pods) == {"b": 2, "c": 3}
    pods._take(Listed((pod("c", 3),)))
    assert versions(pods) == {"c": 3}


def test_nothing_is_known_before_the_first_list(pods: JobPods, monkeypatch: pytest.MonkeyPatch) -> None:
    """No list is no empty list: a driver must not take its pods for gone."""
    monkeypatch.setattr(pod_cache, "_LIST_SECONDS", 0.1)
    with pytest.raises(UnavailableError):
        pods.look()


def test_trouble_is_told_once(pods: JobPods, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each time that the watch broke, however long it stays so."""
    for event in (Trouble(UnavailableError("away")), Trouble(UnavailableError("away")), Recovered()):
        pods._take(event)
    told = "the watch of the pods broke, following them anew: away\n"
    assert capsys.readouterr().out == told
    pods._take(Trouble(UnavailableError("away")))
    assert capsys.readouterr().out == told


def test_pods_that_nobody_follows_any_more(
    stage: Stage, pods: JobPods, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another driver may have more luck; this one must not go on with what it knew."""
    monkeypatch.setattr(list_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(list_watch.changes, "__kwdefaults__", {"patience": 0.05})
    stage.server.fail("GET .*/pods", 503)
    with pods, pytest.raises(LostFootingError, match="the pods can't be followed"):
        pods.look()


def test_it_follows(stage: Stage, pods: JobPods) -> None:
    """What the API server tells comes in by itself, without what no driver reads."""
    labels = dict(term.split("=") for term in pods._attempt.pods.split(","))
    stage.server.put("pods", {"metadata": {"name": "p", "labels": labels}})
    stage.server.put("pods", {"metadata": {"name": "other"}})
    with pods:
        (seen,) = pods.look()
        assert seen["metadata"].keys() == {"name", "uid", "resourceVersion"}
        stage.server.change("pods", "p", {"status": {"phase": "Running"}})
        pods.await_change(30)
        (seen,) = pods.look()
        assert seen["status"]["phase"] == "Running"
        assert "labels" not in seen["metadata"]
        pods.put({**stage.server.change("pods", "p", {"spec": {"hostname": "p"}}), "kind": "Pod"})
        (seen,) = pods.look()
        assert seen.keys() == {"metadata", "spec", "status"}
        assert seen["spec"] == {}
        stage.server.remove("pods", "p")
        pods.await_change(30)
        if pods.look():  # told only of the change that was put in above
            pods.await_change(30)
        assert pods.look() == []
