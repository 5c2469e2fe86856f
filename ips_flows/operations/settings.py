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
    """The data of ConfigMap `ips-config`; empty where there is no such object."""

    data: Mapping[str, Any]

    @property
    def task_limit(self) -> int | None:
        """How many tasks may run at once; None where Argo could not use what is set."""
        return task_limit(self.data)

    @property
    def task_limit_found(self) -> str:
        """For messages: what stands where the task limit should."""
        return f"is {self.data[LIMIT_KEY]!r}" if LIMIT_KEY in self.data else "is missing"

    @property
    def worker_image(self) -> str | None:
        """The image that pull pods run, if one is set."""
        image = self.data.get(_WORKER_KEY)
        return str(image) if image else None

    @property
    def webhook_networks(self) -> str:
        """The networks that webhooks may reach all the same, as they are written."""
        return str(self.data.get(NETWORKS_KEY) or "")


def read_settings(kube: Kube, namespace: str) -> Settings:
    """Read the settings of a namespace. Raises NotFoundError where the ConfigMap is missing."""
    return Settings(kube.get(core(namespace, "configmaps", CONFIG_MAP)).get("data") or {})


def worker_image(kube: Kube, namespace: str) -> str:
    """The image that pull pods run. Raises NotInstalledError where the settings name none."""
    image = read_settings(kube, namespace).worker_image
    if image is None:
        raise NotInstalledError(f"ConfigMap {CONFIG_MAP} of namespace {namespace} names no worker-image")
    return image


def keeps_image_volumes(kube: Kube, namespace: str, request: PrewarmRequest, worker: str) -> bool:
    """Whether the API server stores image volumes, by a dry run that creates nothing."""
    from ips_flows.core.pods.pull_job import keeps_image_volume, probe_job  # noqa: PLC0415  (submit needs none of it)

    probe = probe_job(request.images[0].image, worker)
    return keeps_image_volume(kube.create(jobs(namespace), probe, dry_run=True))
