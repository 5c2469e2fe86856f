"""Rights of each ServiceAccount, expanded: a line per resource with its verbs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from ips_flows.operations.install.manifests import COMPONENTS, load_manifests
from tests.support.paths import DEPLOY

Json = dict[str, Any]


def rbac() -> Json:
    """Return the document: ServiceAccount → scope → resource → verbs, and the policies of `ips-flow install`."""
    declared = list(manifests())
    granted = _granted(declared)
    installed = _granted(load_manifests("ips-flow", components=COMPONENTS))
    return {
        "accounts": granted,
        "admission policies": sorted(_policies(declared)),
        "install": {
            "leaves out": sorted(granted.keys() - installed.keys()),
            "grants otherwise": {
                name: rights for name, rights in installed.items() if granted.get(name) != rights
            },
        },
    }


def manifests() -> Iterator[Json]:
    """Yield the objects of the base and of all components."""
    for path in sorted([*DEPLOY.glob("base/*.yaml"), *DEPLOY.glob("components/*/*.yaml")]):
        for thing in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader):
            if "metadata" in thing:
                yield thing


def _granted(objects: Iterable[Json]) -> Json:
    objects = list(objects)
    roles = {(one["kind"], one["metadata"]["name"]): one for one in objects if "rules" in one}
    accounts = sorted(one["metadata"]["name"] for one in objects if one["kind"] == "ServiceAccount")
    granted: Json = {name: {} for name in accounts}
    for binding in objects:
        if "roleRef" not in binding:
            continue
        role = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]
        scope = "cluster" if binding["kind"] == "ClusterRoleBinding" else "namespace"
        for subject in binding["subjects"]:
            rights = granted[subject["name"]].setdefault(scope, {})
            for resource, verb in _expanded(role["rules"]):
                rights[resource] = sorted({*rights.get(resource, ()), verb})
    return {
        name: {scope: dict(sorted(one.items())) for scope, one in found.items()}
        for name, found in granted.items()
    }


def _expanded(rules: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """Yield each right of the rules: `resource.group [name]` and the verb."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    for verb in rule["verbs"]:
                        whole = f"{resource}.{group}" if group else resource
                        yield f"{whole} [{name}]" if name else whole, verb


def _policies(objects: Iterable[Json]) -> Iterator[str]:
    for one in objects:
        if "AdmissionPolicy" in one["kind"]:
            yield f"{one['kind']} {one['metadata']['name']}"
