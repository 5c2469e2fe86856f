"""The Lease by which at most one keeper acts, as Kubernetes' own controllers use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from ips_flows.core import clock
from ips_flows.core.errors import ConflictError, ForbiddenError, NotFoundError
from ips_flows.core.k8s.objects import Json
from ips_flows.kube.client import Kube

NAME = "ips-keeper"
SECONDS = 15.0
SILENT_SECONDS = (
    60.0  # without a renewal, then nobody counts on its holder; clocks may differ by most of that
)
_FRESH = (
    2 / 3
)  # the part of the Lease's time for which its holder trusts it: clocks and calls take their share


def lease_path(namespace: str, name: str = NAME) -> str:
    """The API path of a Lease, or of the collection when the name is empty."""
    root = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    return f"{root}/{name}" if name else root


def holder_of(lease: Json) -> str | None:
    """The holder that a Lease names; None when it was given back."""
    return (lease.get("spec") or {}).get("holderIdentity") or None


def seconds_since_renewal(lease: Json, now: datetime) -> float | None:
    """For how many seconds the holder of a Lease has not renewed it, by its clock and ours; None without a holder."""
    renewed = str((lease.get("spec") or {}).get("renewTime") or "")
    if holder_of(lease) is None or not renewed:
        return None
    return (now - clock.parse(renewed)).total_seconds()


def keeper_is_active(kube: Kube, namespace: str) -> bool:
    """Whether a keeper of the namespace holds the Lease, and renewed it a moment ago; False where that can't be read."""
    try:
        silent = seconds_since_renewal(kube.get(lease_path(namespace)), clock.now())
    except (NotFoundError, ForbiddenError):
        return False
    return silent is not None and silent <= SILENT_SECONDS


class Lease:
    """One candidate's view of the Lease. Others' expiry is measured with our own clock, never by comparing two.

    Every write carries the resourceVersion that was read, so of two that grab it one fails.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        identity: str,
        *,
        seconds: float = SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identity = identity
        self.seconds = seconds
        self._kube = kube
        self._namespace = namespace
        self._monotonic = monotonic
        self._until = 0.0
        self._seen: tuple[str, str | None] = ("", None)  # the resourceVersion and the holder last read
        self._seen_at = 0.0
        self._lock = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether we may act at this moment."""
        return self._monotonic() < self._until

    def hold(self) -> bool:
        """Take or renew the Lease if that is possible; call it every third of its time.

        Raises ApiError when the API server does not answer; what was held then stays held until its time is up.
        """
        with self._lock:
            began = self._monotonic()
            try:
                taken = self._try(began)
            except ConflictError:
                taken = False  # another one was faster
            self._until = began + self.seconds * _FRESH if taken else 0.0
            return taken

    def release(self) -> None:
        """Give the Lease back, so that the next one need not wait for it to expire."""
        with self._lock:
            self._until = 0.0
            try:
                found = self._kube.get(lease_path(self._namespace))
                if holder_of(found) == self.identity:
                    self._write(found, holder="")
            except (ConflictError, NotFoundError):
                return  # it is someone else's by now

    def _try(self, now: float) -> bool:
        try:
            found = self._kube.get(lease_path(self._namespace))
        except NotFoundError:
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": NAME, "labels": {"app.kubernetes.io/part-of": "ips-flow"}},
                "spec": self._spec(self.identity) | {"acquireTime": _micro(), "leaseTransitions": 0},
            }
            self._kube.create(lease_path(self._namespace, ""), body)
            return True
        holder = holder_of(found)
        seen = (found["metadata"]["resourceVersion"], holder)
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        lasts = float((found.get("spec") or {}).get("leaseDurationSeconds") or self.seconds)
        if holder not in (None, self.identity) and now - self._seen_at <= lasts:
            return False
        self._write(found, holder=self.identity)
        return True

    def _write(self, found: Json, *, holder: str) -> None:
        spec = self._spec(holder)
        before = found.get("spec") or {}
        if holder and holder != holder_of(found):
            spec |= {
                "acquireTime": _micro(),
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + 1,
            }
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        self._kube.patch(lease_path(self._namespace), {"metadata": version, "spec": spec})

    def _spec(self, holder: str) -> Json:
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self.seconds)),
            "renewTime": _micro(),
        }


def _micro() -> str:
    """Now, as a Lease wants it: with exactly six digits behind the seconds."""
    return clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
