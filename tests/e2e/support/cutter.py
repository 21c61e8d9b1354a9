"""A relay between a client and its server that breaks links, or lets them fall silent. Used to try faults of the net.

Rule: it never changes a byte; it only stops passing them on.
"""

import random
import socket
from threading import Event, Lock, Thread
from typing import Final

from tests.e2e.support.lab import connect
from tests.e2e.support.wire import Wire

_READ_BYTES: Final = 65_536
_CUT_AFTER: Final = (500, 40_000)  # from within the handshake to some exchanges later


class CuttingRelay:
    """Listens for clients of the server on `port`. The same seed cuts after the same numbers of bytes."""

    def __init__(self, port: int, seed: int = 0) -> None:
        self.links = 0
        self.cuts = 0
        self._random = random.Random(seed)
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = Lock()
        self._pairs: list[tuple[Wire, Wire]] = []
        self._flowing = Event()
        self._flowing.set()
        self._budget: int | None = None
        self._ended = False
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "CuttingRelay":
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended = True
        self._listener.close()
        self._flowing.set()
        self.cut()

    def cut(self) -> None:
        """Reset every link that is open, at both ends."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _reset(pair)

    def begin_to_cut(self) -> None:
        """Reset the links again and again, each time after a random number of bytes, wherever in a frame that is."""
        with self._lock:
            self._budget = self._random.randint(*_CUT_AFTER)

    def swallow(self) -> None:
        """Pass nothing on any more, and close nothing: what is sent is lost, as when a router was switched off."""
        self._flowing.clear()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # closed
                return
            pair = Wire(sock), connect(self._to)
            for wire in pair:
                wire.sock.settimeout(None)
            with self._lock:
                self._pairs.append(pair)
                self.links += 1
            for source, target in (pair, pair[::-1]):
                Thread(target=self._carry, args=(source, target, pair), daemon=True).start()

    def _carry(self, source: Wire, target: Wire, pair: tuple[Wire, Wire]) -> None:
        try:
            while data := source.sock.recv(_READ_BYTES):
                if not self._flowing.is_set():
                    continue
                allowed = self._allowed(len(data))
                target.send(data[:allowed])
                if allowed < len(data):
                    self.cut()
                    return
        except OSError:
            pass
        if self._flowing.is_set() or self._ended:
            _reset(pair)

    def _allowed(self, size: int) -> int:
        with self._lock:
            if self._budget is None:
                return size
            if size <= self._budget:
                self._budget -= size
                return size
            allowed, self._budget = self._budget, self._random.randint(*_CUT_AFTER)
            self.cuts += 1
            return allowed


def _reset(pair: tuple[Wire, Wire]) -> None:
    for wire in pair:
        try:
            wire.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            wire.reset()
        except OSError:
            pass
