"""Credentials for registries out of image pull Secrets, chosen as the kubelet chooses them."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ips_flows.core.images.reference import DEFAULT_REGISTRY, Reference

_HUB_KEY = "index.docker.io"
# Where a kubelet commonly has a credential provider of its own, which no Secret tells of.
_CLOUDS = (
    "*.dkr.ecr.*.amazonaws.com",
    "*.dkr.ecr.*.amazonaws.com.cn",
    "*.azurecr.io",
    "gcr.io",
    "*.gcr.io",
    "*.pkg.dev",
)


class Credential(NamedTuple):
    """A user and a password for what `key` names: a host, maybe with a port, a path, and `*` in parts of the host."""

    key: str
    user: str
    password: str


def read_secret(secret: Mapping[str, Any]) -> list[Credential]:
    """The credentials of an image pull Secret. Raises ValueError: what is wrong with it."""
    data = secret.get("data") or {}
    for field, nested in ((".dockerconfigjson", True), (".dockercfg", False)):
        if field in data:
            try:
                document = json.loads(base64.b64decode(data[field]))
                entries = (document.get("auths") or {}) if nested else document
                return [_credential(server, entry) for server, entry in entries.items()]
            except (ValueError, AttributeError, TypeError, RecursionError) as error:
                raise ValueError(f"its {field} is no Docker configuration") from error
    raise ValueError("it has neither .dockerconfigjson nor .dockercfg, so it is no image pull Secret")


def credentials_for(credentials: Iterable[Credential], reference: Reference) -> list[Credential]:
    """Those to try for an image, in this order. None means that a kubelet asks without any."""
    ordered = sorted(credentials, key=lambda one: one.key, reverse=True)
    matching = [one for one in ordered if _matches(one.key, reference)]
    if not matching and reference.registry == DEFAULT_REGISTRY:
        matching = [one for one in ordered if one.key == _HUB_KEY]
    return matching


def has_provider(registry: str) -> bool:
    """Whether nodes may well have credentials for a registry that no Secret holds."""
    return any(fnmatch.fnmatchcase(registry, pattern) for pattern in _CLOUDS)


def _credential(server: str, entry: Mapping[str, Any]) -> Credential:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError("auth is not base64 of user:password") from error
    parts = urlsplit(server if server.startswith(("http://", "https://")) else f"https://{server}")
    path = parts.path
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return Credential(parts.netloc + ("" if path == "/" else path), user, password)


def _matches(key: str, reference: Reference) -> bool:
    host, slash, path = key.partition("/")
    name, _, port = host.partition(":")
    wanted_name, _, wanted_port = reference.registry.partition(":")
    return (
        port == wanted_port
        and _hosts_match(name.split("."), wanted_name.split("."))
        and f"/{reference.repository}".startswith(slash + path)
    )


def _hosts_match(patterns: Sequence[str], parts: Sequence[str]) -> bool:
    """A `*` stands for any text within one part of a name."""
    return len(patterns) == len(parts) and all(map(fnmatch.fnmatchcase, parts, patterns))
