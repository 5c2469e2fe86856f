"""A registry that accepts every connection and sends no response: pulls from it hang until they are ended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable

from tests.fakes.free_port import first_free


class Tarpit:
    """Listen on the first free port of those given; the context manager returns `host:port`."""

    def __init__(self, host: str, ports: Iterable[int]) -> None:
        self._host = host
        self._ports = ports
        self._held: list[socket.socket] = []

    def __enter__(self) -> str:
        self._listener = first_free(self._ports, self._bind)
        self._thread = threading.Thread(target=self._hold, daemon=True)
        self._thread.start()
        return f"{self._host}:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        # shutdown before close, because it wakes the thread that waits in accept
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for connection in self._held:
            connection.close()

    def _bind(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, port))
        except OSError:
            listener.close()
            raise
        listener.listen()
        return listener

    def _hold(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the listener was closed
                return
            self._held.append(connection)
