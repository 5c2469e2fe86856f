"""Image references: the syntax of distribution/reference, and the names under which a node lists an image."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

DEFAULT_REGISTRY = "docker.io"
_DEFAULT_TAG = "latest"
_LONGEST_REPOSITORY = 255
_LONGEST_TEXT = 1024
_LONGEST_SHOWN = 120
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}

_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::(?P<port>[0-9]+))?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile(r"[a-f0-9]+")
_IMAGE_ID = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image reference. `text` is the user's spelling; the other fields are normalised.

    `busybox` has the registry `docker.io`, the repository `library/busybox`, no tag and no digest.
    """

    text: str
    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def canonical(self) -> str:
        """The full spelling: `registry/repository[:tag][@digest]`, with `:latest` if there is no tag and no digest."""
        return f"{self.registry}/{self.repository}{self._suffix}"

    @property
    def identity(self) -> str:
        """The image that a runtime pulls. A runtime ignores a tag beside a digest, so the identity has no such tag."""
        return f"{self.registry}/{self.repository}@{self.digest}" if self.digest else self.canonical

    @property
    def pinned(self) -> bool:
        """Return whether a digest fixes the content of the image."""
        return self.digest is not None

    def names(self) -> tuple[str, ...]:
        """Return all spellings under which `node.status.images` may list this image, the most common first.

        containerd and CRI-O list full names, cri-dockerd lists the short names of Docker Hub. A pinned reference
        is found only by its digest, because its tag may have moved.
        """
        stems = [f"{self.registry}/{self.repository}"]
        if self.registry == DEFAULT_REGISTRY:
            stems.append(f"index.docker.io/{self.repository}")
            if (
                _split_registry(self.repository)[0] == DEFAULT_REGISTRY
            ):  # else the name would have another registry
                stems.append(self.repository)
            if self.repository.startswith("library/"):
                stems.append(self.repository.removeprefix("library/"))
        suffixes = [f"@{self.digest}" if self.digest else self._suffix]
        if self.digest and self.tag:
            suffixes.append(self._suffix)
        return tuple(stem + suffix for suffix in suffixes for stem in stems)

    @property
    def _suffix(self) -> str:
        tag = self.tag or (None if self.digest else _DEFAULT_TAG)
        return (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Parse `[registry/]repository[:tag][@digest]` as Docker does. Raises ValueError (got, allowed)."""
    if not text or len(text) > _LONGEST_TEXT:
        raise _wrong(text, 'an image reference such as "registry.example.com/team/app:1.2"')
    if text.strip() != text or any(character.isspace() for character in text):
        raise _wrong(text, "an image reference without spaces")
    if "://" in text:
        raise _wrong(text, 'an image reference without "http://" or another scheme')
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(text, digest)
    name, tag = _split_tag(rest)
    if tag is not None and not _TAG.fullmatch(tag):
        raise _wrong(
            text, "a tag of letters, digits, '_', '.' and '-', at most 128, not starting with '.' or '-'"
        )
    registry, repository = _split_registry(name)
    _check_registry(text, registry)
    _check_repository(text, name, registry, repository)
    return Reference(text, registry, repository, tag, digest if at else None)


def _split_tag(rest: str) -> tuple[str, str | None]:
    """Split off the tag. A colon before the last slash belongs to the registry's port."""
    head, slash, last = rest.rpartition("/")
    name, colon, tag = last.partition(":")
    return head + slash + name, tag if colon else None


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not (set(".:[") & set(first) or first == "localhost" or first != first.lower()):
        first, rest = DEFAULT_REGISTRY, name
    if first == "index.docker.io":
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _check_registry(text: str, registry: str) -> None:
    match = _REGISTRY.fullmatch(registry)
    if not match:
        raise _wrong(text, "a registry that is a host name or an address, with an optional :port")
    if match["port"] and not (len(match["port"]) <= 5 and 1 <= int(match["port"]) <= 65535):
        raise _wrong(text, "a registry port from 1 to 65535")


def _check_repository(text: str, name: str, registry: str, repository: str) -> None:
    if repository != repository.lower():
        raise _wrong(text, f'a repository in lower case: "{repository.lower().removeprefix("library/")}"')
    if not all(_COMPONENT.fullmatch(component) for component in repository.split("/")):
        raise _wrong(
            text,
            "a repository of lower-case letters and digits, with single '.', one or two '_', or '-' between them,"
            " and '/' between its parts",
        )
    if len(registry) + 1 + len(repository) > _LONGEST_REPOSITORY:
        raise _wrong(text, f"a registry and repository of at most {_LONGEST_REPOSITORY} characters")
    if _IMAGE_ID.fullmatch(name):
        raise _wrong(text, "a name; 64 hex digits are an image ID, which can't be pulled from a registry")


def _check_digest(text: str, digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    length = _DIGEST_LENGTHS.get(algorithm)
    if length is None or len(value) != length or not _HEX.fullmatch(value):
        raise _wrong(
            text, "a digest such as sha256:… with exactly 64 lower-case hex digits (sha384: 96, sha512: 128)"
        )


def _wrong(text: str, allowed: str) -> ValueError:
    cut = len(text) > _LONGEST_SHOWN
    shown = json.dumps(text[: _LONGEST_SHOWN - 1])[:-1] + '…"' if cut else json.dumps(text)
    return ValueError(f"got {shown}; allowed: {allowed}")
