"""The images of the local cluster: its own parts, the worker image, and the examples.

Each image is stored as an OCI layout in the cache, with a key of its inputs. If the cache is complete, a start only
pushes the images.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from . import layout, oci, registry, upstream
from .commands import run
from .errors import LocalClusterError
from .narration import step

BUSYBOX = Path("/bin/busybox")
ARGOEXEC = f"argo/argoexec:{upstream.ARGO_VERSION}"
PYTHON_BASE = "base/python:3.11"
WORKER = "ips-flow/worker:1"
PAUSE = "ips-flow/pause:1"
EXAMPLES = ("examples/hello:1.0", "examples/data:1.0", "examples/big:1.0")
PRIVATE_EXAMPLE = "examples/private:1.0"
MEBIBYTE = 1 << 20

_HELLO = b"#!/bin/sh\necho 'Hello from an image that was there before its pod.'\n"
_ACCOUNTS = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
_APPLETS = ("sh", "cat", "echo", "false", "ls", "mkdir", "sha256sum", "sleep", "true", "uname", "wget")


def _busybox(*links: str) -> oci.Blob:
    entries = [
        oci.Entry("bin", mode=0o755),
        oci.Entry("tmp", mode=0o1777),
        oci.Entry("bin/busybox", BUSYBOX, mode=0o755),
        *(oci.Entry(f"bin/{link}", target="busybox", mode=0o777) for link in links),
    ]
    return oci.layer(entries)


def worker() -> oci.Image:
    """Return the worker image of pull pods, with a static busybox."""
    return oci.image([_busybox("sh")], Cmd=["/bin/busybox", "true"], Env=["PATH=/bin"])


def pause() -> oci.Image:
    """Return the image of pod sandboxes."""
    return oci.image([_busybox()], Entrypoint=["/bin/busybox", "sleep", "2147483647"], User="65535:65535")


def hello() -> oci.Image:
    """Return a small image with a program."""
    files = oci.layer(
        [
            oci.Entry("etc", mode=0o755),
            oci.Entry("etc/passwd", _ACCOUNTS),
            oci.Entry("usr", mode=0o755),
            oci.Entry("usr/bin", mode=0o755),
            oci.Entry("usr/bin/hello", _HELLO, mode=0o755),
        ]
    )
    return oci.image([_busybox(*_APPLETS), files], Cmd=["/usr/bin/hello"], Env=["PATH=/bin:/usr/bin"])


def data() -> oci.Image:
    """Return an image without a program."""
    return oci.image([oci.layer([oci.Entry("data.txt", b"Only data: there is nothing to run in here.\n")])])


def big() -> oci.Image:
    """Return an image of 210 MiB in five layers, with the same bytes on every machine."""
    source = random.Random("examples/big:1.0")  # noqa: S311 - reproducible bytes, not secrets
    layers = [oci.layer([oci.Entry(f"part-{n}.bin", source.randbytes(42 * MEBIBYTE))]) for n in range(1, 6)]
    return oci.image(layers)


def private() -> oci.Image:
    """Return the image for the registry with authentication."""
    return oci.image([oci.layer([oci.Entry("secret.txt", b"You were let in.\n")])])


def argoexec() -> oci.Image:
    """Return the image of Argo's executor, with the layout of upstream's Dockerfile."""
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    entries = [
        oci.Entry("bin", mode=0o755),
        oci.Entry("bin/argoexec", layout.binary("argoexec"), mode=0o755),
        oci.Entry("etc", mode=0o755),
        oci.Entry("etc/nsswitch.conf", b"hosts: files dns\n"),
        oci.Entry("etc/ssl", mode=0o755),
        oci.Entry("etc/ssl/certs", mode=0o755),
        *([oci.Entry("etc/ssl/certs/ca-certificates.crt", certificates)] if certificates.is_file() else []),
        oci.Entry("tmp", mode=0o1777),
    ]
    return oci.image([oci.layer(entries)], Entrypoint=["argoexec"], Env=["PATH=/bin"])


def python_base() -> oci.Image:
    """Build an image of Debian's essential packages and Python with mmdebstrap."""
    log = layout.build_logs() / "python-base.log"
    with tempfile.TemporaryDirectory(dir=layout.cache()) as folder:
        archive = Path(folder) / "rootfs.tar"
        run(
            ["mmdebstrap", "--variant=essential", "--include=python3,python3-venv,ca-certificates"]
            + [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")]
            + ["bookworm", archive],
            log=log,
            hint="the build needs access to a Debian mirror",
        )
        made = oci.image([oci.Blob.of(oci.LAYER, archive)], Cmd=["python3"], Env=["PATH=/usr/bin:/bin"])
        oci.save(made, layout.cache() / "images" / _folder(PYTHON_BASE))
    return made


def _folder(name: str) -> str:
    return name.replace("/", "_").replace(":", "_")


# image → (function that builds it, files outside this module that it contains)
_RECIPES: dict[str, tuple[Callable[[], oci.Image], tuple[str, ...]]] = {
    PAUSE: (pause, ("busybox",)),
    WORKER: (worker, ("busybox",)),
    ARGOEXEC: (argoexec, ("argoexec",)),
    EXAMPLES[0]: (hello, ("busybox",)),
    EXAMPLES[1]: (data, ()),
    EXAMPLES[2]: (big, ()),
    PRIVATE_EXAMPLE: (private, ()),
    PYTHON_BASE: (python_base, ()),
}


def _key(name: str) -> str:
    """Return a hash of an image's inputs: this module, and size and time of its programs, which is quick."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(Path(oci.__file__).read_bytes())
    for part in _RECIPES[name][1]:
        stat = (BUSYBOX if part == "busybox" else layout.binary(part)).stat()
        digest.update(f"{part} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def kept(name: str) -> oci.Image:
    """Return an image from the cache; build it first if it is missing or its inputs changed."""
    folder = layout.cache() / "images" / _folder(name)
    key = folder / "key"
    # Building the base image takes half a minute and a mirror. Only its own function in this module changes it.
    wanted = "2" if name == PYTHON_BASE else _key(name)
    made = oci.load(folder) if key.is_file() and key.read_text() == wanted else None
    if made is None:
        shutil.rmtree(folder, ignore_errors=True)
        oci.save(_RECIPES[name][0](), folder)
        key.write_text(wanted)
        made = oci.load(folder)
    if made is None:
        raise LocalClusterError(f"{folder} is not an OCI layout", hint="remove that directory and try again")
    return made


def ensure() -> None:
    """Build and push every image that is missing in the registries."""
    with step("images") as current:
        pushed = 0
        for name in _RECIPES:
            target = registry.private_client() if name == PRIVATE_EXAMPLE else registry.client()
            repository, _, tag = name.partition(":")
            pushed += target.push(kept(name), repository, tag)
        current.says(f"{pushed} pushed" if pushed else "up to date")


def fresh(size: int, layers: int, *, runnable: bool) -> oci.Image:
    """Return an image of ``size`` random bytes in ``layers`` layers, which no node can have."""
    source = random.SystemRandom()
    share = max(1, size // max(1, layers))
    parts = [oci.layer([oci.Entry(f"random-{n}.bin", source.randbytes(share))]) for n in range(layers)]
    if not runnable:
        return oci.image(parts)
    return oci.image([_busybox(*_APPLETS), *parts], Cmd=["/bin/true"], Env=["PATH=/bin"])
