"""What a driver hears of kubelets."""

from __future__ import annotations

import pytest

from ips_flows import streams
from ips_flows.kube import Kube
from steps.footing import Footing
from steps.words import Words
from tests.fakes.apiserver import ApiServer
from tests.unit.test_metrics import await_that


def say(server: ApiServer, number: int, pod: str, *, component: str = "kubelet", kind: str = "Pod") -> None:
    about = {"kind": kind, "name": pod, "uid": f"uid-of-{pod}"}
    event = {"metadata": {"name": f"e{number}"}, "involvedObject": about, "source": {"component": component}}
    server.put("events", {**event, "reason": "Pulled", "count": 1})


@pytest.fixture
def footing(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Footing:
    monkeypatch.setattr(streams, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(streams, "LONGEST_PAUSE", 0.05)
    return Footing(kube, "t", "u")


def names(words: Words, pod: str) -> list[str]:
    return [event["metadata"]["name"] for event in words.of(f"uid-of-{pod}")]


def test_what_is_heard(server: ApiServer, footing: Footing) -> None:
    """Events of before and of now, of kubelets about the Job's own pods; a changed one counts once."""
    say(server, 1, "job-a0-0-x")
    with Words(footing, "job-a0-") as words:
        await_that(lambda: names(words, "job-a0-0-x") == ["e1"])
        assert words.complete
        say(server, 2, "job-a0-0-x")
        say(server, 3, "job-a0-0-x", component="default-scheduler")
        say(server, 4, "job-a0-0-x", kind="Node")
        say(server, 5, "job-a01-0-x")
        server.change("events", "e2", {"count": 5})
        say(server, 6, "job-a0-1-x")
        await_that(lambda: names(words, "job-a0-1-x") == ["e6"])
        assert names(words, "job-a0-0-x") == ["e1", "e2"]
        assert [one["count"] for one in words.of("uid-of-job-a0-0-x")] == [1, 5]
        assert names(words, "job-a01-0-x") == []
        words.forget("uid-of-job-a0-0-x")
        assert names(words, "job-a0-0-x") == []


def test_what_may_be_missing(server: ApiServer, footing: Footing) -> None:
    """While the watch is broken, or before the first list, it does not say that it has heard everything."""
    server.fail("GET .*/events", 403, "Forbidden", "no events")
    with Words(footing, "job-") as words:
        server.await_call("GET .*/events")
        assert not words.complete
        server.faults.clear()
        await_that(lambda: words.complete)
        server.fail("GET .*/events.*watch=true", 403, "Forbidden", "no watch")
        with server.store.changed:
            server.store.oldest = server.store.version + 1  # what is open breaks off
            server.store.changed.notify_all()
        await_that(lambda: not words.complete)
        server.store.oldest = 0
        server.faults.clear()
        say(server, 1, "job-0")
        await_that(lambda: words.complete and names(words, "job-0") == ["e1"])
