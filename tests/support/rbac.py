"""Rights that calls of the API need, and rights that a ServiceAccount has."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from ips_flows.operations.install.manifests import COMPONENTS, load_manifests

Rights = set[tuple[str, str, str]]  # API group, resource with its subresource, verb

_PATH = re.compile(
    r"^(?:/api/v1|/apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/[^/]+(?=/))?/(?P<kind>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)
# Rights of Argo's executor, which runs in the pod of each step.
EXECUTOR: Rights = {("argoproj.io", "workflowtaskresults", verb) for verb in ("create", "patch")}


def needed(calls: Iterable[str]) -> Rights:
    """Return the rights that the recorded calls `METHOD path` need."""
    return {_right(call) for call in calls}


@functools.cache
def granted(account: str) -> Rights:
    """Return the rights that an installation grants to a ServiceAccount."""
    objects = load_manifests("warm", components=COMPONENTS)
    roles = {
        (binding["roleRef"]["kind"], binding["roleRef"]["name"])
        for binding in objects
        if binding["kind"] in ("RoleBinding", "ClusterRoleBinding")
        and any(subject["name"] == account for subject in binding["subjects"])
    }
    return {
        (group, resource, verb)
        for role in objects
        if (role["kind"], role["metadata"]["name"]) in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _right(call: str) -> tuple[str, str, str]:
    method, _, target = call.partition(" ")
    parts = urlsplit(target)
    match = _PATH.match(parts.path)
    assert match, call
    single = bool(match["name"])
    verb = {
        "POST": "create",
        "PATCH": "patch",
        "DELETE": "delete" if single else "deletecollection",
        "GET": "get" if single else "watch" if "watch" in parse_qs(parts.query) else "list",
    }[method]
    return match["group"] or "", match["kind"] + (f"/{match['sub']}" if match["sub"] else ""), verb
