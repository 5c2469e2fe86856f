"""Manifests and indexes in responses of registries."""

from __future__ import annotations

import json

import pytest

from ips_flows.core.images.manifest import ManifestError, read_manifest
from tests.fakes import token_registry as fake


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "JSON that is not a mapping"),
        (
            b'{"schemaVersion": 1}',
            "a manifest of Docker schema 1, which containerd 2 and CRI-O do not support",
        ),
        (b'{"schemaVersion": 2}', "not an image: its media type is missing"),
        (b'{"mediaType": "text/plain"}', "not an image: its media type is text/plain"),
        (b'{"manifests": 3}', "a manifest without manifests"),
        (b'{"layers": []}', "a manifest without config"),
        (b'{"layers": [], "config": 3}', "a manifest with a descriptor that is not a mapping"),
        (b'{"layers": [], "config": {"digest": "x"}}', "a manifest with a descriptor without a digest"),
        (
            b'{"layers": [], "config": {"digest": "sha256:0"}}',
            "a manifest with a descriptor without a size: sha256:0",
        ),
        (
            b'{"layers": [], "config": {"digest": "sha256:0", "size": true}}',
            "a manifest with a descriptor without a size: sha256:0",
        ),
    ],
)
def test_invalid_manifests(body: bytes, message: str) -> None:
    """The message describes the content that the registry returned."""
    with pytest.raises(ManifestError, match=f"^{message}$"):
        read_manifest(body, "")


def test_the_content_type_replaces_a_missing_media_type() -> None:
    """The field mediaType of OCI is optional."""
    document = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    assert read_manifest(document, f"{fake.OCI_INDEX}; charset=utf-8") == read_manifest(document, "")
