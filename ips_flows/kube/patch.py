"""The one loop that reads an object, changes it and patches it."""

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
    """Read an object, change it by a merge patch and return what the API server stored.

    `change` makes the patch of the object that was read; it returns None to leave the object as it is, and raises
    where it refuses. The patch carries the version that was read: if the object has changed meanwhile, it is read
    and judged again, 20 times in all. Then ConflictError is raised, with the text `conflict` where there is one.
    `missing` is raised, where it is given, when the object is deleted between the read and the patch.
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
        except ConflictError as error:  # Argo was faster: a task may have started, or ended
            last = error
        except NotFoundError as error:
            if missing is None:
                raise
            raise missing from error
    if last is not None and not conflict:
        raise last
    raise ConflictError(conflict, hint="Try again.", status=409, reason="Conflict")
