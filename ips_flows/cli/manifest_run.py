"""`ips-flow run --manifest`: a task for each set of nodes where the pods of the manifests may land."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ips_flows.cli.manifest_sources import read_sources
from ips_flows.cli.narration import say
from ips_flows.cli.options import Target
from ips_flows.discover.finder import Finder
from ips_flows.discover.wanted import Wanted, by_placement
from ips_flows.errors import UsageError
from ips_flows.request import PrewarmRequest, merge_overrides

if TYPE_CHECKING:
    from ips_flows.kube import Kube

_MOST_TOLD = 20


def requests_of(manifests: Sequence[str], overrides: Mapping[str, Any]) -> list[PrewarmRequest]:
    """The requests for all images of some manifests; flags count for each of them.

    Raises UsageError where an image can't be told: it would be missing on nodes that seem to be warm.
    """
    finder = Finder()
    read_sources(manifests, finder)
    found = finder.findings()
    missing = [str(remark) for remark in found.remarks if remark.missing]
    if missing:
        more = [f"and {len(missing) - _MOST_TOLD} more"] if len(missing) > _MOST_TOLD else []
        raise UsageError(
            "not every image of the manifests can be told:\n" + "\n".join(missing[:_MOST_TOLD] + more),
            hint="Mend that, ignore it by annotation ips-flow.io/ignore-images, or take the others: "
            "`ips-flow images FILE | ips-flow run -`.",
        )
    for remark in found.remarks:
        say(f"note: {remark}")
    wanted = by_placement(found.uses)
    if not wanted:
        raise UsageError("no image was found in the manifests, so there is nothing to run")
    requests = [_request(one, number, len(wanted), overrides) for number, one in enumerate(wanted, start=1)]
    if len(requests) > 1:
        say(f"{len(requests)} tasks, since a task has one set of nodes and at most 50 images:")
        for one in wanted:
            count = len(one.images)
            say(f"  {count} {'image' if count == 1 else 'images'} on nodes {one.placement}")
    return requests


def _request(wanted: Wanted, number: int, of: int, overrides: Mapping[str, Any]) -> PrewarmRequest:
    given = dict(overrides)
    if "name" in given and of > 1:
        given["name"] = f"{given['name']}-{number}"
    return merge_overrides(json.dumps(wanted.fields()), "manifest", given)


def run_all(
    kube: Kube,
    target: Target,
    namespace: str,
    requests: Sequence[PrewarmRequest],
    *,
    detach: bool,
    timeout: float | None,
    output: str,
) -> int:
    """Submit all, then follow one after another; 1 if one failed, else 3 if one was cancelled."""
    from ips_flows import tasks  # noqa: PLC0415
    from ips_flows.cli.submitted import carry_on, say_submitted  # noqa: PLC0415

    deadline = None if timeout is None else time.monotonic() + timeout
    submissions = []
    for request in requests:
        submissions.append(tasks.submit(kube, namespace, request))
        say_submitted(submissions[-1], namespace)
    codes = []
    for submission in submissions:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        codes.append(
            carry_on(
                kube, target, namespace, submission, told=True, detach=detach, timeout=left, output=output
            )
        )
        if codes[-1] > 3:  # the time is up, or someone interrupted
            others = " ".join(one.task.name for one in submissions[len(codes) :])
            if others:
                say(f"  and the others:  ips-flow wait {others} {target.flags(namespace)}")
            return codes[-1]
    return next((code for code in (1, 3) if code in codes), 0)
