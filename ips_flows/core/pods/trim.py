"""Trim pods and events to the fields that a driver reads.

A driver holds hundreds of pods in memory, with tens of containers each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ips_flows.core.constants import ANNOTATION_ENDED, ANNOTATION_EPOCH
from ips_flows.core.k8s.objects import Json

# The fields to keep, nested as in the object. True keeps the whole value; for a list, the shape applies to each entry.
Shape = Mapping[str, Any]

_CONTAINER: Shape = {"name": True, "image": True}
_STATUS: Shape = {
    "name": True,
    "imageID": True,
    "state": True,
    "volumeMounts": {"volumeStatus": True},
}
POD: Shape = {
    "metadata": {
        "name": True,
        "uid": True,
        "resourceVersion": True,
        "deletionTimestamp": True,
        "annotations": {
            "batch.kubernetes.io/job-completion-index": True,
            ANNOTATION_EPOCH: True,
            ANNOTATION_ENDED: True,
        },
    },
    "spec": {
        "nodeName": True,
        "schedulingGates": True,
        "volumes": {"name": True, "image": {"reference": True}},
        "initContainers": _CONTAINER,
        "containers": _CONTAINER,
    },
    "status": {
        "phase": True,
        "reason": True,
        "message": True,
        "startTime": True,
        "conditions": {"type": True, "message": True},
        "initContainerStatuses": _STATUS,
        "containerStatuses": _STATUS,
    },
}
EVENT: Shape = {
    "metadata": {"name": True},
    "involvedObject": {"name": True, "uid": True},
    "reason": True,
    "message": True,
    "count": True,
    "series": {"count": True},
    "firstTimestamp": True,
    "eventTime": True,
}


def trim(item: Json, shape: Shape) -> Json:
    """Return a copy of an object with only the fields of the shape."""
    return {key: _trim_value(item[key], kept) for key, kept in shape.items() if key in item}


def _trim_value(value: Any, shape: Any) -> Any:
    if shape is True or value is None:
        return value
    if isinstance(value, list):
        return [trim(one, shape) for one in value]
    return trim(value, shape)
