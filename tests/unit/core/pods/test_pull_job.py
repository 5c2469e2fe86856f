from __future__ import annotations

import copy
import json
from typing import Any, get_args

import pytest

from ips_flows.core.constants import (
    ANNOTATION_ENDED,
    ANNOTATION_EPOCH,
    SCHEDULING_GATE,
    attempt_name,
    group_name,
)
from ips_flows.core.k8s.names import is_label_value
from ips_flows.core.pods.pull_job import (
    completion_index,
    deadline_patch,
    epoch_patch,
    failed_status_patch,
    index_data,
    is_gated,
    keeps_image_volume,
    probe_job,
    pull_job,
    pull_pod,
    read_index,
    results_map,
    task_labels,
    ungate_patch,
)
from ips_flows.core.results.records import Mode
from ips_flows.core.results.results import Chunk
from tests.fakes.apiserver_semantics import json_patch
from tests.support.kube_objects import GOOD, OTHER, WORKER, group_plan, pod, waiting

UID = "0f3a9c1e-0000-4000-8000-000000000000"
MODES: tuple[Mode, ...] = get_args(Mode)
# Volumes that Pod Security Standard `restricted` allows.
ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", []), *spec["containers"]]


@pytest.mark.parametrize("mode", MODES)
def test_pull_pods_are_restricted(mode: Mode) -> None:
    """Pods have every field that Pod Security Standard `restricted` requires, and none that `baseline` forbids."""
    spec = pull_pod(group_plan(GOOD, OTHER, mode=mode))["spec"]
    for forbidden in ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"):
        assert forbidden not in spec
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["runAsGroup"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert set(security) == {"runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile"}
    for volume in spec["volumes"]:
        (source,) = set(volume) - {"name"}
        assert source in ALLOWED_VOLUMES
    for container in containers(spec):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "ports" not in container
        assert "lifecycle" not in container


@pytest.mark.parametrize("mode", MODES)
def test_pull_pods_are_modest(mode: Mode) -> None:
    """Pull pods have the lowest priority and no token, are never restarted, may be evicted, and get no sidecar."""
    template = pull_pod(group_plan(GOOD, mode=mode))
    spec = template["spec"]
    assert spec["priorityClassName"] == "ips-flow-pull"
    assert spec["serviceAccountName"] == "ips-flow-pull"
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == 660
    assert spec["schedulingGates"] == [{"name": SCHEDULING_GATE}]
    assert template["metadata"]["annotations"] == {
        ANNOTATION_EPOCH: "0",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
        "sidecar.istio.io/inject": "false",
        "linkerd.io/inject": "disabled",
        "kuma.io/sidecar-injection": "disabled",
    }


@pytest.mark.parametrize("images", [(GOOD,), (GOOD, OTHER)])
@pytest.mark.parametrize("mode", MODES)
def test_a_pod_requests_few_resources(mode: Mode, images: tuple[str, ...]) -> None:
    """A pod requests 1m CPU and 8Mi for any number of images. Each container has a value, as some quotas require."""
    spec = pull_pod(group_plan(*images, mode=mode))["spec"]
    requests = [container["resources"]["requests"] for container in spec["containers"]]
    assert [one["cpu"] for one in requests] == ["1m", *["0"] * (len(images) - 1)]
    assert [one["memory"] for one in requests] == ["8Mi", *["0"] * (len(images) - 1)]
    assert all(container["resources"]["requests"] for container in containers(spec))


def test_mode_volume_has_a_container_and_a_volume_for_each_image() -> None:
    """Each container runs the worker and mounts its own image, so that each image has its own error."""
    spec = pull_pod(group_plan(GOOD, OTHER))["spec"]
    assert "initContainers" not in spec
    assert spec["volumes"] == [
        {"name": "image-0", "image": {"reference": GOOD, "pullPolicy": "IfNotPresent"}},
        {"name": "image-1", "image": {"reference": OTHER, "pullPolicy": "IfNotPresent"}},
    ]
    assert [container["image"] for container in spec["containers"]] == [WORKER, WORKER]
    mounts = [container["volumeMounts"] for container in spec["containers"]]
    assert [[one["name"] for one in mount] for mount in mounts] == [["image-0"], ["image-1"]]


def test_mode_container_runs_in_each_image() -> None:
    """The worker copies a static busybox, which runs in each image whatever the image contains."""
    plan = group_plan(GOOD, OTHER, mode="container")
    always = plan.images[1].model_copy(update={"pull_policy": "Always"})
    spec = pull_pod(plan.model_copy(update={"images": (plan.images[0], always)}))["spec"]
    (worker,) = spec["initContainers"]
    assert (worker["image"], worker["command"]) == (
        WORKER,
        ["/bin/busybox", "cp", "/bin/busybox", "/ips/busybox"],
    )
    assert [container["image"] for container in spec["containers"]] == [GOOD, OTHER]
    assert [container["imagePullPolicy"] for container in spec["containers"]] == ["IfNotPresent", "Always"]
    assert {tuple(container["command"]) for container in spec["containers"]} == {("/ips/busybox", "true")}
    assert spec["volumes"] == [{"name": "worker", "emptyDir": {"sizeLimit": "16Mi"}}]


def test_pull_secrets_and_tolerations_are_those_of_the_plan() -> None:
    """The pod has pull secrets only if the request names some."""
    plan = group_plan(GOOD)
    assert "imagePullSecrets" not in pull_pod(plan)["spec"]
    secret = plan.model_copy(update={"pull_secrets": ("a", "b")})
    assert pull_pod(secret)["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert pull_pod(plan)["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_the_job() -> None:
    """The Job is Indexed, never retried by its controller, may fail at every index, and is owned by the plan."""
    plan = group_plan(GOOD, nodes=[f"n{number}" for number in range(40)], window=10)
    labels = task_labels("t", UID, "pull", 0, 1)
    reference = {"kind": "ConfigMap", "name": "t-g0"}
    made = pull_job(
        plan,
        "t-g0-a1",
        labels=labels,
        owner=reference,
        nodes=40,
        seconds_left=-3,
        holder="d",
        window=10,
    )
    assert made["metadata"]["ownerReferences"] == [reference]
    assert made["metadata"]["annotations"] == {"ips-flow.io/holder": "d", ANNOTATION_EPOCH: "1"}
    spec = made["spec"]
    assert spec.pop("template")["metadata"]["labels"] == labels
    assert spec == {
        "completionMode": "Indexed",
        "completions": 40,
        "parallelism": 13,
        "backoffLimitPerIndex": 0,
        "maxFailedIndexes": 40,
        "podReplacementPolicy": "Failed",
        "activeDeadlineSeconds": 1,
        "ttlSecondsAfterFinished": 3600,
    }
    assert not [key for key in labels if "argoproj" in key]


@pytest.mark.parametrize(
    ("task", "stem"),
    [
        ("a", "a-0f3a9c"),
        ("a" * 40, "a" * 40 + "-0f3a9c"),
        ("a" * 39 + "-", "a" * 39 + "-0f3a9c"),
        ("a" * 41, "a" * 30 + "-" + UID.replace("-", "")[:16]),
        ("a" * 52, "a" * 30 + "-" + UID.replace("-", "")[:16]),
        ("a" * 28 + "--" + "b" * 22, "a" * 28 + "-" + UID.replace("-", "")[:16]),
    ],
)
def test_names_fit(task: str, stem: str) -> None:
    """The longest task name, the last group and attempt, and a five-digit index fit into 63 characters."""
    name = attempt_name(task, UID, 19, 5)
    assert name == f"{stem}-g19-a5"
    assert len(f"{name}-99999") <= 63
    assert "---" not in name
    assert name.startswith(group_name(task, UID, 19))
    for value in task_labels(task, UID, "pull", 19, 5).values():
        assert is_label_value(value)


def test_labels_of_a_long_name() -> None:
    """The name of a Workflow made by another program may be longer; its label is cut to a valid value."""
    (value,) = [
        value for key, value in task_labels("a" * 62 + ".b", UID, "pull").items() if key.endswith("task-name")
    ]
    assert value == "a" * 62


def test_ungating() -> None:
    """The patch tests the epoch, pins the pod to its node and removes only our gate."""
    gated = pod(group_plan(GOOD), gated=True)
    gated["spec"]["schedulingGates"].append({"name": "other.example/gate"})
    patch = ungate_patch(gated, "n7")
    assert patch[0] == {"op": "test", "path": "/metadata/annotations/ips-flow.io~1epoch", "value": "0"}
    after = json_patch(gated, patch)
    assert after["spec"]["schedulingGates"] == [{"name": "other.example/gate"}]
    assert not is_gated(after)
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n7"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    assert after["spec"]["affinity"] == {"nodeAffinity": required}
    assert [*after["metadata"]["managedFields"]] == [{}]  # which empties them


def test_an_epoch_fences_a_frozen_driver() -> None:
    """After another driver takes over a pod, an older ungate patch is refused and a new one is accepted."""
    gated = pod(group_plan(GOOD), gated=True)
    old = ungate_patch(gated, "n1")
    taken = json_patch(gated, epoch_patch(gated, "2"))
    assert is_gated(taken)
    with pytest.raises(ValueError, match="test of"):
        json_patch(taken, old)
    assert not is_gated(json_patch(taken, ungate_patch(taken, "n1")))
    with pytest.raises(ValueError, match="test of"):
        json_patch(taken, epoch_patch(gated, "3"))


def test_ending_a_bound_pod() -> None:
    """The patch that ends a pod also records what its containers waited for."""
    plan = group_plan(GOOD)
    patch = deadline_patch(pod(plan, [waiting("image-0", "ErrImagePull", "not found")]), "settled")
    assert patch["spec"] == {"activeDeadlineSeconds": 1}
    noted = json.loads(patch["metadata"]["annotations"][ANNOTATION_ENDED])
    assert noted == {
        "why": "settled",
        "containers": {"image-0": {"reason": "ErrImagePull", "message": "not found"}},
    }


def test_ending_an_unbound_pod() -> None:
    """No kubelet ends an unbound pod, so the patch sets its status to Failed with the reason."""
    assert failed_status_patch("Unschedulable", "no room") == {
        "status": {"phase": "Failed", "reason": "Unschedulable", "message": "no room"}
    }


def test_the_index_map() -> None:
    """The map of indexes to nodes is read as it was written."""
    nodes = [f"n{number}" for number in range(300)]
    assert read_index({"binaryData": index_data(nodes)}) == nodes
    assert completion_index(pod(group_plan(GOOD), index=17)) == 17


def test_a_wave_of_fifty_thousand_nodes_fits() -> None:
    """The plan of a wave and its index each fit into a ConfigMap, which may hold 1 MiB."""
    names = [f"ip-10-{at * 7919 % 2**24:08}.eu-central-1.compute.internal" for at in range(50_000)]
    for binary in (index_data(names), group_plan(GOOD, OTHER, nodes=names).encode()):
        assert sum(map(len, binary.values())) < 800_000


def test_results_outlive_the_plan() -> None:
    """Results are immutable and owned by the Workflow, not by the plan, which is deleted at the end."""
    made = results_map("r", "t", UID, Chunk(0, 0, {}))
    assert made["immutable"] is True
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "t", "uid": UID}
    ]
    assert made["metadata"]["labels"]["ips-flow.io/kind"] == "results"


def test_the_probe() -> None:
    """A stored Job without the volume's image shows that the API server drops the field."""
    probe = probe_job(GOOD, WORKER)
    assert keeps_image_volume(probe)
    dropped = copy.deepcopy(probe)
    del dropped["spec"]["template"]["spec"]["volumes"][0]["image"]
    assert not keeps_image_volume(dropped)
