"""Manifests on the command line: standard input, files, folders and kustomizations."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ips_flows.cli.options.request import decoded, file_bytes, stdin_bytes
from ips_flows.core.discover.finder import Finder
from ips_flows.core.discover.image_uses import Note
from ips_flows.core.discover.manifests import read_manifests
from ips_flows.core.errors import UsageError
from ips_flows.core.escape import escape

_LARGEST = 256 * 1024 * 1024  # bytes of one source
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_ENDINGS = (".yaml", ".yml", ".json")
_KUSTOMIZE_SECONDS = 300


def read_sources(sources: Sequence[str], finder: Finder) -> None:
    """Read the objects of each source (`-`, a file or a folder) into the finder."""
    if list(sources).count("-") > 1:
        raise UsageError("duplicate source -; stdin can be read only once")
    for source in sources:
        for text, name in _texts(source):
            for found in read_manifests(text, name):
                if isinstance(found, Note):
                    finder.add_note(found)
                else:
                    finder.add_object(found.content, found.location)


def _texts(source: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a source, each with the name that locations in messages have."""
    if source == "-":
        hint = "Pipe manifests to it: `helm template CHART | ips-flow images -`."
        yield _text(stdin_bytes(sys.stdin, _LARGEST + 1, hint), "stdin"), "stdin"
        return
    path = Path(source)
    if not path.is_dir():
        yield _file(source)
    elif any((path / name).is_file() for name in _KUSTOMIZATIONS):
        yield _kustomized(source), escape(source)
    elif (path / "Chart.yaml").is_file():
        raise UsageError(
            f"{escape(source)}: is a Helm chart, whose images are known only when it is rendered",
            hint=f"helm template {escape(source)} | ips-flow images -",
        )
    else:
        files = sorted(one for one in path.iterdir() if one.suffix in _ENDINGS and one.is_file())
        if not files:
            raise UsageError(
                f"{escape(source)}: contains no manifest and no kustomization",
                hint=f"Give a folder with kustomization.yaml, or with files that end in {', '.join(_ENDINGS)}.",
            )
        yield from (_file(str(one)) for one in files)


def _file(file: str) -> tuple[str, str]:
    return _text(file_bytes(file, _LARGEST + 1), escape(file)), escape(file)


def _text(data: bytes, source: str) -> str:
    if len(data) > _LARGEST:
        raise UsageError(f"{source}: got more than 256 MiB; allowed: at most 256 MiB")
    return decoded(data, source)


def _kustomized(folder: str) -> str:
    """Return the output of `kubectl kustomize` for a folder."""
    shown = escape(folder)
    if shutil.which("kubectl") is None:
        raise UsageError(
            f"{shown}: is a kustomization; building it requires kubectl, which is not installed",
            hint=f"Install kubectl, or use kustomize: `kustomize build {shown} | ips-flow images -`.",
        )
    try:
        done = subprocess.run(
            ["kubectl", "kustomize", "--", folder],
            capture_output=True,
            check=False,
            timeout=_KUSTOMIZE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{shown}: kubectl kustomize took more than {_KUSTOMIZE_SECONDS} s") from error
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:500]
        raise UsageError(f"{shown}: kubectl kustomize: {said}")
    return _text(done.stdout, shown)
