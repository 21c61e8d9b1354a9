"""A relay between a client and its server that lets so many bytes a second through. Used to make the link the neck.

Rule: it holds next to nothing, so what waits, waits where it can still be overtaken.
"""

import socket
import time
from threading import Event, Thread
from typing import Final

from tests.e2e.support.lab import connect
from tests.e2e.support.wire import Wire

_READ_BYTES: Final = 16_384
_KERNEL_BYTES: Final = 32_768


class NarrowRelay:
    """Listens for clients of the server on `port`."""

    def __init__(self, port: int, bytes_per_s: int) -> None:
        self._to = port
        self._pause_s = _READ_BYTES / bytes_per_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)  # accepted sockets have it too
        self.port = int(self._listener.getsockname()[1])
        self._ended = Event()
        self._wires: list[Wire] = []
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "NarrowRelay":
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._listener.close()
        for wire in self._wires:
            wire.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # closed
                return
            pair = Wire(sock), connect(self._to)
            for wire in pair:
                wire.sock.settimeout(None)
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
                self._wires.append(wire)
            for source, target in (pair, pair[::-1]):
                Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: Wire, target: Wire) -> None:
        """Pass bytes on at the pace, by when each is due: a late wake-up is made up for, and no more than that."""
        due = time.monotonic()
        try:
            while data := source.sock.recv(_READ_BYTES):
                target.send(data)
                now = time.monotonic()
                due = max(due, now - 5 * self._pause_s) + self._pause_s * len(data) / _READ_BYTES
                self._ended.wait(max(0.0, due - now))
        except OSError:
            pass
        source.close()
        target.close()
