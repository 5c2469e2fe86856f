"""Requests to the Kubernetes API: each operation with its reads, and with its writes in full."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any
from unittest import mock

from ips_flows.core.request.model import canonical_json
from ips_flows.core.task.schedule import Timing
from ips_flows.kube.client import workflows
from ips_flows.kube.lease import Lease
from ips_flows.operations import queue, schedules, tasks
from ips_flows.operations.cancel import cancel_task
from ips_flows.operations.delete import delete_task
from ips_flows.operations.retry import retry_task
from ips_flows.operations.scale import scale_task
from ips_flows.operations.submit import submit_request
from steps.context import StepContext
from steps.finish import notify
from steps.finish.timings import FinishTimings
from tests.contracts.examples import (
    NAMESPACE,
    NOW,
    STARTED,
    TASK,
    UID,
    ended_workflow,
    small_request,
    standing_still,
)
from tests.contracts.lives import installed, posts, task_life
from tests.contracts.posting import hooked
from tests.contracts.tape import Tape

Json = dict[str, Any]


def calls() -> Json:
    """Return the document: operation → its calls."""
    _, told = task_life()
    with standing_still(), contextlib.redirect_stdout(io.StringIO()):
        return {**told, **_notice_by_secret(), **_changes(), **_schedules(), **_lease()}


def _notice_by_secret() -> Json:
    """Return the calls of the webhook notification of a task whose request names a Secret and no URL."""
    tape = installed()
    workflow = ended_workflow("completed")
    request = canonical_json(small_request(webhookSecretName="hook"))
    workflow["spec"]["arguments"]["parameters"] = [{"name": "request", "value": request}]
    tape.put(workflows(NAMESPACE, TASK), workflow)
    with hooked() as posted, mock.patch.object(notify, "DELIVERY_IO", posted.io):
        notify.send_notice(StepContext(tape.kube(), TASK, UID), FinishTimings())
    return {"notice to the URL of a Secret": {**tape.calls(), "posts": posts(posted)}}


def _changes() -> Json:
    """Return the calls of the verbs that change a task."""

    def waits(tape: Tape) -> None:
        tape.objects[workflows(NAMESPACE, TASK)]["status"] = {"phase": "Pending"}

    def runs(tape: Tape) -> None:
        tape.objects[workflows(NAMESPACE, TASK)]["status"] = {"phase": "Running", "startedAt": STARTED}

    def failed(tape: Tape) -> None:
        tape.objects[workflows(NAMESPACE, TASK)]["status"] = {"phase": "Failed", "startedAt": STARTED}

    deeds: dict[str, tuple[Callable[[Tape], None], Callable[[Tape], object]]] = {
        "cancel a task that waits": (waits, lambda tape: cancel_task(tape.kube(), NAMESPACE, TASK)),
        "cancel a task that runs": (runs, lambda tape: cancel_task(tape.kube(), NAMESPACE, TASK)),
        "scale": (runs, lambda tape: scale_task(tape.kube(), NAMESPACE, TASK, "25%")),
        "reprioritize": (waits, lambda tape: queue.reprioritize(tape.kube(), NAMESPACE, TASK, 9)),
        "retry": (failed, lambda tape: retry_task(tape.kube(), NAMESPACE, TASK)),
        "delete": (
            failed,
            lambda tape: delete_task(tape.kube(), NAMESPACE, tasks.get_task(tape.kube(), NAMESPACE, TASK)),
        ),
        "list": (runs, lambda tape: tasks.list_tasks(tape.kube(), NAMESPACE)),
        "queue": (waits, lambda tape: queue.get_queue(tape.kube(), NAMESPACE)),
    }
    told = {}
    for name, (prepare, act) in deeds.items():
        tape = installed()
        submit_request(tape.kube(), NAMESPACE, small_request(name=TASK, nodes=["n1"]))
        prepare(tape)
        tape.calls()
        act(tape)
        told[name] = tape.calls()
    return told


def _schedules() -> Json:
    tape, told = installed(), {}
    timing = Timing("30 2 * * *", "Europe/Berlin", "replace", 900, 5)
    deeds: dict[str, Callable[[], object]] = {
        "schedule create": lambda: schedules.create_schedule(
            tape.kube(), NAMESPACE, "daily", small_request(priority=7), timing
        ),
        "schedule suspend": lambda: schedules.suspend_schedule(tape.kube(), NAMESPACE, "daily"),
        "schedule resume": lambda: schedules.resume_schedule(tape.kube(), NAMESPACE, "daily"),
        "schedule run": lambda: schedules.run_schedule(tape.kube(), NAMESPACE, "daily"),
        "schedule list": lambda: schedules.list_schedules(tape.kube(), NAMESPACE),
        "schedule delete": lambda: schedules.delete_schedule(tape.kube(), NAMESPACE, "daily"),
    }
    with mock.patch("time.time", return_value=NOW.timestamp()):
        for name, act in deeds.items():
            act()
            told[name] = tape.calls()
    return told


def _lease() -> Json:
    tape, told = Tape(), {}
    lease = Lease(tape.kube(), NAMESPACE, "server-1")
    for name, act in (
        ("take the Lease", lease.hold),
        ("renew the Lease", lease.hold),
        ("give the Lease back", lease.release),
    ):
        act()
        told[name] = tape.calls()
    return told
