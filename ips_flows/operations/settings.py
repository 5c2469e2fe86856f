"""The settings of an installation: ConfigMap `ips-config`, read in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ips_flows.core.constants import CONFIG_MAP, LIMIT_KEY, NETWORKS_KEY
from ips_flows.core.errors import NotInstalledError
from ips_flows.core.task.queue import task_limit
from ips_flows.kube.client import Kube, core, jobs

if TYPE_CHECKING:
    from ips_flows.core.request.model import PrewarmRequest

_WORKER_KEY = "worker-image"


@dataclass(frozen=True, slots=True)
class Settings:
    """The data of ConfigMap `ips-config`; empty if it does not exist."""

    data: Mapping[str, Any]

    @property
    def task_limit(self) -> int | None:
        """The number of tasks that may run at the same time; None if Argo can't use the value that is set."""
        return task_limit(self.data)

    @property
    def task_limit_found(self) -> str:
        """The invalid task limit, for messages: `is 'x'` or `is missing`."""
        return f"is {self.data[LIMIT_KEY]!r}" if LIMIT_KEY in self.data else "is missing"

    @property
    def worker_image(self) -> str | None:
        """The image that pull pods run, if one is set."""
        image = self.data.get(_WORKER_KEY)
        return str(image) if image else None

    @property
    def webhook_networks(self) -> str:
        """The special networks that webhooks may reach, as written in the ConfigMap."""
        return str(self.data.get(NETWORKS_KEY) or "")


def read_settings(kube: Kube, namespace: str) -> Settings:
    """Read the settings of a namespace. Raises NotFoundError if the ConfigMap is missing."""
    return Settings(kube.get(core(namespace, "configmaps", CONFIG_MAP)).get("data") or {})


def worker_image(kube: Kube, namespace: str) -> str:
    """Return the image that pull pods run. Raises NotInstalledError if none is set."""
    image = read_settings(kube, namespace).worker_image
    if image is None:
        raise NotInstalledError(f"worker-image is missing in ConfigMap {CONFIG_MAP} of namespace {namespace}")
    return image


def keeps_image_volumes(kube: Kube, namespace: str, request: PrewarmRequest, worker: str) -> bool:
    """Return whether the API server stores image volumes. Checks it with a dry run, which creates nothing."""
    from ips_flows.core.pods.pull_job import keeps_image_volume, probe_job  # noqa: PLC0415  (submit does not need it)

    probe = probe_job(request.images[0].image, worker)
    return keeps_image_volume(kube.create(jobs(namespace), probe, dry_run=True))
