"""Render the templates as YAML. The output is deterministic, so the committed files can be compared byte by byte."""

from __future__ import annotations

import yaml

from ips_flows.argo.prewarm import prewarm_template
from ips_flows.argo.submit import submit_template

_HEADER = "# Rendered by `ips-flow render`; do not edit by hand.\n"


def render_all() -> dict[str, str]:
    """Return the files of `templates/`: name → text."""
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
