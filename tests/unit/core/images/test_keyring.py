"""Credentials of image pull Secrets, selected by the rules of the kubelet."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ips_flows.core.images.keyring import Credential, Keyring, has_provider, read_secret
from ips_flows.core.images.reference import parse_reference


def secret(auths: Any, field: str = ".dockerconfigjson") -> dict[str, Any]:
    document = {"auths": auths} if field == ".dockerconfigjson" else auths
    return {"data": {field: base64.b64encode(json.dumps(document).encode()).decode()}}


def test_secrets_are_read_as_kubelets_read_them() -> None:
    """Both kinds of Secret, both forms of a password, and all forms of a server are read."""
    pair = base64.b64encode(b"me:pass:word").decode()
    auths = {
        "https://index.docker.io/v1/": {"auth": pair, "username": "other"},
        "registry.example:5000": {"username": "you", "password": "pw"},
        "http://other.example/v2/team": {"auth": pair},
        "bare.example/": {},
    }
    expected = [
        Credential("index.docker.io", "me", "pass:word"),
        Credential("registry.example:5000", "you", "pw"),
        Credential("other.example/team", "me", "pass:word"),
        Credential("bare.example", "", ""),
    ]
    assert read_secret(secret(auths)) == expected
    assert read_secret(secret(auths, ".dockercfg")) == expected
    assert read_secret(secret(None)) == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "it has neither .dockerconfigjson nor .dockercfg, so it is not an image pull Secret"),
        ({"data": {".dockerconfigjson": "!"}}, "its .dockerconfigjson is not a Docker configuration"),
        (
            {"data": {".dockerconfigjson": base64.b64encode(b"[" * 100_000).decode()}},
            "its .dockerconfigjson is not a Docker configuration",
        ),
        (secret([1]), "its .dockerconfigjson is not a Docker configuration"),
        (secret({"a": 1}), "its .dockerconfigjson is not a Docker configuration"),
        (secret({"a": {"auth": "A"}}), "its .dockerconfigjson is not a Docker configuration"),
    ],
)
def test_invalid_secrets(document: Any, message: str) -> None:
    """The message has the problem, and nothing of the content."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        read_secret(document)


@pytest.mark.parametrize(
    ("image", "keys"),
    [
        ("registry.example/team/app:1", ["registry.example/team", "registry.example"]),
        ("registry.example/other:1", ["registry.example"]),
        ("registry.example:5000/app:1", []),
        ("eu.wild.example/app", ["*.wild.example"]),
        ("a.eu.wild.example/app", []),
        ("busybox", ["index.docker.io"]),
        ("docker.io/team/app", ["index.docker.io"]),
    ],
)
def test_credentials_for_an_image(image: str, keys: list[str]) -> None:
    """The most specific key is first; a `*` matches one part of a host; Docker Hub has its own key."""
    known = ["registry.example", "registry.example/team", "*.wild.example", "index.docker.io"]
    chosen = Keyring([Credential(key, "u", "p") for key in known]).credentials_for(parse_reference(image))
    assert [one.key for one in chosen] == keys


def test_clouds_whose_nodes_have_credentials() -> None:
    """Registries with a usual credential provider of kubelets are known by their host names."""
    assert has_provider("123.dkr.ecr.eu-central-1.amazonaws.com")
    assert has_provider("europe-docker.pkg.dev")
    assert not has_provider("registry.example")
