"""The committed YAML of the templates, as text that can be compared byte for byte."""

from __future__ import annotations

import yaml

from ips_flows.argo.prewarm import prewarm_template
from ips_flows.argo.submit import submit_template

_HEADER = "# Rendered by `ips-flow render`; do not edit by hand.\n"


def render_all() -> dict[str, str]:
    """The files of `templates/` by name."""
    files = {
        "ips-prewarm.yaml": _text(prewarm_template().to_dict()),
        "ips-submit.yaml": _text(submit_template().to_dict()),
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
    }
    return {**files, "kustomization.yaml": _text(kustomization)}


def _text(document: object) -> str:
    return _HEADER + yaml.safe_dump(document, sort_keys=False, width=110)
