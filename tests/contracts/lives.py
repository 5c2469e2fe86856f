"""The life of a task in a recorded cluster: each step of the product runs in turn, and its calls are recorded."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from ips_flows.core.constants import CONFIG_MAP, LABEL_WEBHOOK, TEMPLATE_PREWARM
from ips_flows.core.pods.container_state import ENDED_TIMEOUT
from ips_flows.core.results.results import ImageResult
from ips_flows.kube.client import core, jobs, workflows
from ips_flows.operations.submit import submit_request
from steps import filter as filter_step
from steps.context import StepContext
from steps.drive.attempt import Attempt
from steps.drive.owned_job import OwnedJob
from steps.drive.recorder import ResultRecorder
from steps.drive.timings import DriverTimings
from steps.finish import finish, notify
from tests.contracts.examples import (
    FAILED,
    NAMESPACE,
    PRESENT,
    PULLED,
    STARTED,
    TASK,
    UID,
    WORKER,
    cluster_node,
    full_request,
    standing_still,
)
from tests.contracts.posting import Posted, hooked
from tests.contracts.tape import Tape

Json = dict[str, Any]

_SETTINGS = {"max-concurrent-tasks": "3", "worker-image": WORKER, "webhook-allowed-networks": ""}


def installed() -> Tape:
    """Return a cluster with IPS Flow and nodes: n1 is empty, n2 has one image, n3 both, n4 is not selected."""
    tape = Tape()
    tape.put(core("", "namespaces", NAMESPACE), {})
    tape.put(workflows(NAMESPACE, TEMPLATE_PREWARM, "workflowtemplates"), {})
    tape.put(core(NAMESPACE, "configmaps", CONFIG_MAP), {"data": _SETTINGS})
    images = tuple(image.image for image in full_request().images)
    hook = {"url": "https://hooks.example.com/secret", "secret": "whsec_c2VjcmV0"}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in hook.items()}
    tape.put(
        core(NAMESPACE, "secrets", "hook"), {"metadata": {"labels": {LABEL_WEBHOOK: "true"}}, "data": data}
    )
    tape.put(core("", "nodes", "n1"), cluster_node("n1"))
    tape.put(core("", "nodes", "n2"), cluster_node("n2", images=images[1:]))
    tape.put(core("", "nodes", "n3"), cluster_node("n3", images=images, cordoned=True))
    tape.put(core("", "nodes", "n4"), cluster_node("n4", images=images))
    return tape


@functools.cache
def task_life() -> tuple[Tape, Json]:
    """Run a task from `run` to its webhook; return the final cluster, and the calls of each step."""
    with standing_still(), contextlib.redirect_stdout(io.StringIO()):
        return _lived(installed())


def _lived(tape: Tape) -> tuple[Tape, Json]:
    told: Json = {}
    submit_request(tape.kube(), NAMESPACE, full_request())
    told["submit"] = tape.calls()
    path = workflows(NAMESPACE, TASK)
    made = tape.objects[path]
    made["metadata"]["uid"] = UID
    made["status"] = {"phase": "Running", "startedAt": STARTED}
    footing = StepContext(tape.kube(), TASK, UID)
    told["filter"] = _filtered(tape, footing)
    told |= _driven(tape, footing)
    with hooked() as posted, mock.patch.object(notify, "DELIVERY_IO", posted.io):
        assert finish.run(footing, ()) == 0
    told["finish"] = {**tape.calls(), "posts": posts(posted)}
    return tape, told


def posts(posted: Posted) -> list[Json]:
    """Return URL and headers of sent webhooks; `webhook-signature` shows that the Secret's key was used."""
    return [{"url": one.url, "headers": sorted(one.headers)} for one in posted.requests]


def _filtered(tape: Tape, footing: StepContext) -> Json:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(filter_step, "OUTPUTS", Path(folder)):
        assert filter_step.run(footing, ()) == 0
        outputs = {file.name: file.read_text(encoding="utf-8") for file in sorted(Path(folder).iterdir())}
    return {**tape.calls(), "outputs": outputs}


def _driven(tape: Tape, footing: StepContext) -> Json:
    """Run an attempt of the first wave by two drivers, one after the other; return their calls."""
    told: Json = {}
    attempt, timings = Attempt.read_or_create(footing, "wave-1", 0), DriverTimings()
    with _as_pod("driver-1"):
        first = OwnedJob(attempt, timings)
    first.create_or_adopt(1)
    told["drive: begin"] = tape.calls()
    for index in range(len(attempt.nodes)):
        _pod(tape, attempt, index)
    with _as_pod("driver-2"):
        job = OwnedJob(attempt, timings)
    job.create_or_adopt(1)
    told["drive: take over"] = tape.calls()
    pods = job.pods()
    list(job.ungate([(pods[0], "n1")]))
    told["drive: ungate a pod"] = tape.calls()
    job.set_deadline(tape.objects[core(NAMESPACE, "pods", pods[0]["metadata"]["name"])], ENDED_TIMEOUT)
    job.mark_failed(pods[1], "Unschedulable", "no room")
    job.raise_parallelism(2)
    told["drive: end pods"] = tape.calls()
    record = ResultRecorder(attempt, job, timings)
    for index, node in enumerate(attempt.nodes):
        record.add(index, _ended(node.present))
    record.persist()
    record.report(pulling=0, window=1)
    told["drive: record"] = tape.calls()
    job.delete_in_background([tape.objects[core(NAMESPACE, "pods", pods[1]["metadata"]["name"])]], 1)
    for deletion in job._deletions:
        deletion.result()
    told["drive: delete pods"] = tape.calls()
    return told


def _ended(present: tuple[int, ...]) -> tuple[ImageResult, ...]:
    return (PULLED, PRESENT if present else FAILED)


def _pod(tape: Tape, attempt: Attempt, index: int) -> None:
    """Create a pod as the Job controller does."""
    template = tape.objects[jobs(NAMESPACE, attempt.name)]["spec"]["template"]
    annotations = {
        **template["metadata"]["annotations"],
        "batch.kubernetes.io/job-completion-index": str(index),
    }
    labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": attempt.name}
    name = f"{attempt.name}-{index}-xyz"
    status = {
        "phase": "Pending",
        "containerStatuses": [
            {"name": "image-0", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such tag"}}}
        ],
    }
    pod = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": template["spec"],
        "status": status,
    }
    tape.put(core(NAMESPACE, "pods", name), pod)


@contextlib.contextmanager
def _as_pod(name: str) -> Iterator[None]:
    with mock.patch.dict(os.environ, {"HOSTNAME": name}):
        yield
