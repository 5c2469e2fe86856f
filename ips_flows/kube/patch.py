"""The one loop that reads an object, changes it and patches it."""

from __future__ import annotations

from collections.abc import Callable

from ips_flows.core.errors import (
    ConflictError,
    NotFoundError,
)
from ips_flows.core.k8s.objects import Json
from ips_flows.kube.client import Kube

AMEND_TRIES = 20


def retry_on_conflict(
    kube: Kube,
    path: str,
    read: Callable[[], Json],
    change: Callable[[Json], Json | None],
    *,
    missing: NotFoundError,
    conflict: str,
) -> Json:
    """An object after the merge patch that `change` makes of what was read; None leaves it as it is.

    The patch carries the version that was read, so that `change`, which raises where it refuses, never judges by
    what is no longer so: an object that changes meanwhile is read again. ConflictError with the text `conflict` when
    that happens 20 times, `missing` when the object goes between the two.
    """
    for _ in range(AMEND_TRIES):
        found = read()
        patch = change(found)
        if patch is None:
            return found
        metadata = {**patch.get("metadata", {}), "resourceVersion": found["metadata"]["resourceVersion"]}
        try:
            return kube.patch(path, {**patch, "metadata": metadata})
        except ConflictError:
            continue  # Argo was faster: a task may have started, or ended
        except NotFoundError as error:
            raise missing from error
    raise ConflictError(conflict, hint="Try again.", status=409, reason="Conflict")
