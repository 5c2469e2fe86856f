"""Find custom kinds that create pods by their schemas."""

from __future__ import annotations

from typing import Any

import pytest

from ips_flows.core.discover.custom_kinds import CustomKind, custom_kinds, makes_pods

CONTAINERS: dict[str, Any] = {"containers": {"items": {"properties": {"image": {"type": "string"}}}}}
POD: dict[str, Any] = {"properties": CONTAINERS}


def definition(*versions: dict[str, Any], scope: str = "Namespaced") -> dict[str, Any]:
    """Return a CustomResourceDefinition."""
    names = {"plural": "things"}
    return {"spec": {"group": "example.com", "scope": scope, "names": names, "versions": list(versions)}}


def version(name: str, schema: Any = POD, *, served: bool = True, storage: bool = False) -> dict[str, Any]:
    """Return a version of a CustomResourceDefinition."""
    return {"name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": schema}}


@pytest.mark.parametrize(
    ("schema", "makes"),
    [
        (POD, True),
        ({"properties": {"initContainers": CONTAINERS["containers"]}}, True),
        ({"properties": {"spec": {"properties": {"template": POD}}}}, True),
        ({"properties": {"jobs": {"items": POD}}}, True),
        ({"properties": {"roles": {"additionalProperties": POD}}}, True),
        ({"oneOf": [{"properties": {}}, POD]}, True),
        ({"properties": {"containers": {"items": {"properties": {"name": {}}}}}}, False),
        ({"properties": {"containers": {"type": "integer"}}}, False),
        ({"properties": {"image": {"type": "string"}}}, False),
        ({"x-kubernetes-preserve-unknown-fields": True}, False),
        ({"properties": None, "items": True, "allOf": ["x"]}, False),
    ],
)
def test_a_schema_that_makes_pods(schema: dict[str, Any], *, makes: bool) -> None:
    """A schema creates pods if it has a list of containers with an image at any depth; an open schema does not."""
    assert makes_pods(schema) is makes


def test_the_stored_version_counts() -> None:
    """The stored version is used if it is served, else the first served one; other kinds are left out."""
    found = custom_kinds(
        [
            definition(version("v1beta1"), version("v1", storage=True)),
            definition(version("v1alpha1"), version("v1", storage=True, served=False), scope="Cluster"),
            definition(version("v1", {"properties": {}}, storage=True)),
            definition(version("v1", served=False)),
            definition({"name": "v1", "served": True, "storage": True}),
        ]
    )
    assert list(found) == [
        CustomKind("example.com", "v1", "things", namespaced=True),
        CustomKind("example.com", "v1alpha1", "things", namespaced=False),
    ]
