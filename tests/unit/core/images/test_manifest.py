"""Manifests and indexes as registries send them."""

from __future__ import annotations

import json

import pytest

from ips_flows.core.images.manifest import ManifestError, read_manifest
from tests.fakes import token_registry as fake


@pytest.mark.parametrize(
    ("body", "told"),
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
def test_what_is_no_manifest(body: bytes, told: str) -> None:
    """The message says what the registry has in its place."""
    with pytest.raises(ManifestError, match=f"^{told}$"):
        read_manifest(body, "")


def test_the_content_type_counts_where_the_document_tells_none() -> None:
    """OCI's mediaType is optional."""
    document = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    assert read_manifest(document, f"{fake.OCI_INDEX}; charset=utf-8") == read_manifest(document, "")
