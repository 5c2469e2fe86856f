"""What `run` and `retry` share: telling of the task that was submitted, and following it."""

from __future__ import annotations

from ips_flows import tasks
from ips_flows.cli import following
from ips_flows.cli import output as out
from ips_flows.cli.narration import put, say
from ips_flows.cli.options import Target
from ips_flows.kube import Kube
from ips_flows.tasks import Submission


def carry_on(
    kube: Kube,
    target: Target,
    namespace: str,
    submission: Submission,
    *,
    detach: bool,
    timeout: float | None,
    output: str,
    told: bool = False,
) -> int:
    """Follow a task to its end, unless it is left alone; the exit code. `told`: its submission has been said."""
    name = submission.task.name
    if not told:
        say_submitted(submission, namespace)
    if detach:
        if output == "table":
            put(f"task {name} {'submitted' if submission.created else 'unchanged'}")
        else:
            out.put_task(submission.task, output)
        say(f"follow it:  ips-flow wait {name} {target.flags(namespace)}")
        return 0
    try:
        ended = following.to_the_end(kube, namespace, name, timeout=timeout)
    except following.Left as left:
        following.goes_on(left, target, namespace, name, timeout)
        return left.code
    out.put_end(tasks.with_results(kube, ended), output)
    if not submission.created and ended.status != "completed":
        say("This was the task of an earlier run; try its nodes again:")
        say(f"  ips-flow retry {name} {target.flags(namespace)}")
    return following.exit_code(ended)


def say_submitted(submission: Submission, namespace: str) -> None:
    """Say that a task was submitted, or was there already."""
    if submission.created:
        say(f"task {submission.task.name} submitted in namespace {namespace}")
    else:
        say(
            f"task {submission.task.name} with the same request is in namespace {namespace} already: unchanged"
        )
