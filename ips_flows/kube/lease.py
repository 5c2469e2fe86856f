"""Leader election of the keeper with a Lease, as in Kubernetes' own controllers."""

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
# A Lease that was not renewed for this long has no active holder. It allows for clocks that differ.
SILENT_SECONDS = 60.0
# The holder acts for this part of the Lease's duration. The rest allows for slow requests and for clocks that differ.
_FRESH = 2 / 3


def lease_path(namespace: str, name: str = NAME) -> str:
    """Return the API path of a Lease, or of the collection if the name is empty."""
    root = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    return f"{root}/{name}" if name else root


def holder_of(lease: Json) -> str | None:
    """Return the holder of a Lease; None if it was released."""
    return (lease.get("spec") or {}).get("holderIdentity") or None


def seconds_since_renewal(lease: Json, now: datetime) -> float | None:
    """Return the seconds since a Lease was renewed, by the holder's clock and ours; None without a holder."""
    renewed = str((lease.get("spec") or {}).get("renewTime") or "")
    if holder_of(lease) is None or not renewed:
        return None
    return (now - clock.parse(renewed)).total_seconds()


def keeper_is_active(kube: Kube, namespace: str) -> bool:
    """Return whether a keeper holds the namespace's Lease and renews it; False if the Lease can't be read."""
    try:
        silent = seconds_since_renewal(kube.get(lease_path(namespace)), clock.now())
    except (NotFoundError, ForbiddenError):
        return False
    return silent is not None and silent <= SILENT_SECONDS


class Lease:
    """One candidate's view of the Lease. It measures another holder's expiry with its own clock only.

    Every write carries the resourceVersion that was read, so if two candidates write, one fails.
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
        """Whether this candidate may act now."""
        return self._monotonic() < self._until

    def hold(self) -> bool:
        """Take or renew the Lease if possible. Call it every third of the Lease's duration.

        Raises ApiError if the API server does not respond; a Lease that was held then stays held until it expires.
        """
        with self._lock:
            began = self._monotonic()
            try:
                taken = self._try(began)
            except ConflictError:
                taken = False  # another candidate was faster
            self._until = began + self.seconds * _FRESH if taken else 0.0
            return taken

    def release(self) -> None:
        """Release the Lease, so that the next candidate need not wait for it to expire."""
        with self._lock:
            self._until = 0.0
            try:
                found = self._kube.get(lease_path(self._namespace))
                if holder_of(found) == self.identity:
                    self._write(found, holder="")
            except (ConflictError, NotFoundError):
                return  # another candidate holds it now, or it was deleted

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
    """Return the current time in MicroTime format, with exactly six decimal places."""
    return clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
