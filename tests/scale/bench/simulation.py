"""Gives the simulated nodes their samples: each pod that is bound for a node gets that node's as annotations.

A MutatingAdmissionPolicy does it, whoever made the pod, so that the product and its peers stay as they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ips_flows.errors import ApiError
from ips_flows.kube import Kube, core
from tests.scale.bench.samples import Sample

_NAME = "bench-samples"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_POLICIES = f"{_ADMISSION}/mutatingadmissionpolicies"
_BINDINGS = f"{_ADMISSION}/mutatingadmissionpolicybindings"
_DELAY = "pull.stage.kwok.x-k8s.io/delay"
_JITTER = "pull.stage.kwok.x-k8s.io/jitter-delay"
_FORCE_SECONDS = 60.0
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
                _await_force(kube, *next(iter(samples.items())))
                yield
            finally:
                kube.delete(f"{_BINDINGS}/{_NAME}")
        finally:
            kube.delete(f"{_POLICIES}/{_NAME}")
    finally:
        kube.delete(core(namespace, "configmaps", _NAME))


def _await_force(kube: Kube, node: str, sample: Sample) -> None:
    """Until a pod that would be made gets its sample: the API server learns of policy and samples a little later."""
    spec = {"nodeSelector": {"kubernetes.io/hostname": node}, "containers": [{"name": "main", "image": "a"}]}
    probe = {"metadata": {"name": "bench-probe"}, "spec": spec}
    end = time.monotonic() + _FORCE_SECONDS
    told = ""
    while time.monotonic() < end:
        try:
            made = kube.create(core("default", "pods"), probe, dry_run=True)
        except ApiError as error:  # that is what it says until it knows the samples
            told = error.message
        else:
            told = (made["metadata"].get("annotations") or {}).get(_DELAY, "")
            if told == f"{sample.milliseconds}ms":
                return
        threading.Event().wait(0.2)
    raise TimeoutError(f"the policy is not in force: {told or 'no annotation'}")


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
