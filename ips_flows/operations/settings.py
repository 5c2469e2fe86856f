"""What a plan needs of the cluster beside its nodes; `filter` and `ips-flow plan` ask it alike."""

from __future__ import annotations

from ips_flows.core.constants import CONFIG_MAP
from ips_flows.core.errors import NotInstalledError
from ips_flows.core.pods.pull_job import keeps_image_volume, probe_job
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.kube.client import Kube, core, jobs


def worker_image(kube: Kube, namespace: str) -> str:
    """The image that pull pods run. Raises NotInstalledError where the settings name none."""
    settings = kube.get(core(namespace, "configmaps", CONFIG_MAP)).get("data") or {}
    image = settings.get("worker-image")
    if not image:
        raise NotInstalledError(f"ConfigMap {CONFIG_MAP} of namespace {namespace} names no worker-image")
    return str(image)


def keeps_image_volumes(kube: Kube, namespace: str, request: PrewarmRequest, worker: str) -> bool:
    """Whether the API server stores image volumes, by a dry run that creates nothing."""
    probe = probe_job(request.images[0].image, worker)
    return keeps_image_volume(kube.create(jobs(namespace), probe, dry_run=True))
