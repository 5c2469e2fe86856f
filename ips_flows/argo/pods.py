"""Settings of all pods of the templates: security for `restricted` namespaces, and small resources."""

from __future__ import annotations

import json

from hera.workflows import RetryStrategy
from hera.workflows.models import (
    Backoff,
    Capabilities,
    IntOrString,
    PodSecurityContext,
    Quantity,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    Toleration,
)

from ips_flows.core.pods.pull_job import USER

TMP = "/tmp"  # noqa: S108  (an emptyDir of the pod: its root is read-only)


def pod_security() -> PodSecurityContext:
    """Return the security context of a pod."""
    return PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER,
        run_as_group=USER,
        fs_group=USER,
        seccomp_profile=SeccompProfile(type="RuntimeDefault"),
    )


def replaced_when(expression: str) -> RetryStrategy:
    """Return a retryStrategy that replaces a failed pod at most five times, one second after each failure."""
    backoff = Backoff(duration="1s", factor=IntOrString(root=1))
    return RetryStrategy(limit="5", retry_policy="Always", expression=expression, backoff=backoff)


def small() -> ResourceRequirements:
    """Return the resources of a step."""
    return ResourceRequirements(requests={"cpu": Quantity(root="20m"), "memory": Quantity(root="64Mi")})


def restricted() -> SecurityContext:
    """Return the security context of a container."""
    return SecurityContext(
        allow_privilege_escalation=False,
        read_only_root_filesystem=True,
        capabilities=Capabilities(drop=["ALL"]),
    )


def executor_security() -> str:
    """Return the pod spec patch that restricts Argo's containers `init` and `wait`, which have no restrictions by default."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return json.dumps(
        {
            "initContainers": [{"name": "init", "securityContext": security}],
            "containers": [{"name": "wait", "securityContext": security}],
        },
        separators=(",", ":"),
    )


def short_tolerations() -> list[Toleration]:
    """Return tolerations that evict a step from a failed node after 30 s, instead of the default 300 s."""
    return [
        Toleration(
            key=f"node.kubernetes.io/{key}", operator="Exists", effect="NoExecute", toleration_seconds=30
        )
        for key in ("not-ready", "unreachable")
    ]
