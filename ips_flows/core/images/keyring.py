"""Credentials for registries from image pull Secrets, selected by the rules of the kubelet."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ips_flows.core.images.reference import DEFAULT_REGISTRY, Reference

_HUB_KEY = "index.docker.io"
# Registries for which kubelets often have a credential provider. Its credentials are not in a Secret.
_CLOUDS = (
    "*.dkr.ecr.*.amazonaws.com",
    "*.dkr.ecr.*.amazonaws.com.cn",
    "*.azurecr.io",
    "gcr.io",
    "*.gcr.io",
    "*.pkg.dev",
)


class Credential(NamedTuple):
    """A user and a password for `key`: a host, possibly with `*`, and an optional port and path."""

    key: str
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Keyring:
    """The credentials of image pull Secrets. `whole` is False if an existing Secret could not be read."""

    credentials: Sequence[Credential]
    whole: bool = True

    def credentials_for(self, reference: Reference) -> list[Credential]:
        """Return the credentials for an image in the order to try. If there are none, a kubelet pulls anonymously."""
        ordered = sorted(self.credentials, key=lambda one: one.key, reverse=True)
        matching = [one for one in ordered if _matches(one.key, reference)]
        if not matching and reference.registry == DEFAULT_REGISTRY:
            matching = [one for one in ordered if one.key == _HUB_KEY]
        return matching


def read_secret(secret: Mapping[str, Any]) -> list[Credential]:
    """Return the credentials of an image pull Secret. Raises ValueError if it is malformed."""
    data = secret.get("data") or {}
    for field, nested in ((".dockerconfigjson", True), (".dockercfg", False)):
        if field in data:
            try:
                document = json.loads(base64.b64decode(data[field]))
                entries = (document.get("auths") or {}) if nested else document
                return [_credential(server, entry) for server, entry in entries.items()]
            except (ValueError, AttributeError, TypeError, RecursionError) as error:
                raise ValueError(f"its {field} is not a Docker configuration") from error
    raise ValueError("it has neither .dockerconfigjson nor .dockercfg, so it is not an image pull Secret")


def has_provider(registry: str) -> bool:
    """Return whether kubelets often have a credential provider for a registry."""
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
    """Match a host part by part. A `*` matches any text within one part."""
    return len(patterns) == len(parts) and all(map(fnmatch.fnmatchcase, parts, patterns))
