"""`ips-flow run --manifest`: one request for each set of nodes where the pods of the manifests may be scheduled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ips_flows.cli.inputs.manifests import read_sources
from ips_flows.cli.output.console import say
from ips_flows.core.counts import several
from ips_flows.core.discover.finder import Finder
from ips_flows.core.discover.requests import RequestDraft, by_placement
from ips_flows.core.errors import UsageError
from ips_flows.core.request.limits import IMAGES
from ips_flows.core.request.model import PrewarmRequest, merge_overrides

_MOST_TOLD = 20


def requests_of(manifests: Sequence[str], overrides: Mapping[str, Any]) -> list[PrewarmRequest]:
    """Return the requests for all images of some manifests. The overrides from flags apply to each request.

    Raises UsageError if an image can't be determined: it would be missing on nodes that seem to be warm.
    """
    finder = Finder()
    read_sources(manifests, finder)
    found = finder.findings()
    missing = [str(note) for note in found.notes if note.missing]
    if missing:
        more = [f"and {len(missing) - _MOST_TOLD} more"] if len(missing) > _MOST_TOLD else []
        raise UsageError(
            "some images of the manifests can't be determined:\n" + "\n".join(missing[:_MOST_TOLD] + more),
            hint="Fix the manifests, ignore the images with annotation ips-flow.io/ignore-images, or run only the"
            " other images: `ips-flow images FILE | ips-flow run -`.",
        )
    for note in found.notes:
        say(f"note: {note}")
    draft = by_placement(found.uses)
    if not draft:
        raise UsageError("no images found in the manifests, so there is nothing to run")
    requests = [_request(one, number, len(draft), overrides) for number, one in enumerate(draft, start=1)]
    if len(requests) > 1:
        say(f"{len(requests)} tasks, because a task has one set of nodes and at most {IMAGES.high} images:")
        for one in draft:
            say(f"  {several(len(one.images), 'image')} on nodes {one.placement}")
    return requests


def _request(draft: RequestDraft, number: int, of: int, overrides: Mapping[str, Any]) -> PrewarmRequest:
    given = dict(overrides)
    if "name" in given and of > 1:
        given["name"] = f"{given['name']}-{number}"
    return merge_overrides(json.dumps(draft.fields()), "manifest", given)
