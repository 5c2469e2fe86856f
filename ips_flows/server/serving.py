"""Runs keeper and HTTP server together until SIGTERM or SIGINT, then lets both end what they have begun."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from types import FrameType

import uvicorn

from ips_flows.errors import IpsFlowError
from ips_flows.kube import Kube
from ips_flows.server import journal
from ips_flows.server.app import create_app
from ips_flows.server.keeper import Keeper, Pace

_DRAIN_SECONDS = 10


def serve(kube: Kube, namespace: str, host: str, port: int, *, pace: Pace | None = None) -> None:
    """Serve until asked to end. Raises IpsFlowError if the address can't be listened on; nothing runs then."""
    listener = _listen(host, port)
    journal.start()
    keeper = Keeper(kube, namespace, _identity(), pace=pace)
    config = uvicorn.Config(
        create_app(keeper), log_config=None, access_log=False, timeout_graceful_shutdown=_DRAIN_SECONDS
    )
    server = uvicorn.Server(config)

    def end(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn has handlers of its own while it runs, and raises the signal again when it is done: ours takes it then.
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        keeper.start()
        address = listener.getsockname()
        journal.tell("listening", host=address[0], port=address[1], namespace=namespace)
        server.run(sockets=[listener])
    finally:
        keeper.stop()
        listener.close()
        for number, handler in before.items():
            signal.signal(number, handler)
        journal.tell("ended")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        raise IpsFlowError(
            f"can't listen on {host}, port {port}: {error.strerror or error}",
            hint="Name another address with --host and --port.",
        ) from error
    return listener


def _identity() -> str:
    """This process: a pod's name says which; a pod's container that starts anew is another holder."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
