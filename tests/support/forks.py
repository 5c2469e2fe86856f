"""Processes of `ips-flow` that start without loading its modules again: forks of a zygote, one for each test process."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from tests.support.paths import ROOT


class Fork:
    """A process of `ips-flow` with the interface of subprocess.Popen: stdout and stderr are pipes with text.

    It reads `text` from stdin. With `together`, stdout and stderr are the pipe `stdout`.
    """

    def __init__(
        self,
        *arguments: str,
        folder: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        text: str = "",
        together: bool = False,
    ) -> None:
        out, err = os.pipe(), os.pipe()
        theirs = [out[1], err[1]]
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": dict(os.environ if environment is None else environment),
        }
        try:
            with tempfile.TemporaryFile() as stdin:
                stdin.write(text.encode())
                stdin.seek(0)
                streams = [stdin.fileno(), out[1], out[1] if together else err[1]]
                self.pid = _zygote().start(json.dumps(request).encode(), streams)
        finally:
            for number in theirs:
                os.close(number)
        self.stdout: TextIO = os.fdopen(out[0], encoding="utf-8")
        self.stderr: TextIO = os.fdopen(err[0], encoding="utf-8")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._wait(0)

    def wait(self, timeout: float) -> int:
        """Wait for the end; return the exit code, negative after a signal."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return code

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Read the rest of stdout and stderr, and wait for the end. Kills the process after `timeout` seconds."""
        said = {"out": "", "err": ""}

        def read() -> None:
            said["err"] = self.stderr.read()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        late = threading.Event()

        def end() -> None:
            late.set()
            self.kill()

        timer = threading.Timer(timeout, end)
        timer.start()
        said["out"] = self.stdout.read()
        reader.join()
        self.wait(60)
        timer.cancel()
        if late.is_set():
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout, said["out"], said["err"])
        return said["out"], said["err"]

    def await_line(self, text: str, times: int = 1) -> None:
        """Read stderr until a text has appeared in `times` lines."""
        left = times
        for line in self.stderr:
            left -= text in line
            if not left:
                return
        raise AssertionError(f"{text!r} did not come {times} times")

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            # The process may have ended, with the message of the zygote not read yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill the process if it still runs, and close its pipes."""
        self.kill()
        self.wait(60)
        self.stdout.close()
        self.stderr.close()

    def _wait(self, timeout: float) -> int | None:
        if self.returncode is None:
            self.returncode = _zygote().exit_code(self.pid, timeout)
        return self.returncode


@contextlib.contextmanager
def running_command(*arguments: str, until: str, times: int = 1) -> Iterator[Fork]:
    """Start `ips-flow`; continue when a text has appeared in `times` lines of its stderr. Kill it at the end."""
    with contextlib.closing(Fork(*arguments)) as one:
        one.await_line(until, times)
        yield one


class _Zygote:
    """A connection to the process of tests/support/zygote.py. The socket keeps message boundaries."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        self._channel = ours
        self._codes: dict[int, int] = {}
        self._lock = threading.Lock()

    def start(self, request: bytes, streams: list[int]) -> int:
        """Send a request; return the process ID of the fork."""
        with self._lock:
            socket.send_fds(self._channel, [request], streams)
            while True:
                message = self._receive()
                if "started" in message:
                    return int(message["started"])

    def exit_code(self, pid: int, timeout: float) -> int | None:
        """Return the exit code of a fork, or None if it has not ended in time."""
        end = time.monotonic() + timeout
        with self._lock:
            while pid not in self._codes:
                if not select.select([self._channel], [], [], max(0.0, end - time.monotonic()))[0]:
                    return None
                self._receive()
            return self._codes[pid]

    def _receive(self) -> dict[str, int]:
        data = self._channel.recv(1 << 12)
        assert data, f"the zygote has ended with exit code {self._process.wait(60)}"
        message: dict[str, int] = json.loads(data)
        if "ended" in message:
            self._codes[message["ended"]] = message["code"]
        return message


@functools.cache
def _zygote() -> _Zygote:
    return _Zygote()
