"""A driver gets the same results from trimmed pods and events as from whole ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from ips_flows.core.constants import ANNOTATION_ENDED
from ips_flows.core.k8s.objects import Json, condition
from ips_flows.core.plan.node import read_node
from ips_flows.core.plan.plan import GroupPlan
from ips_flows.core.pods.container_state import (
    ENDED_CANCELLED,
    ENDED_SETTLED,
    ENDED_TIMEOUT,
    container_name,
    container_states,
    end_reason,
    ended_note,
    is_terminal,
)
from ips_flows.core.pods.evidence import awaits_pull_event, image_results, shows_image
from ips_flows.core.pods.failure_tracker import FailureTracker
from ips_flows.core.pods.pull_job import (
    completion_index,
    deadline_patch,
    epoch_patch,
    is_gated,
    pod_epoch,
    ungate_patch,
)
from ips_flows.core.pods.trim import EVENT, POD, Shape, trim
from tests.support import kube_objects
from tests.support.kube_objects import DIGEST, GOOD, OTHER, WORKER

NOT_FOUND = "rpc error: code = NotFound desc = not found"
AT = "2026-01-01T00:00:0{}Z"


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod of a plan, its events and its node, as the API server sends them."""

    plan: GroupPlan
    pod: Json
    events: tuple[Json, ...]
    node: Json

    def trimmed(self, pod: Shape = POD, event: Shape = EVENT) -> Sample:
        """Return this sample as a driver keeps it."""
        events = tuple(trim(one, event) for one in self.events)
        return Sample(self.plan, trim(self.pod, pod), events, self.node)


READS: Mapping[str, Callable[[Sample], Any]] = {
    "result of each image": lambda it: image_results(
        it.plan, it.plan.nodes[0], it.pod, it.events, lambda: read_node(it.node)
    ),
    "container states": lambda it: container_states(it.pod),
    "image on the node": lambda it: shows_image(it.plan, it.pod),
    "event awaited": lambda it: awaits_pull_event(it.plan, it.pod, it.events),
    "final at first sight": lambda it: FailureTracker().is_final(it.pod, 0.0, lambda: it.events),
    "final after the back-off": lambda it: _is_final_later(it, 11.0),
    "final after a minute": lambda it: _is_final_later(it, 60.0),
    "end reason": lambda it: end_reason(it.pod),
    "end note": lambda it: ended_note(it.pod, ENDED_TIMEOUT),
    "end of the pod": lambda it: is_terminal(it.pod),
    "completion index": lambda it: completion_index(it.pod),
    "gate": lambda it: is_gated(it.pod),
    "epoch": lambda it: pod_epoch(it.pod),
    "patches": lambda it: (
        ungate_patch(it.pod, "n1"),
        epoch_patch(it.pod, "7"),
        deadline_patch(it.pod, ENDED_SETTLED),
    ),
    # Read in steps/drive: pod_cache, pod_events, pod_tracker, owned_job.
    "identity": lambda it: [it.pod["metadata"][key] for key in ("name", "uid", "resourceVersion")],
    "deletion": lambda it: "deletionTimestamp" in it.pod["metadata"],
    "node": lambda it: it.pod["spec"].get("nodeName"),
    "start": lambda it: it.pod["status"].get("startTime"),
    "scheduler's message": lambda it: (condition(it.pod, "PodScheduled") or {}).get("message"),
    "pod of an event": lambda it: [
        (one["metadata"]["name"], one["involvedObject"].get("name"), one["involvedObject"].get("uid"))
        for one in it.events
    ],
}


def _is_final_later(sample: Sample, seconds: float) -> bool:
    tracker = FailureTracker()
    tracker.is_final(sample.pod, 0.0, lambda: sample.events)
    return tracker.is_final(sample.pod, seconds, lambda: sample.events)


def read_all(sample: Sample) -> dict[str, Any]:
    """Return every value that a driver reads from a sample. An error due to a missing field counts as a value."""
    values: dict[str, Any] = {}
    for name, read in READS.items():
        try:
            values[name] = read(sample)
        except (LookupError, RuntimeError) as error:
            values[name] = type(error)
    return values


def container_status(draw: st.DrawFn, name: str, image: str) -> Json:
    """Return a container's status with all fields that kubelets write."""
    state = draw(
        st.sampled_from(
            [
                {},
                {"running": {"startedAt": AT.format(3)}},
                {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": AT.format(3)}},
                {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}},
                {"waiting": {"reason": "ContainerCreating"}},
                {"waiting": {"reason": "ErrImagePull", "message": NOT_FOUND}},
                {"waiting": {"reason": "ImagePullBackOff", "message": f"Back-off: {WORKER}: no such host"}},
                {"waiting": {"reason": "CreateContainerError", "message": "exec"}},
            ]
        )
    )
    mounted = {"image": {"imageRef": f"{image}@{DIGEST}"}} if draw(st.booleans()) else None
    mounts = [{"name": name, "mountPath": "/image", "readOnly": True, "volumeStatus": mounted}]
    return {
        "name": name,
        "image": image,
        "imageID": draw(st.sampled_from(["", f"{image}@{DIGEST}", "sha256:" + "b" * 64])),
        "containerID": "containerd://1",
        "state": state,
        "lastState": draw(st.sampled_from([{}, {"running": {"startedAt": AT.format(1)}}])),
        "ready": draw(st.booleans()),
        "started": draw(st.booleans()),
        "restartCount": draw(st.integers(0, 2)),
        "volumeMounts": draw(st.sampled_from([None, mounts])),
    }


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Return a pod in any state, with random fields that no driver reads."""
    images = draw(st.sampled_from([(GOOD,), (GOOD, OTHER)]))
    plan = kube_objects.group_plan(
        *images,
        mode=draw(st.sampled_from(["volume", "container"])),
        present=draw(st.sampled_from([(), (0,)])),
    )
    named = {container_name(index): image for index, image in enumerate(images)}
    pod = kube_objects.pod(
        plan,
        [container_status(draw, name, image) for name, image in named.items()],
        init=[container_status(draw, "worker", WORKER)] if draw(st.booleans()) else (),
        phase=draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"])),
        gated=draw(st.booleans()),
        index=draw(st.integers(0, 3)),
        reason=draw(st.sampled_from(["", "NodeLost", "DeadlineExceeded", "Evicted"])),
        message=draw(st.sampled_from(["", "its node was lost"])),
        startTime=AT.format(draw(st.integers(0, 2))),
    )
    pod["metadata"] |= {"resourceVersion": str(draw(st.integers(1, 99))), "labels": {"a": "b"}}
    if draw(st.booleans()):
        pod["metadata"]["deletionTimestamp"] = AT.format(9)
    if draw(st.booleans()):
        why = draw(st.sampled_from([ENDED_SETTLED, ENDED_TIMEOUT, ENDED_CANCELLED]))
        pod["metadata"]["annotations"][ANNOTATION_ENDED] = ended_note(pod, why)
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": draw(st.sampled_from(["", "0/1 nodes"]))},
        {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
    ]
    node = kube_objects.node(images=draw(st.sampled_from([[], [kube_objects.held(GOOD)]])))
    events = draw(st.lists(kubelet_events(images), max_size=4))
    chance = random.Random(draw(st.integers(0, 99)))  # noqa: S311  (no secret)
    # Copies: the templates of pods share constants.
    pod, events = deepcopy(pod), deepcopy(events)
    for item in (pod, *events):
        add_unread_fields(item, chance)
    return Sample(plan, pod, tuple(events), node)


@st.composite
def kubelet_events(draw: st.DrawFn, images: tuple[str, ...]) -> Json:
    """Return an event of a pull pod."""
    image = draw(st.sampled_from(images))
    made = draw(
        st.sampled_from(
            [
                kube_objects.pulled(image),
                kube_objects.present(image),
                kube_objects.event("Failed", f'Failed to pull image "{image}": {NOT_FOUND}'),
                kube_objects.event("Scheduled", "Successfully assigned warm/p to n1"),
            ]
        )
    )
    time = draw(st.sampled_from(["firstTimestamp", "eventTime"]))
    count: Json = draw(st.sampled_from([{"count": 1}, {"count": 2}, {"series": {"count": 2}}]))
    number = draw(st.integers(0, 9))
    return {
        "metadata": {"name": f"p.{number}", "namespace": "warm"},
        "involvedObject": {"kind": "Pod", "name": "p", "uid": "pod-uid"},
        "reason": made["reason"],
        "message": made["message"],
        "type": "Normal",
        time: AT.format(draw(st.integers(0, 9))),
        "lastTimestamp": AT.format(9),
        **count,
    }


def add_unread_fields(value: Any, chance: random.Random) -> None:
    """Add fields that no driver reads to an object and to all objects in it."""
    if isinstance(value, dict):
        for inner in list(value.values()):
            add_unread_fields(inner, chance)
        if chance.random() < 0.5:
            value["ips-flow-unread"] = "x"
    elif isinstance(value, list):
        for inner in value:
            add_unread_fields(inner, chance)


def leaves(shape: Shape, *above: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of each field that a shape keeps."""
    for key, kept in shape.items():
        if kept is True:
            yield (*above, key)
        else:
            yield from leaves(kept, *above, key)


def without(shape: Shape, path: tuple[str, ...]) -> Shape:
    """Return the shape without the field at a path."""
    first, *rest = path
    if not rest:
        return {key: kept for key, kept in shape.items() if key != first}
    return {**shape, first: without(shape[first], tuple(rest))}


@given(samples())
def test_a_trimmed_pod_reads_as_the_whole_one(sample: Sample) -> None:
    """Results, states, patches and all other derived values equal those of the untrimmed objects."""
    assert read_all(sample.trimmed()) == read_all(sample)


def test_unread_fields_are_dropped() -> None:
    """A trimmed object has no field that is not in its shape."""
    pod = kube_objects.pod(kube_objects.group_plan(GOOD), [kube_objects.done("image-0")])
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    small = trim(pod, POD)
    assert "managedFields" not in small["metadata"]
    assert set(small["spec"]["containers"][0]) == {"name", "image"}


SEARCH = settings(
    max_examples=2000,
    phases=[Phase.generate],  # no shrinking: any sample is good enough
    suppress_health_check=list(HealthCheck),
    database=None,
    deadline=None,
    derandomize=True,
)


FOUND: list[Sample] = []  # samples that show that a field is read; most show it for other fields too


def assert_some_sample_differs(pod: Shape, event: Shape) -> None:
    """Fail unless trimming to these shapes changes what is read of at least one sample."""

    def differs(sample: Sample) -> bool:
        return read_all(sample.trimmed(pod, event)) != read_all(sample)

    if any(map(differs, FOUND)):
        return
    try:
        FOUND.append(find(samples(), differs, settings=SEARCH))
    except NoSuchExample:
        pytest.fail("no driver reads this field, so it need not be kept")


@pytest.mark.parametrize("path", list(leaves(POD)), ids=".".join)
def test_every_field_kept_of_a_pod_is_read(path: tuple[str, ...]) -> None:
    """Without the field, the property above fails. So no needed field is dropped and no unused field is kept."""
    assert_some_sample_differs(without(POD, path), EVENT)


@pytest.mark.parametrize("path", list(leaves(EVENT)), ids=".".join)
def test_every_field_kept_of_an_event_is_read(path: tuple[str, ...]) -> None:
    """The same property holds for the shape of events."""
    assert_some_sample_differs(POD, without(EVENT, path))
