from __future__ import annotations

import pytest

from ips_flows.core.images.reference import parse_reference

SHA = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.37", "docker.io/library/busybox:1.37"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("10.0.0.1:5000/a/b/c:1", "10.0.0.1:5000/a/b/c:1"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("MyHost/app", "MyHost/app:latest"),
        ("registry.example.com/a__b/c-d.e--f:V_1.0-x", "registry.example.com/a__b/c-d.e--f:V_1.0-x"),
        (f"busybox@{SHA}", f"docker.io/library/busybox@{SHA}"),
        (f"busybox:1@{SHA}", f"docker.io/library/busybox:1@{SHA}"),
        ("myreg:5000", "docker.io/library/myreg:5000"),
        ("busybox@sha512:" + "a" * 128, "docker.io/library/busybox@sha512:" + "a" * 128),
    ],
)
def test_normalises(text: str, canonical: str) -> None:
    """A reference has the same full spelling as in Docker, and keeps the user's spelling."""
    reference = parse_reference(text)
    assert (reference.text, reference.canonical) == (text, canonical)
    assert parse_reference(canonical).canonical == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'got ""; allowed: an image reference such as "registry.example.com/team/app:1.2"'),
        (" busybox", 'got " busybox"; allowed: an image reference without spaces'),
        ("a b", 'got "a b"; allowed: an image reference without spaces'),
        (
            "https://x.io/a",
            'got "https://x.io/a"; allowed: an image reference without "http://" or another scheme',
        ),
        ("Busybox", 'got "Busybox"; allowed: a repository in lower case: "busybox"'),
        ("x.io/Team/app", 'got "x.io/Team/app"; allowed: a repository in lower case: "team/app"'),
        (
            "busybox:",
            (
                "got \"busybox:\"; allowed: a tag of letters, digits, '_', '.' and '-', at most 128,"
                " not starting with '.' or '-'"
            ),
        ),
        (
            "a//b",
            (
                "got \"a//b\"; allowed: a repository of lower-case letters and digits, with single '.', one or two '_',"
                " or '-' between them, and '/' between its parts"
            ),
        ),
        ("x.io:0/a", 'got "x.io:0/a"; allowed: a registry port from 1 to 65535'),
        ("x.io:65536/a", 'got "x.io:65536/a"; allowed: a registry port from 1 to 65535'),
        (
            "-x.io/a",
            'got "-x.io/a"; allowed: a registry that is a host name or an address, with an optional :port',
        ),
        (
            "a@sha256:12",
            (
                'got "a@sha256:12"; allowed: a digest such as sha256:… with exactly 64 lower-case hex digits'
                " (sha384: 96, sha512: 128)"
            ),
        ),
    ],
)
def test_rejects_with_a_message(text: str, message: str) -> None:
    """An invalid reference is rejected; the message has the text and the allowed form."""
    with pytest.raises(ValueError, match="allowed") as caught:
        parse_reference(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef" * 4,
        "a/" * 130 + "a",
        "a" * 2000,
        "busybox:" + "t" * 129,
        "busybox:.1",
        "busybox:-1",
        "a___b",
        "a..b",
        "a_.b",
        "-a",
        "a-",
        "a/",
        "/a",
        "a:1:2",
        "@" + SHA,
        f"a@{SHA}@{SHA}",
        "a@" + SHA.upper(),
        "a@md5:" + "a" * 32,
        "a@",
        "a\nb",
        "b\u00fcsybox",
        "a:\uff11",
        "{{a}}",
    ],
)
def test_refuses(text: str) -> None:
    """A text that is not a valid Docker reference is rejected."""
    with pytest.raises(ValueError, match=r"^got "):
        parse_reference(text)


def test_names_of_a_tag() -> None:
    """An image of Docker Hub is found under the full name of containerd and under short names."""
    assert parse_reference("busybox:1").names() == (
        "docker.io/library/busybox:1",
        "index.docker.io/library/busybox:1",
        "library/busybox:1",
        "busybox:1",
    )
    assert parse_reference("x.io/a").names() == ("x.io/a:latest",)


def test_names_of_a_digest() -> None:
    """A pinned image is never found by its tag alone, because the tag may have moved."""
    names = parse_reference(f"x.io/a:1@{SHA}").names()
    assert names == (f"x.io/a@{SHA}", f"x.io/a:1@{SHA}")


def test_pinned() -> None:
    """A reference is pinned exactly if it has a digest."""
    assert parse_reference(f"a:1@{SHA}").pinned
    assert not parse_reference("a:1").pinned


def test_identity_ignores_a_tag_beside_a_digest() -> None:
    """References with the same repository and digest are the same image with any tag."""
    assert parse_reference(f"a:1@{SHA}").identity == parse_reference(f"docker.io/library/a@{SHA}").identity
    assert parse_reference("a:1").identity != parse_reference("a:2").identity
