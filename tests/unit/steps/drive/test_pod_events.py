"""The events of kubelets that a driver keeps."""

from __future__ import annotations

import time

import pytest

from ips_flows.kube import list_watch
from ips_flows.kube.client import Kube
from steps.context import StepContext
from steps.drive.pod_events import PodEvents
from steps.drive.timings import DriverTimings
from tests.fakes.apiserver import ApiServer
from tests.support.step_harness import set_timings
from tests.unit.server.test_metrics import await_that


def say(server: ApiServer, number: int, pod: str, *, component: str = "kubelet", kind: str = "Pod") -> None:
    about = {"kind": kind, "name": pod, "uid": f"uid-of-{pod}"}
    event = {"metadata": {"name": f"e{number}"}, "involvedObject": about, "source": {"component": component}}
    server.put("events", {**event, "reason": "Pulled", "count": 1})


@pytest.fixture
def context(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> StepContext:
    monkeypatch.setattr(list_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(list_watch, "LONGEST_PAUSE", 0.05)
    return StepContext(kube, "t", "u")


def names(pod_events: PodEvents, pod: str) -> list[str]:
    return [event["metadata"]["name"] for event in pod_events.for_pod(f"uid-of-{pod}")]


def test_events_of_own_pods_are_kept(server: ApiServer, context: StepContext) -> None:
    """Only kubelet events on the Job's pods are kept, earlier and new ones; a changed event counts once."""
    say(server, 1, "job-a0-0-x")
    with PodEvents(context, "job-a0-", DriverTimings()) as pod_events:
        await_that(lambda: names(pod_events, "job-a0-0-x") == ["e1"])
        say(server, 2, "job-a0-0-x")
        say(server, 3, "job-a0-0-x", component="default-scheduler")
        say(server, 4, "job-a0-0-x", kind="Node")
        say(server, 5, "job-a01-0-x")
        server.change("events", "e2", {"count": 5})
        say(server, 6, "job-a0-1-x")
        await_that(lambda: names(pod_events, "job-a0-1-x") == ["e6"])
        assert names(pod_events, "job-a0-0-x") == ["e1", "e2"]
        assert [one["count"] for one in pod_events.for_pod("uid-of-job-a0-0-x")] == [1, 5]
        assert names(pod_events, "job-a01-0-x") == []
        pod_events.forget("uid-of-job-a0-0-x")
        assert names(pod_events, "job-a0-0-x") == []


def test_what_a_broken_watch_missed(server: ApiServer, context: StepContext) -> None:
    """Events that a broken watch missed are listed; one list serves all calls."""
    timings = DriverTimings()
    server.fail("GET .*/events.*watch=true", 403, "Forbidden", "no watch")
    with PodEvents(context, "job-", timings) as pod_events:
        server.await_call("GET .*/events.*watch=true")
        say(server, 1, "job-0")
        say(server, 2, "job-1")
        asked = len(lists(server))
        assert pod_events.relist(time.monotonic())
        assert names(pod_events, "job-0") == ["e1"]
        assert pod_events.relist(0.0)
        assert names(pod_events, "job-1") == ["e2"]
        assert len(lists(server)) == asked + 1
        say(server, 3, "job-0")
        assert not pod_events.relist(time.monotonic())  # a moment later
        set_timings(timings, events_relist=0.0)
        assert pod_events.relist(time.monotonic())
        assert names(pod_events, "job-0") == ["e1", "e3"]


def lists(server: ApiServer) -> list[str]:
    return [call for call in server.calls if "/events?" in call and "watch=true" not in call]
