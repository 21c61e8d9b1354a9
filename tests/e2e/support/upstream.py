"""A raw TCP service on 127.0.0.1. Used as the local service behind a tunnel.

Either the test plays it step by step (`next`), or a script does, in a thread for each connection (`serve`).
"""

import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.e2e.support.wire import TIMEOUT_S, CutShort, Wire


class RawUpstream:
    """Listens from the start. The client keeps connections, so a request may come on any of them."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self.listener.getsockname()[1])
        self.wires: list[Wire] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ, None)

    def __enter__(self) -> "RawUpstream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """What a client forwards to."""
        return f"http://127.0.0.1:{self.port}"

    def next(self, timeout_s: float = TIMEOUT_S) -> Wire:
        """The connection on which the next request arrives; new ones are accepted on the way."""
        while True:
            ready = self._selector.select(timeout_s)
            if not ready:
                raise TimeoutError(f"no request reached the service within {timeout_s:g} s")
            for key, _ in ready:
                wire = key.data
                if wire is None:
                    self._accept()
                elif self._gone(wire):
                    self._forget(wire)
                else:
                    return wire  # type: ignore[no-any-return]

    def is_idle(self, for_s: float = 0.0) -> bool:
        """Whether no request is there, nor comes within `for_s`."""
        try:
            self.next(for_s)
        except TimeoutError:
            return True
        return False

    def serve(self, script: Callable[[Wire], None]) -> None:
        """Play the script on each connection from now on, in a thread of its own; what cuts it short ends it."""
        self._selector.unregister(self.listener)
        threading.Thread(target=self._accept_all, args=(script,), daemon=True).start()

    def close_connections(self) -> None:
        """End every connection, so that the next test has new ones."""
        while not self.is_idle():
            self._forget(self.next())
        for wire in list(self.wires):
            self._forget(wire)

    def close(self) -> None:
        """Stop listening; what is open ends."""
        self._selector.close()
        self.listener.close()
        for wire in self.wires:
            wire.close()

    def _accept(self) -> None:
        for closed in [wire for wire in self.wires if wire.sock.fileno() < 0]:
            self._forget(closed)  # by the test; the system may give its number to the new one
        sock, _ = self.listener.accept()
        wire = Wire(sock)
        self.wires.append(wire)
        self._selector.register(sock, selectors.EVENT_READ, wire)

    def _forget(self, wire: Wire) -> None:
        with suppress(KeyError):  # of a script
            self._selector.unregister(wire.sock)
        wire.close()
        self.wires.remove(wire)

    def _gone(self, wire: Wire) -> bool:
        try:
            return not wire.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _accept_all(self, script: Callable[[Wire], None]) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:  # closed
                return
            wire = Wire(sock)
            self.wires.append(wire)
            threading.Thread(target=_play, args=(script, wire), daemon=True).start()


def _play(script: Callable[[Wire], None], wire: Wire) -> None:
    with wire:
        try:
            while True:
                script(wire)
        except (CutShort, OSError):
            pass
