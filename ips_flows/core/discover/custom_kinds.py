"""Find custom kinds that create pods: their schema has containers with an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ips_flows.core.discover.pod_specs import CONTAINERS, mapping, mappings

_INSIDE = ("items", "additionalProperties")
_COMBINED = ("allOf", "anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class CustomKind:
    """A kind of a CustomResourceDefinition, in a served version."""

    group: str
    version: str
    plural: str
    namespaced: bool


def custom_kinds(definitions: Iterable[Mapping[str, Any]]) -> Iterator[CustomKind]:
    """Yield the kinds of these CustomResourceDefinitions that create pods. Unspecified parts of a schema do not count."""
    for one in definitions:
        spec = one["spec"]
        served = [version for version in spec["versions"] if version["served"]]
        # Prefer the stored version: it needs no conversion.
        for version in sorted(served, key=lambda version: not version["storage"])[:1]:
            if makes_pods(mapping(mapping(version.get("schema")).get("openAPIV3Schema"))):
                namespaced = spec["scope"] == "Namespaced"
                yield CustomKind(spec["group"], version["name"], spec["names"]["plural"], namespaced)


def makes_pods(schema: Mapping[str, Any]) -> bool:
    """Return whether an OpenAPI schema has a list of containers with an image."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        properties = mapping(one.get("properties"))
        for name in CONTAINERS:
            item = mapping(mapping(properties.get(name)).get("items"))
            if "image" in mapping(item.get("properties")):
                return True
        inner = [*properties.values(), *(one.get(name) for name in _INSIDE)]
        inner += (schema for name in _COMBINED for schema in mappings(one.get(name)))
        waiting += (schema for schema in inner if isinstance(schema, Mapping))
    return False
