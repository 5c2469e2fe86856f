"""What kubelets say of the pods of a Job, heard as they say it.

A list of one pod's events reads all events of the namespace, and a task with thousands of nodes would do that for
each of them; one watch does it once.
"""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType
from typing import Self

from ips_flows.kube import Json, core
from ips_flows.streams import Changed, Listed, Merge, Recovered, Source, Trouble
from steps.footing import Footing

_BY_KUBELETS = "involvedObject.kind=Pod,source=kubelet"


class Words:
    """The events of the pods whose names begin with `prefix`, while it is open."""

    def __init__(self, footing: Footing, prefix: str) -> None:
        self._prefix = prefix
        self._path = core(footing.namespace, "events")
        self._merge = Merge(footing.kube)
        self._by_pod: dict[str, dict[str, Json]] = defaultdict(dict)
        self._complete = False

    def __enter__(self) -> Self:
        source = Source(self._path, fields=_BY_KUBELETS, mirrored=False, endless=True)
        self._merge.add({"events": source})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._merge.__exit__(kind, error, trace)

    @property
    def complete(self) -> bool:
        """Whether what was said before now has been heard; not so before the first list, and after trouble."""
        self._hear()
        return self._complete

    def of(self, uid: str) -> list[Json]:
        """The events of a pod so far."""
        self._hear()
        return list(self._by_pod[uid].values()) if uid in self._by_pod else []

    def forget(self, uid: str) -> None:
        """Drop what was said of a pod of which nothing more is asked."""
        self._by_pod.pop(uid, None)

    def _hear(self) -> None:
        while (told := self._merge.next(0)) is not None:
            match told[1]:
                case Listed(items):
                    self._complete = True
                    for item in items:
                        self._keep(item)
                case Changed(item, gone=False):
                    self._keep(item)
                case Trouble():
                    self._complete = False
                case Recovered():
                    self._complete = True

    def _keep(self, event: Json) -> None:
        about = event["involvedObject"]
        if about.get("name", "").startswith(self._prefix):
            self._by_pod[about.get("uid", "")][event["metadata"]["name"]] = event
