"""Gives the simulated nodes their samples: each pod that is bound for a node gets that node's as annotations.

A MutatingAdmissionPolicy does it, whoever made the pod, so that the product and its peers stay as they are.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ips_flows.errors import ConflictError
from ips_flows.kube import Kube, core
from tests.scale.bench.samples import Sample

NAMESPACE = "bench"  # of the samples, and of the peers' pods
_NAME = "bench-samples"
_PROBE = "fake-probe"
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


def give(kube: Kube, samples: Mapping[str, Sample]) -> None:
    """From now on pods for these nodes pull as sampled.

    All of it stays: it concerns simulated nodes alone, and an API server that has seen a policy with parameters go
    finds none for the next one of that kind.
    """
    proof = Sample(random.randrange(10**9))  # noqa: S311  (only to tell these samples from those before)
    data = {_PROBE: str(proof), **{node: str(sample) for node, sample in samples.items()}}
    _make(kube, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    path = core(NAMESPACE, "configmaps")
    _make(kube, path, {"metadata": {"name": _NAME}})
    kube.patch(f"{path}/{_NAME}", [{"op": "add", "path": "/data", "value": data}], kind="json")
    _make(kube, _POLICIES, _policy())
    _make(kube, _BINDINGS, _binding())
    _await_force(kube, proof)


def _make(kube: Kube, path: str, body: dict[str, Any]) -> None:
    with suppress(ConflictError):  # it is there
        kube.create(path, body)


def _await_force(kube: Kube, proof: Sample) -> None:
    """Until a pod that would be made gets its sample: the API server learns of policy and samples a little later."""
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": _PROBE},
        "containers": [{"name": "main", "image": "a"}],
    }
    probe = {"metadata": {"name": "bench-probe"}, "spec": spec}
    end = time.monotonic() + _FORCE_SECONDS
    while time.monotonic() < end:
        made = kube.create(core(NAMESPACE, "pods"), probe, dry_run=True)
        if (made["metadata"].get("annotations") or {}).get(_DELAY) == f"{proof.milliseconds}ms":
            return
        threading.Event().wait(0.2)
    raise TimeoutError("the policy that hands out the samples is not in force")


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
            "failurePolicy": "Ignore",
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


def _binding() -> dict[str, Any]:
    params = {"name": _NAME, "namespace": NAMESPACE, "parameterNotFoundAction": "Allow"}
    return {"metadata": {"name": _NAME}, "spec": {"policyName": _NAME, "paramRef": params}}
