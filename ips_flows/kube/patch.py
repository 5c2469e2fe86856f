"""Read an object, change it and patch it; retry on conflict."""

from __future__ import annotations

from collections.abc import Callable

from ips_flows.core.errors import ConflictError, NotFoundError
from ips_flows.core.k8s.objects import Json
from ips_flows.kube.client import Kube

MAX_TRIES = 20


def retry_on_conflict(
    kube: Kube,
    path: str,
    read: Callable[[], Json],
    change: Callable[[Json], Json | None],
    *,
    missing: NotFoundError | None = None,
    conflict: str = "",
) -> Json:
    """Read an object, change it by a merge patch and return the object that the API server stored.

    `change` returns the patch for the object that was read, or None to leave the object unchanged. It raises to refuse.
    The patch carries the resourceVersion that was read. If the object has changed since, both steps are repeated, up
    to 20 tries in all; then ConflictError is raised, with the message `conflict` if it is set. If the object is deleted
    between the read and the patch, `missing` is raised if it is set.
    """
    last: ConflictError | None = None
    for _ in range(MAX_TRIES):
        found = read()
        patch = change(found)
        if patch is None:
            return found
        metadata = {**patch.get("metadata", {}), "resourceVersion": found["metadata"]["resourceVersion"]}
        try:
            return kube.patch(path, {**patch, "metadata": metadata})
        except ConflictError as error:
            last = error  # another client was faster: Argo may have started or ended the task
        except NotFoundError as error:
            if missing is None:
                raise
            raise missing from error
    if last is not None and not conflict:
        raise last
    raise ConflictError(conflict, hint="Try again.", status=409, reason="Conflict")
