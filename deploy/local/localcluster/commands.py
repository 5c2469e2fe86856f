"""Run other programs until they end, and wait for conditions."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import layout
from .errors import LocalClusterError


def run(
    argv: Sequence[str | Path],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    hint: str = "",
) -> str:
    """Run a program until it ends and return its stdout.

    With ``log``, stdout and stderr are written to that file, and the return value is empty.
    A non-zero exit code raises LocalClusterError with the program's own message.
    """
    words = [str(word) for word in argv]
    environment = {**os.environ, **env} if env else None
    try:
        if log is None:
            done = subprocess.run(
                words, env=environment, cwd=cwd, input=stdin, capture_output=True, text=True, check=False
            )
            output, said = done.stdout, done.stderr.strip() or done.stdout.strip()
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as stream:
                stream.write(f"$ {' '.join(words)}\n".encode())
                stream.flush()
                done_logged = subprocess.run(
                    words,
                    env=environment,
                    cwd=cwd,
                    input=stdin.encode() if stdin is not None else None,
                    stdout=stream,
                    stderr=stream,
                    check=False,
                )
            if done_logged.returncode == 0:
                return ""
            raise LocalClusterError(_failed(words, done_logged.returncode), log=log, hint=hint)
    except FileNotFoundError as error:
        raise LocalClusterError(f"program {words[0]} not found", hint=hint) from error
    if done.returncode != 0:
        raise LocalClusterError(f"{_failed(words, done.returncode)}: {said[-1500:]}", hint=hint)
    return output


def _failed(words: list[str], code: int) -> str:
    shown = " ".join(words[:4]) + (" …" if len(words) > 4 else "")
    return f"`{shown}` ended with exit code {code}"


def kubectl(*argv: str, stdin: str | None = None) -> str:
    """Run kubectl as the cluster's administrator."""
    return run([layout.binary("kubectl"), f"--kubeconfig={layout.KUBECONFIG}", *argv], stdin=stdin)


def apply(manifest: str) -> None:
    """Apply a manifest server-side, which has no size limit and is faster than client-side apply."""
    kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=local-cluster",
        "-f",
        "-",
        stdin=manifest,
    )


def await_condition(
    what: str,
    condition: Callable[[], bool],
    *,
    seconds: float,
    log: Path | None = None,
    abandon: Callable[[], str] = lambda: "",
) -> None:
    """Wait until ``condition`` is true; raise after ``seconds``, or as soon as ``abandon`` returns a reason."""
    deadline = time.monotonic() + seconds
    while not condition():
        reason = abandon()
        if reason:
            raise LocalClusterError(f"condition not met: {what}: {reason}", log=log)
        if time.monotonic() > deadline:
            raise LocalClusterError(f"condition not met after {seconds:.0f} s: {what}", log=log)
        time.sleep(0.1)


def write_if_changed(path: Path, text: str, mode: int = 0o644) -> bool:
    """Write a file only if its text differs; return whether it was written."""
    if path.is_file() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)
    return True
