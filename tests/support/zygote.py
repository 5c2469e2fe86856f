"""A process that has our programs' modules loaded and forks itself on request: `python -m tests.support.zygote FD`.

Loading them takes a second of processor time, which each of the many processes of the tests would need again. It has one
thread, so a fork is safe. It reads requests from the socket FD: JSON with arguments, folder and environment, and three
file descriptors for stdin, stdout and stderr. It returns the process ID, and sends the exit code when
the process ends.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any, NoReturn

MODULES = (
    "ips_flows.argo.cron_workflow",
    "ips_flows.argo.task_workflow",
    "ips_flows.kube.client",
    "ips_flows.operations.follow",
    "ips_flows.operations.forecast",
    "ips_flows.operations.submit",
    "ips_flows.server.main",
    "kubernetes.config",
)
LARGEST = 1 << 20  # bytes of a request


def main(number: int) -> None:
    """Serve requests until the socket is closed."""
    for name in MODULES:
        importlib.import_module(name)
    channel = socket.socket(fileno=number)
    ended, woken = socket.socketpair()
    woken.setblocking(False)  # noqa: FBT003  (its only parameter)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only wakes the selector
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is ended:
                    ended.recv(64)
                    _report_ended(channel)
                elif not _serve(channel):
                    return


def _serve(channel: socket.socket) -> bool:
    """Fork for one request; return False if the socket was closed."""
    data, streams, _, _ = socket.recv_fds(channel, LARGEST, 3)
    if not data:
        return False
    child = os.fork()
    if not child:
        channel.close()
        _become(json.loads(data), streams)
    for stream in streams:
        os.close(stream)
    channel.send(json.dumps({"started": child}).encode())
    return True


def _report_ended(channel: socket.socket) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not child:
            return
        channel.send(json.dumps({"ended": child, "code": os.waitstatus_to_exitcode(status)}).encode())


def _become(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Run `ips-flow` with the arguments, folder, environment and streams of a request."""
    from ips_flows.cli.main import main as program  # noqa: PLC0415  (fast: the modules are loaded)

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A shell starts background jobs with SIGINT ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, number in enumerate(streams):
        os.dup2(number, stream)
        os.close(number)
    sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False), encoding="utf-8")  # noqa: SIM115
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(open(number, "wb", closefd=False), encoding="utf-8", line_buffering=True)  # noqa: SIM115
        for number in (1, 2)
    )
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["ips-flow", *request["arguments"]]
    program()  # ends with SystemExit, or another exception, which the interpreter handles
    sys.exit()


if __name__ == "__main__":
    main(int(sys.argv[1]))
