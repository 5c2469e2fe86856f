"""A pod is final when none of its containers can pull a further image."""

from __future__ import annotations

from typing import Any

from ips_flows.core.pods.failure_tracker import FailureTracker
from tests.support.kube_objects import GOOD, OTHER, done, event, group_plan, pod, waiting

NOT_FOUND = (
    'Back-off pulling image "registry.example:5000/tool:2": ErrImagePull: rpc error: code = NotFound desc = '
    'failed to pull and unpack image "registry.example:5000/tool:2": failed to resolve reference '
    '"registry.example:5000/tool:2": registry.example:5000/tool:2: not found'
)


def test_a_permanent_error_must_be_seen_twice() -> None:
    """The second `ErrImagePull` makes a pod final; the back-off before it does not."""
    plan = group_plan(GOOD, OTHER)
    tracker = FailureTracker()
    states = ["ErrImagePull", "ImagePullBackOff", "ErrImagePull"]
    outcome = [
        tracker.is_final(
            pod(plan, [done("image-0"), waiting("image-1", state, NOT_FOUND)]), float(second), list
        )
        for second, state in enumerate(states)
    ]
    assert outcome == [False, False, True]


def test_a_missed_status_only_costs_time() -> None:
    """Without the second `ErrImagePull` a pod is final after the time in which it must have happened."""
    plan = group_plan(OTHER)
    tracker = FailureTracker()
    stuck = pod(plan, [waiting("image-0", "ImagePullBackOff", NOT_FOUND)])
    assert [tracker.is_final(stuck, at, list) for at in (0.0, 24.0, 25.0)] == [False, False, True]


def test_events_show_a_missed_try() -> None:
    """Two failed pulls in the events make a pod final after the back-off; one failed pull does not."""
    plan = group_plan(OTHER)
    tracker = FailureTracker()
    stuck = pod(plan, [waiting("image-0", "ImagePullBackOff", NOT_FOUND)])

    def failed_pulls(count: int) -> list[dict[str, Any]]:
        return [event("Failed", f'Failed to pull image "{OTHER}": not found', count=count)]

    assert not tracker.is_final(stuck, 0.0, lambda: failed_pulls(2))
    assert not tracker.is_final(stuck, 11.0, lambda: failed_pulls(1))
    assert tracker.is_final(stuck, 13.0, lambda: failed_pulls(2))


def test_passing_errors_are_left_to_the_kubelet() -> None:
    """A pod is not final while its registry is unavailable, since the registry may recover."""
    plan = group_plan(OTHER)
    tracker = FailureTracker()
    down = pod(plan, [waiting("image-0", "ErrImagePull", "connection refused")])
    assert not any(tracker.is_final(down, at, list) for at in (0.0, 30.0, 300.0))


def test_a_pod_waits_for_its_slowest_image() -> None:
    """A pod is not final while one of its images may still be pulled."""
    plan = group_plan(GOOD, OTHER)
    tracker = FailureTracker()
    mixed = pod(
        plan, [waiting("image-0", "ContainerCreating"), waiting("image-1", "ErrImagePull", NOT_FOUND)]
    )
    assert not any(tracker.is_final(mixed, at, list) for at in (0.0, 30.0, 60.0))


def test_an_image_that_cannot_run_is_on_the_node() -> None:
    """A container that can't be created is final the first time: its image was pulled."""
    plan = group_plan(GOOD, mode="container")
    tracker = FailureTracker()
    scratch = pod(plan, [waiting("image-0", "CreateContainerError", "exec")], init=[done("worker")])
    assert tracker.is_final(scratch, 0.0, list)
