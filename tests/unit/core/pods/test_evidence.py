from __future__ import annotations

from typing import Any

import pytest

from ips_flows.core.constants import ANNOTATION_ENDED
from ips_flows.core.plan.node import Node, read_node
from ips_flows.core.plan.plan import GroupPlan, PlannedNode
from ips_flows.core.pods import evidence
from ips_flows.core.pods.container_state import ENDED_CANCELLED, ENDED_SETTLED, ENDED_TIMEOUT, ended_note
from ips_flows.core.pods.evidence import awaits_pull_event
from ips_flows.core.pods.pull_errors import classify, strip_runtime_frames
from ips_flows.core.results.reasons import FailureReason, Result
from ips_flows.core.results.results import ImageResult
from tests.support.kube_objects import (
    DIGEST,
    GOOD,
    OTHER,
    WORKER,
    done,
    event,
    group_plan,
    held,
    node,
    pod,
    present,
    pulled,
    waiting,
)

NOT_FOUND = (
    'Back-off pulling image "registry.example:5000/tool:2": ErrImagePull: rpc error: code = NotFound desc = '
    'failed to pull and unpack image "registry.example:5000/tool:2": failed to resolve reference '
    '"registry.example:5000/tool:2": registry.example:5000/tool:2: not found'
)


def image_results(
    plan: GroupPlan, planned: PlannedNode, pod: Any, events: Any, node: Node | None, *, why: str = ""
) -> tuple[ImageResult, ...]:
    """Return the results with a node that is already read."""
    return evidence.image_results(plan, planned, pod, events, lambda: node, why=why)


def test_a_node_is_read_only_without_other_evidence() -> None:
    """A node is not read if its kubelet's events are sufficient: a task may have thousands of nodes."""
    reads = []

    def read() -> Node:
        reads.append(1)
        return read_node(node(images=[held(GOOD), held(OTHER)]))

    plan = group_plan(GOOD, OTHER, mode="container")
    ended = pod(plan, [{**done(f"image-{index}"), "imageID": f"x@{DIGEST}"} for index in (0, 1)])
    events = [pulled(GOOD), pulled(OTHER)]
    results = evidence.image_results(plan, plan.nodes[0], ended, events, read)
    assert [(one.result, one.digest) for one in results] == [(Result.PULLED, DIGEST)] * 2
    assert not reads
    results = evidence.image_results(plan, plan.nodes[0], pod(plan, []), [], read)
    assert [one.result for one in results] == [Result.PULLED] * 2
    assert reads == [1]


def test_a_pull_has_the_kubelets_values() -> None:
    """A `Pulled` event gives seconds and bytes; the node's list gives the digest."""
    plan = group_plan(GOOD)
    now = read_node(node(images=[held(GOOD)]))
    results = image_results(
        plan, plan.nodes[0], pod(plan, [done("image-0")], phase="Succeeded"), [pulled(GOOD)], now
    )
    assert results == (ImageResult(Result.PULLED, seconds=1.5, bytes=4196390, digest=DIGEST),)


def test_later_already_present_events_change_nothing() -> None:
    """The first `Pulled` event of a pod and image counts. A real pull comes before `already present`."""
    plan = group_plan(GOOD)
    events = [present(GOOD), pulled(GOOD, "2m3.5s")]
    (result,) = image_results(
        plan, plan.nodes[0], pod(plan, [done("image-0")], phase="Succeeded"), events, None
    )
    assert (result.result, result.seconds) == (Result.PULLED, 123.5)


def test_an_exit_code_alone_is_no_evidence() -> None:
    """A succeeded pod counts as failed without its image volume, an event, or the image on the node."""
    plan = group_plan(GOOD)
    stripped = pod(plan, [done("image-0")], phase="Succeeded")
    stripped["spec"]["volumes"] = [{"name": "image-0"}]
    (result,) = image_results(plan, plan.nodes[0], stripped, [], read_node(node()))
    assert (result.result, result.reason) == (Result.FAILED, FailureReason.UNKNOWN)


@pytest.mark.parametrize(("was_there", "expected"), [((), Result.PULLED), ((0,), Result.PRESENT)])
def test_without_an_event_no_value_is_invented(was_there: tuple[int, ...], expected: Result) -> None:
    """A started container in mode volume proves the image. The plan records if the image was present before."""
    plan = group_plan(GOOD, present=was_there)
    (result,) = image_results(plan, plan.nodes[0], pod(plan, [done("image-0")], phase="Succeeded"), [], None)
    assert result == ImageResult(expected)


def test_mode_container_is_proven_by_the_image_id() -> None:
    """In mode container `imageID` is the evidence and the digest, even if the container could not run."""
    plan = group_plan(GOOD, mode="container")
    status = {**waiting("image-0", "CreateContainerError", "no such file"), "imageID": f"{GOOD}@{DIGEST}"}
    (result,) = image_results(plan, plan.nodes[0], pod(plan, [status]), [], None)
    assert result == ImageResult(Result.PULLED, digest=DIGEST)


def test_one_missing_image_among_good_ones() -> None:
    """Each image has its own result; the failed one has its class, the registry's message and its tries."""
    plan = group_plan(GOOD, OTHER)
    events = [pulled(GOOD), event("Failed", f'Failed to pull image "{OTHER}": not found', count=2)]
    ended = pod(plan, [done("image-0"), waiting("image-1", "ImagePullBackOff", NOT_FOUND)], phase="Failed")
    good, bad = image_results(plan, plan.nodes[0], ended, events, None)
    assert good.result is Result.PULLED
    assert (bad.reason, bad.tries) == (FailureReason.NOT_FOUND, 2)
    assert bad.message.startswith("rpc error: code = NotFound desc = failed to pull and unpack image")


def test_what_was_noted_before_the_end_counts() -> None:
    """The kubelet overwrites a waiting reason when a pod is ended; the annotation keeps it."""
    plan = group_plan(OTHER)
    before = pod(plan, [waiting("image-0", "ErrImagePull", NOT_FOUND)])
    unknown = {
        "name": "image-0",
        "state": {"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137}},
    }
    noted = {ANNOTATION_ENDED: ended_note(before, ENDED_SETTLED)}
    after = pod(plan, [unknown], phase="Failed", annotations=noted, reason="DeadlineExceeded")
    (result,) = image_results(plan, plan.nodes[0], after, [], None)
    assert result.reason == FailureReason.NOT_FOUND


@pytest.mark.parametrize(
    ("why", "failure"),
    [
        (ENDED_TIMEOUT, FailureReason.TIMEOUT),
        (ENDED_CANCELLED, FailureReason.CANCELLED),
        ("", FailureReason.UNKNOWN),
    ],
)
def test_a_silent_pull_is_named_after_its_end(why: str, failure: FailureReason) -> None:
    """A pull without any message until its pod was ended fails for the reason that the pod was ended."""
    plan = group_plan(GOOD)
    creating = pod(plan, [waiting("image-0", "ContainerCreating")])
    (result,) = image_results(plan, plan.nodes[0], creating, [], None, why=why)
    assert result.reason == failure


@pytest.mark.parametrize("mode", ["volume", "container"])
def test_our_own_worker_image_is_not_blamed_on_the_users(mode: str) -> None:
    """When the worker image can't be pulled, every image fails as `WorkerImage`."""
    plan = group_plan(GOOD, mode=mode)  # type: ignore[arg-type]
    message = f'failed to pull "{WORKER}": not found'
    bad = pod(
        plan,
        [
            waiting("image-0", "ErrImagePull", message)
            if mode == "volume"
            else waiting("image-0", "PodInitializing")
        ],
        init=[waiting("worker", "ErrImagePull", message)] if mode == "container" else [],
        phase="Failed",
    )
    (result,) = image_results(plan, plan.nodes[0], bad, [], None)
    assert (result.reason, result.message) == (FailureReason.WORKER_IMAGE, message)


@pytest.mark.parametrize("mode", ["volume", "container"])
@pytest.mark.parametrize("overwritten", [False, True])
def test_a_refused_image_is_missing_even_if_the_node_lists_it(mode: str, *, overwritten: bool) -> None:
    """A node lists an image for a while after it was removed, so the kubelet's failed pull takes precedence."""
    plan = group_plan(OTHER, mode=mode, present=(0,))  # type: ignore[arg-type]
    status = (
        {"name": "image-0", "state": {"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137}}}
        if overwritten
        else waiting("image-0", "ImagePullBackOff", NOT_FOUND)
    )
    events = [event("Failed", f'Failed to pull image "{OTHER}": {OTHER}: not found', count=2)]
    ended = pod(plan, [status], phase="Failed")
    (result,) = image_results(plan, plan.nodes[0], ended, events, read_node(node(images=[held(OTHER)])))
    assert (result.result, result.reason) == (Result.FAILED, FailureReason.NOT_FOUND)


def test_a_node_with_every_image_is_not_blamed_for_our_worker_image() -> None:
    """If the worker image can't be pulled, the node's list is still evidence for the user's images."""
    plan = group_plan(GOOD)
    bad = pod(plan, [waiting("image-0", "ErrImagePull", f'failed to pull "{WORKER}": not found')])
    (result,) = image_results(plan, plan.nodes[0], bad, [], read_node(node(images=[held(GOOD)])))
    assert result.result is Result.PULLED


@pytest.mark.parametrize(("was_there", "expected"), [((), Result.PULLED), ((0,), Result.FAILED)])
def test_an_image_present_before_is_no_evidence_of_an_always_pull(
    was_there: tuple[int, ...], expected: Result
) -> None:
    """`Always` requires a new pull, so an image that the plan already recorded as present is no evidence of it."""
    plan = group_plan(GOOD, mode="container", present=was_there)
    always = plan.images[0].model_copy(update={"pull_policy": "Always"})
    plan = plan.model_copy(update={"images": (always,)})
    hangs = pod(plan, [waiting("image-0", "ContainerCreating")])
    (result,) = image_results(
        plan, plan.nodes[0], hangs, [], read_node(node(images=[held(GOOD)])), why=ENDED_TIMEOUT
    )
    assert result.result is expected


def test_reasons_that_we_gave_are_kept() -> None:
    """A pod that no kubelet could end carries our own reason."""
    plan = group_plan(GOOD)
    for reason in (FailureReason.UNSCHEDULABLE, FailureReason.NODE_LOST):
        ended = pod(plan, phase="Failed", reason=reason.value, message="why")
        (result,) = image_results(plan, plan.nodes[0], ended, [], None)
        assert (result.reason, result.message) == (reason, "why")


def test_a_pull_event_is_awaited_only_for_images_on_the_node() -> None:
    """Events can arrive late: they are awaited for containers that started, not for failed ones."""
    plan = group_plan(GOOD, OTHER)
    ended = pod(plan, [done("image-0"), waiting("image-1", "ErrImagePull", NOT_FOUND)], phase="Failed")
    assert awaits_pull_event(plan, ended, [])
    assert not awaits_pull_event(plan, ended, [pulled(GOOD)])


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (NOT_FOUND, FailureReason.NOT_FOUND),
        ("manifest unknown: manifest unknown", FailureReason.NOT_FOUND),
        (
            "unexpected status from HEAD request to https://r/v2/: 401 Unauthorized",
            FailureReason.UNAUTHORIZED,
        ),
        (
            "pull access denied, repository does not exist or may require authorization: insufficient_scope",
            FailureReason.UNAUTHORIZED,
        ),
        ("failed to fetch anonymous token: 403 Forbidden", FailureReason.UNAUTHORIZED),
        (
            "429 Too Many Requests - toomanyrequests: You have reached your pull rate limit",
            FailureReason.RATE_LIMITED,
        ),
        ("dial tcp 10.0.0.1:5000: connect: connection refused", FailureReason.REGISTRY_UNAVAILABLE),
        ("dial tcp: lookup nowhere.example: no such host", FailureReason.REGISTRY_UNAVAILABLE),
        ("unexpected status code 503 Service Unavailable", FailureReason.REGISTRY_UNAVAILABLE),
        ("context deadline exceeded", FailureReason.REGISTRY_UNAVAILABLE),
        ("write /var/lib/containerd/x: no space left on device", FailureReason.NO_SPACE),
        ("no match for platform in manifest: not found", FailureReason.WRONG_PLATFORM),
        ("unsupported media type application/x", FailureReason.INVALID_IMAGE),
        ("an error without a known text", FailureReason.UNKNOWN),
    ],
)
def test_error_texts_have_classes(text: str, failure: FailureReason) -> None:
    """Each known text of a runtime or registry has a class; all others are `Unknown`."""
    assert classify(text) is failure


def test_an_images_name_is_not_its_error() -> None:
    """The text of a reference does not change the class of its error."""
    name = "registry.example:5000/forbidden:401"
    assert (
        classify(f'failed to resolve reference "{name}": {name}: not found', name) is FailureReason.NOT_FOUND
    )


@pytest.mark.parametrize(
    ("text", "essential"),
    [
        (NOT_FOUND.partition("ErrImagePull: ")[2], "registry.example:5000/tool:2: not found"),
        ("no space left on device", "no space left on device"),
        ("rpc error: code = Unknown desc = ", "rpc error: code = Unknown desc = "),
    ],
)
def test_an_error_is_reduced_to_the_registrys_message(text: str, essential: str) -> None:
    """The text that kubelet and containerd put before an error is removed, unless nothing else would remain."""
    assert strip_runtime_frames(text) == essential
