"""Gives the simulated nodes their samples: each pod that is bound for a node gets that node's as annotations.

A MutatingAdmissionPolicy does it, whoever made the pod, so that the product and its peers stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ips_flows.kube import Kube, core
from tests.scale.bench.samples import Sample

_NAME = "bench-samples"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_POLICIES = f"{_ADMISSION}/mutatingadmissionpolicies"
_BINDINGS = f"{_ADMISSION}/mutatingadmissionpolicybindings"
_DELAY = "pull.stage.kwok.x-k8s.io/delay"
_JITTER = "pull.stage.kwok.x-k8s.io/jitter-delay"
_FAILURE = "simulated.ips-flow.io/failure"

_NODE = """
object.spec.?nodeSelector['kubernetes.io/hostname'].orValue(
  object.spec.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms
  .orValue([]).map(term, term.?matchFields.orValue([])).map(fields, size(fields) > 0 ? fields[0].values[0] : '')
  .filter(name, name != '').join(''))
"""
_MUTATION = f"""
Object{{metadata: Object.metadata{{annotations: {{
  '{_DELAY}': variables.delay,
  '{_JITTER}': variables.delay,
  '{_FAILURE}': variables.failure
}}}}}}
"""


@contextmanager
def sampled(kube: Kube, namespace: str, samples: Mapping[str, Sample]) -> Iterator[None]:
    """While it is open, pods for these nodes pull as sampled. `namespace` keeps the samples."""
    data = {node: str(sample) for node, sample in samples.items()}
    kube.create(core(namespace, "configmaps"), {"metadata": {"name": _NAME}, "data": data})
    try:
        kube.create(_POLICIES, _policy())
        try:
            kube.create(_BINDINGS, _binding(namespace))
            try:
                yield
            finally:
                kube.delete(f"{_BINDINGS}/{_NAME}")
        finally:
            kube.delete(f"{_POLICIES}/{_NAME}")
    finally:
        kube.delete(core(namespace, "configmaps", _NAME))


def _policy() -> dict[str, Any]:
    pods = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pods"],
    }
    fresh = f"!('{_DELAY}' in object.metadata.?annotations.orValue({{}}))"
    variables = {
        "node": _NODE,
        "sample": "params.data[variables.node].split(' ')",
        "delay": "string(int(variables.sample[0]) * size(object.spec.containers)) + 'ms'",
        "failure": "size(variables.sample) > 1 ? variables.sample[1] : ''",
    }
    return {
        "metadata": {"name": _NAME},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": {"resourceRules": [pods]},
            "matchConditions": [
                {"name": "fresh", "expression": fresh},
                {"name": "for-a-simulated-node", "expression": f"({_NODE}).startsWith('fake')"},
            ],
            "variables": [{"name": name, "expression": text.strip()} for name, text in variables.items()],
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": _MUTATION.strip()}}
            ],
        },
    }


def _binding(namespace: str) -> dict[str, Any]:
    params = {"name": _NAME, "namespace": namespace, "parameterNotFoundAction": "Deny"}
    return {"metadata": {"name": _NAME}, "spec": {"policyName": _NAME, "paramRef": params}}
